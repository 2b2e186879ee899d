"""What all benchmarks share: their records, averages over them, and reading files.

Averages do not hide what is missing, and files are read leniently but with a count.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax import assets, fingerprint
from rewardjax.data import formats, sources
from rewardjax.data.groups import BadRecord, Group, Message
from rewardjax.data.tokenize import in_part

# The endings that benchmarks are published under. Not all that sources read: a clone's tables of
# results lie beside its data.
PUBLISHED_AS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
# One [K] per item; NaN for a response without a score.
Rewards = Sequence[np.ndarray]


class Item(NamedTuple):
    """What a scoring rule knows of an example, without its text.

    id: unique in the benchmark. subset: what it counts in. label: plain JSON, which only the
    benchmark's own module reads, but for two fields: `correct`, where it is a list, is the
    correctness [K] of the responses, and `answers` their final answers [K].
    """

    id: str
    subset: str
    label: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Examples:
    """A benchmark's examples, as its module read them.

    groups[i] is the prompt and the responses of items[i]. fingerprint: of the files and the items.
    left_out: a dict {where, reason, detail} per record that could not be read. files: records by
    the file that was read. set_aside: the reason for each data file beside them that was not.
    repeated: examples whose prompt, responses and label an earlier one has, which count twice.
    """

    name: str
    items: list[Item]
    groups: list[Group]
    fingerprint: str
    left_out: list[dict[str, str]]
    files: dict[str, int] = dataclasses.field(default_factory=dict)
    set_aside: dict[str, str] = dataclasses.field(default_factory=dict)
    repeated: int = 0


@dataclasses.dataclass(frozen=True)
class Part:
    """One number and what it is made of.

    value: in [0, 1] where it is an accuracy, None without examples. n: examples it is over. ties:
    comparisons between equal rewards among them. expected: examples of the published benchmark,
    None where there is no such number. unscored: examples left out because a response has no
    reward. unused: examples that the rule leaves out, such as votes without a preference; they
    count towards `expected`.
    """

    value: float | None
    n: int
    ties: int = 0
    expected: int | None = None
    unscored: int = 0
    unused: int = 0

    @property
    def missing(self) -> bool:
        """Whether there is no number."""
        return self.value is None

    @property
    def partial(self) -> bool:
        """Whether it is over fewer examples than were read, or other than were published."""
        if self.unscored:
            return True
        return self.expected is not None and self.n + self.unused != self.expected


@dataclasses.dataclass(frozen=True)
class Result:
    """What a benchmark says about a model.

    headline: `rule` over the values of `parts` that are there; None where none is. parts: the
    numbers that make the headline. subsets: a finer breakdown. other: further figures by name,
    plain JSON. chance: the headline of a random scorer. notes: sentences for a reader. chances:
    what a random scorer gets on parts and subsets, by the beginning of their names, the first that
    fits; `chance` for all others.
    """

    name: str
    headline: float | None
    rule: str
    chance: float | None
    parts: dict[str, Part]
    subsets: dict[str, Part] = dataclasses.field(default_factory=dict)
    other: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    chances: dict[str, float] = dataclasses.field(default_factory=dict)

    def chance_of(self, name: str) -> float | None:
        """What a random scorer gets on a part or a subset."""
        for beginning, chance in self.chances.items():
            if name.startswith(beginning):
                return chance
        return self.chance

    @property
    def missing(self) -> list[str]:
        """The parts without any example: the headline is over the others."""
        return [name for name, part in self.parts.items() if part.missing]

    @property
    def partial(self) -> bool:
        """Whether the headline is over less than the whole benchmark; see `denominators`."""
        return any(part.missing or part.partial for part in self.parts.values())

    @property
    def ties(self) -> int:
        """Comparisons between equal rewards, over all parts."""
        return sum(part.ties for part in self.parts.values())

    @property
    def denominators(self) -> str:
        """What the headline is over: "3 of 4 parts, 1,554 of 2,985 examples, 2 unscored"."""
        parts = self.parts.values()
        read = f"{sum(part.n + part.unused for part in parts):,}"
        published = [part.expected for part in parts if part.expected is not None]
        # A part of unknown size would make the sum of the others too small.
        if len(published) == len(parts):
            read += f" of {sum(published):,}"
        text = f"{len(parts) - len(self.missing)} of {len(parts)} parts, {read} examples"
        unscored = sum(part.unscored for part in parts)
        if unscored:
            text += f", {unscored:,} unscored"
        return text

    def to_record(self) -> dict[str, Any]:
        """Plain JSON, with what follows from the fields for readers without this class."""
        return dataclasses.asdict(self) | {
            "missing": self.missing,
            "partial": self.partial,
            "denominators": self.denominators,
            "ties": self.ties,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Result":
        """The result of which `to_record` made the record."""
        # A field that is younger than the record has its default.
        names = [field.name for field in dataclasses.fields(cls) if field.name in record]
        fields = {name: record[name] for name in names}
        for name in ("parts", "subsets"):
            fields[name] = {key: Part(**part) for key, part in fields[name].items()}
        return cls(**fields)


# ------------------------------------------------------------------ rules


def average(values: Iterable[float | None]) -> float | None:
    """The plain mean of the values that are there, None where none is."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    return float(np.mean(present))


