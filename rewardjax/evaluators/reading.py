"""A benchmark's files and fields as examples: read leniently, but with a count of what is left out.

A module of `evaluators/benchmarks` says what a record's fields mean; where the records come from,
and what becomes of those that cannot be used, is the same for all of them.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax import assets, fingerprint
from rewardjax.data import accounting, formats, sources, spelling
from rewardjax.data.groups import BadRecord, Group, Message, check, costing_one_record
from rewardjax.data.sources.broken import Broken
from rewardjax.data.sources.files import SUFFIXES
from rewardjax.data.tokenize import in_part
from rewardjax.evaluators.records import Examples, Item
from rewardjax.io import hub

# The endings that benchmarks are published under. Not all that sources read: a clone's tables of
# results lie beside its data.
PUBLISHED_AS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")

# What a benchmark of the user's own data is called in a config, only its loader's caller knows.
SPELLING = spelling.of_entry("benchmarks.NAME")

# ------------------------------------------------------------------ files


def local(path: str | pathlib.Path) -> pathlib.Path:
    """The file or folder that `path` names.

    On disk, `assets:...` in the package, or `hf://ORG/NAME`, which is downloaded.
    """
    path = str(path)
    if path.startswith(assets.SCHEME):
        return assets.resolve(path)
    if path.startswith(hub.PREFIX):
        return hub.data_set(path, SUFFIXES)
    return pathlib.Path(path)


def files_in(path: str | pathlib.Path) -> list[pathlib.Path]:
    """The data files of a folder at any depth, in order, or the file itself.

    Raises FileNotFoundError where there is none.
    """
    where = local(path)
    if where.is_file():
        return [where]
    files = [file for file in where.rglob("*") if file.name.endswith(PUBLISHED_AS)]
    # The hub's client and archives leave hidden files that end alike.
    files = sorted(file for file in files if not file.name.startswith("."))
    if not files:
        raise FileNotFoundError(f"{path}: no {', '.join(PUBLISHED_AS)} file there")
    return files


def numbered(source: sources.Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a source, each with where it stands."""
    # TFDS has no rows that are no records.
    rows = getattr(source, "rows", source.__iter__)
    for row, record in enumerate(rows()):
        yield f"{source.name}:{row}", record


class Preferences(NamedTuple):
    """A record of `data/formats.py` and the group that it describes."""

    record: dict[str, Any]
    outcome: Group | BadRecord

    def group(self) -> Group:
        """The group. Raises BadRecord where the record has none, or a response is no text."""
        if isinstance(self.outcome, BadRecord):
            raise self.outcome
        for k, response in enumerate(self.outcome.responses):
            for message in response:
                # In a benchmark a missing response is a fault of its file, not of the model.
                if not isinstance(message.get("content"), str):
                    raise BadRecord(
                        "bad_schema", f"responses[{k}] = {message.get('content')!r:.120}, no text"
                    )
        return self.outcome


def groups_of(
    source: sources.Source,
    part: Sequence[float],
    columns: Any = None,
    labels: Any = None,
    max_dropped: float = 1.0,
) -> Iterator[tuple[str, Preferences]]:
    """`numbered` for records of `data/formats.py` whose prompt is in `part`, with their groups.

    columns, labels, max_dropped: as for `data.prepare.prepare`. Raises ValueError at the end where
    a larger share of all records is unusable, whichever part they would belong to.
    """
    records, unusable = 0, []
    for row, record, outcome in formats.groups_of(source, columns, labels):
        records += 1
        reason = _unusable(outcome)
        if reason is not None:
            unusable.append(f"{source.name}:{row}: {reason.detail:.300}")
        # `collect` lists a record without a group, whichever part it might belong to.
        if _may_be_in(outcome, part):
            yield f"{source.name}:{row}", Preferences(record, outcome)
    share = len(unusable) / max(records, 1)
    if share > max_dropped:
        limit = SPELLING.of(f"data.max_dropped={max_dropped}")
        raise ValueError(
            f"{source.name}: {share:.0%} of {records:,} records are unusable, the first: "
            f"{unusable[0]}; {limit} is the share that may be lost"
        )


def _may_be_in(outcome: Group | BadRecord, part: Sequence[float]) -> bool:
    """Whether a record's prompt is in `part`; one without a prompt that can be told might be."""
    if isinstance(outcome, BadRecord):
        return True
    try:
        with costing_one_record("the prompt cannot be told"):
            return in_part(outcome, part)
    except BadRecord:
        return True


def _unusable(outcome: Group | BadRecord) -> BadRecord | None:
    """Why nothing of a record can be used; equal responses are apart, as in training."""
    try:
        if isinstance(outcome, BadRecord):
            raise outcome
        check(outcome)
    except BadRecord as reason:
        if reason.reason not in accounting.APART:
            return reason
    return None


def collect(
    name: str,
    records: Iterable[tuple[str, Any]],
    read: Callable[[Any], tuple[Item, Group]],
    origins: Iterable[pathlib.Path | sources.Source],
) -> Examples:
    """The examples of (where, record) pairs.

    A record that `read` refuses with BadRecord is listed in `left_out`; an id that was met before
    gets a number. origins: files or sources whose contents make the fingerprint, with the items.

    Raises ValueError where no record could be read, with the first reason.
    """
    items: list[Item] = []
    groups: list[Group] = []
    left_out: list[dict[str, str]] = []
    times: dict[str, int] = {}
    distinct: set[str] = set()
    for where, record in records:
        try:
            item, group = read_by(read, record)
            with costing_one_record("the record cannot be told from others"):
                distinct.add(content(item, group))
        except BadRecord as error:
            left_out.append({"where": where, "reason": error.reason, "detail": error.detail})
            continue
        times[item.id] = times.get(item.id, 0) + 1
        if times[item.id] > 1:
            item = item._replace(id=f"{item.id}#{times[item.id]}")
        items.append(item)
        groups.append(dataclasses.replace(group, id=item.id, source=name))
    if not items:
        first = ""
        if left_out:
            first = f"; the first: {left_out[0]['where']}: {left_out[0]['detail']}"
        raise ValueError(f"{name}: none of {len(left_out)} records is one of this benchmark{first}")
    contents = []
    for origin in origins:
        if isinstance(origin, pathlib.Path):
            contents.append(fingerprint.of_file(origin))
        else:
            contents.append(origin.fingerprint())
    # With the items, since the same files may be read in part.
    identity = fingerprint.of_json([name, contents, items])
    # Examples that are an earlier one again, by all but their id.
    repeated = len(items) - len(distinct)
    return Examples(name, items, groups, identity, left_out, repeated=repeated)


def read_by(read: Callable[[Any], tuple[Item, Group]], record: Any) -> tuple[Item, Group]:
    """What a benchmark's `read` makes of a record. Raises BadRecord for whatever goes wrong."""
    if isinstance(record, Broken):
        raise BadRecord("bad_line", record.detail)
    with costing_one_record("the record cannot be read"):
        return read(record)


def unread(left_out: Sequence[Mapping[str, str]]) -> str:
    """A sentence about the records of `left_out`."""
    first = left_out[0]
    return (
        f"{len(left_out):,} records could not be read, the first: {first['where']}: "
        f"{first['reason']}: {first['detail']:.300}"
    )


def content(item: Item, group: Group) -> str:
    """A hash of an example, equal for examples that differ in their ids alone."""
    # Not the texts: those of millions of pairs would be in memory a second time.
    return fingerprint.of_json([item.subset, item.label, group.prompt, group.responses])


# ------------------------------------------------------------------ fields


def example(
    id: Any, subset: str, label: dict[str, Any], prompt: list[Message], responses: Sequence[str]
) -> tuple[Item, Group]:
    """An item and its group; every response is one turn of the assistant."""
    replies = [[{"role": "assistant", "content": text}] for text in responses]
    return Item(str(id), subset, label), Group(str(id), prompt, replies, [])


def text(record: Mapping[str, Any], name: str) -> str:
    """A text field. Raises BadRecord naming it."""
    value = record.get(name)
    if not isinstance(value, str):
        raise BadRecord("bad_schema", f"{name} = {value!r:.60}, not a text")
    return value


def number(record: Mapping[str, Any], name: str) -> float:
    """A field that is a number, a text of one or a list of one. Raises BadRecord naming it."""
    value = record.get(name)
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    try:
        return float(value)  # type: ignore[arg-type]  # what it is not, is what is caught
    except (TypeError, ValueError):
        raise BadRecord("bad_schema", f"{name} = {value!r:.60}, not a number") from None


def texts(record: Mapping[str, Any], name: str, count: int | None = None) -> list[str]:
    """A field that is a list of texts, `count` of them if given. Raises BadRecord naming it."""
    value: Any = record.get(name)
    # Parquet gives lists as arrays or tuples, JSON as lists.
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    if not is_list or not all(isinstance(element, str) for element in value):
        raise BadRecord("bad_schema", f"{name} = {value!r:.60}, not a list of texts")
    if count is not None and len(value) != count:
        raise BadRecord("bad_schema", f"{name} has {len(value)} texts, expected {count}")
    return list(value)


def user(prompt: str) -> list[Message]:
    """A prompt of one turn."""
    return [{"role": "user", "content": prompt}]


def turns(messages: Any, where: str) -> list[Message]:
    """Alternating turns that begin and end with the user, only role and content kept.

    Raises BadRecord for anything else.
    """
    is_list = isinstance(messages, (list, tuple)) and len(messages) > 0
    if not is_list or not all(isinstance(message, dict) for message in messages):
        raise BadRecord("bad_schema", f"{where} = {messages!r:.60}, not a list of messages")
    for i, message in enumerate(messages):
        if message.get("role") != ("user", "assistant")[i % 2]:
            raise BadRecord(
                "bad_role",
                f"{where}[{i}].role = {message.get('role')!r}; turns alternate, the user's first",
            )
    if len(messages) % 2 == 0:
        raise BadRecord("bad_role", f"{where} ends with the assistant; a prompt ends with the user")
    return [{"role": message["role"], "content": text(message, "content")} for message in messages]


def conversation(prompt: Any) -> list[Message]:
    """A text is one turn; a list of messages or of texts is a conversation.

    Raises BadRecord for anything else.
    """
    if isinstance(prompt, str):
        return user(prompt)
    if not isinstance(prompt, (list, tuple)) or not prompt:
        raise BadRecord(
            "bad_schema", f"prompt = {prompt!r:.60}, neither a text nor a list of messages"
        )
    messages: list[Message] = []
    for i, turn in enumerate(prompt):
        content = turn
        if isinstance(turn, dict):
            content = turn.get("content")
        # Roles go by position, the user first, whatever the record says: as in the reference.
        messages.append({"role": ("user", "assistant")[i % 2], "content": content})
    return turns(messages, "prompt")