def mean_part(credit: Any, ties: Any, expected: int | None = None) -> Part:
    """The mean of `credit` [N], NaN for an example without a score.

    ties: [N] bool; counted among the examples that have a score.
    """
    credit = np.asarray(credit, np.float64)
    scored = ~np.isnan(credit)
    return Part(
        value=average(credit[scored]),
        n=int(scored.sum()),
        ties=int(np.asarray(ties)[scored].sum()),
        expected=expected,
        unscored=int((~scored).sum()),
    )


def pool(parts: Iterable[Part], expected: int | None = None) -> Part:
    """The parts as one: the mean over all their examples."""
    parts = list(parts)
    n = sum(part.n for part in parts)
    value = None
    if n:
        value = sum(part.value * part.n for part in parts if part.value is not None) / n
    return Part(
        value=value,
        n=n,
        ties=sum(part.ties for part in parts),
        expected=expected,
        unscored=sum(part.unscored for part in parts),
        unused=sum(part.unused for part in parts),
    )


def breakdown(subsets: dict[str, Part]) -> dict[str, Part]:
    """The subsets, unless there is but one, which would repeat the headline."""
    if len(subsets) > 1:
        return subsets
    return {}


def strict_wins(chosen: Any, rejected: Any) -> tuple[np.ndarray, np.ndarray]:
    """Credit and ties, both [N], of N pairs of rewards.

    1.0 where chosen > rejected, else 0.0, also for equal rewards; NaN where a reward is NaN.
    """
    chosen, rejected = np.asarray(chosen, np.float64), np.asarray(rejected, np.float64)
    # A comparison with NaN is False, which would count an unscored pair as wrong.
    credit = np.where(np.isnan(chosen) | np.isnan(rejected), np.nan, chosen > rejected)
    return credit, chosen == rejected


def is_scored(rewards: np.ndarray) -> bool:
    """Whether every response of an item has a reward, of rewards [K]."""
    return not np.isnan(rewards).any()


def every_pair(right: Iterable[int], wrong: Iterable[int]) -> list[tuple[int, int]]:
    """Pairs (better, worse): each of the responses `right` over each of those `wrong`."""
    return list(itertools.product(right, wrong))


def first_better(right: int, responses: int) -> list[tuple[int, int]]:
    """Pairs (better, worse) of K `responses`, of which the first `right` beat all others."""
    return every_pair(range(right), range(right, responses))


def by_subset(items: Sequence[Item], rewards: Rewards) -> dict[str, list[tuple[Item, np.ndarray]]]:
    """Items with their rewards [K] (float64), by subset, in order."""
    subsets: dict[str, list[tuple[Item, np.ndarray]]] = {}
    for item, rewards_of_item in zip(items, rewards, strict=True):
        row = (item, np.asarray(rewards_of_item, np.float64))
        subsets.setdefault(item.subset, []).append(row)
    return subsets


# ------------------------------------------------------------------ files


def local(path: str | pathlib.Path) -> pathlib.Path:
    """The file or folder that `path` names.

    On disk, `assets:...` in the package, or `hf://ORG/NAME`, which is downloaded.
    """
    path = str(path)
    if path.startswith(assets.SCHEME):
        return assets.resolve(path)
    if path.startswith("hf://"):
        return sources.snapshot(path)
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
    for row, record in enumerate(source):
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
    source: sources.Source, part: Sequence[float], columns: Any = None, labels: Any = None
) -> Iterator[tuple[str, Preferences]]:
    """`numbered` for records of `data/formats.py` whose prompt is in `part`, with their groups.

    columns, labels: as for `data.prepare.prepare`.
    """
    for row, record, outcome in formats.groups_of(source, columns, labels):
        # `collect` lists a record without a group, whichever part it might belong to.
        if isinstance(outcome, BadRecord) or in_part(outcome, part):
            yield f"{source.name}:{row}", Preferences(record, outcome)


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
    for where, record in records:
        try:
            item, group = read(record)
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
    repeated = _repeated(items, groups)
    return Examples(name, items, groups, identity, left_out, repeated=repeated)


def _repeated(items: Sequence[Item], groups: Sequence[Group]) -> int:
    """Examples that are an earlier one again, by all but their id."""
    distinct = set()
    for item, group in zip(items, groups, strict=True):
        responses = [[turn["content"] for turn in response] for response in group.responses]
        # A hash each: the texts of millions of pairs would be in memory a second time.
        distinct.add(fingerprint.of_json([item.subset, item.label, group.prompt, responses]))
    return len(items) - len(distinct)


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
