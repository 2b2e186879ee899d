"""What all benchmarks share: their records, reading files leniently but with a count, and averages that do not hide what is missing."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax import assets, fingerprint
from rewardjax.data import formats, sources
from rewardjax.data.groups import BadRow, Group, Message
from rewardjax.data.tokenize import in_split

Rewards = Sequence[np.ndarray]  # one [K] an item; NaN for a response without a score


class Item(NamedTuple):
    """What a scoring rule knows of an example: its id (unique in the benchmark), the subset it counts in, and plain JSON."""

    id: str
    subset: str
    label: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Examples:
    """A benchmark's examples: groups[i] is the prompt and responses of items[i]. left_out: a dict {where, reason, detail} a bad record."""

    name: str
    items: list[Item]
    groups: list[Group]
    fingerprint: str
    left_out: list[dict[str, str]]


@dataclasses.dataclass(frozen=True)
class Part:
    """One number and what it is made of.

    value: in [0, 1] where it is an accuracy, None without examples. n: examples it is over. ties: comparisons between equal rewards among
    them. expected: examples of the published benchmark, None where there is no such number. unscored: examples left out for want of a
    reward. unused: examples that the rule leaves out, such as votes without a preference; they count towards `expected`."""

    value: float | None
    n: int
    ties: int = 0
    expected: int | None = None
    unscored: int = 0
    unused: int = 0

    @property
    def missing(self) -> bool:
        return self.value is None

    @property
    def partial(self) -> bool:
        """Fewer examples than were read, or other than were published."""
        return self.unscored > 0 or (
            self.expected is not None and self.n + self.unused != self.expected
        )


@dataclasses.dataclass(frozen=True)
class Result:
    """What a benchmark says about a model.

    headline: `rule` over the values of `parts` that are there; None where none is. parts: the numbers that make the headline. subsets: a
    finer breakdown. other: further figures by name, plain JSON. chance: the headline of a random scorer. notes: sentences for a reader."""

    name: str
    headline: float | None
    rule: str
    chance: float | None
    parts: dict[str, Part]
    subsets: dict[str, Part] = dataclasses.field(default_factory=dict)
    other: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def missing(self) -> list[str]:
        """The parts without any example: the headline is over the others."""
        return [name for name, part in self.parts.items() if part.missing]

    @property
    def partial(self) -> bool:
        """Whether the headline is over less than the whole benchmark; `denominators` says of what."""
        return any(part.missing or part.partial for part in self.parts.values())

    @property
    def ties(self) -> int:
        return sum(part.ties for part in self.parts.values())

    @property
    def denominators(self) -> str:
        """What the headline is over, such as "3 of 4 parts, 1,554 of 2,985 examples, 2 unscored"."""
        there = len(self.parts) - len(self.missing)
        total = lambda field: sum(getattr(part, field) or 0 for part in self.parts.values())
        whole = (
            ""
            if any(part.expected is None for part in self.parts.values())
            else f" of {total('expected'):,}"
        )
        text = (
            f"{there} of {len(self.parts)} parts, {total('n') + total('unused'):,}{whole} examples"
        )
        return text + (f", {total('unscored'):,} unscored" if total("unscored") else "")

    def to_record(self) -> dict[str, Any]:
        """Plain JSON, with what follows from the fields for whoever reads it without this class."""
        derived = {
            name: getattr(self, name) for name in ("missing", "partial", "denominators", "ties")
        }
        return dataclasses.asdict(self) | derived

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Result":
        fields = {field.name: record[field.name] for field in dataclasses.fields(cls)}
        for name in ("parts", "subsets"):
            fields[name] = {key: Part(**part) for key, part in fields[name].items()}
        return cls(**fields)


# ---------------------------------------------------------------------------------------------------------------- rules


def average(values: Iterable[float | None]) -> float | None:
    """The plain mean of the values that are there, None where none is."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def mean_part(credit, ties, expected: int | None = None) -> Part:
    """The mean of `credit` [n], NaN for an example without a score, and the number of `ties` [n] among those that have one."""
    credit = np.asarray(credit, np.float64)
    scored = ~np.isnan(credit)
    value = float(credit[scored].mean()) if scored.any() else None
    return Part(
        value,
        int(scored.sum()),
        int(np.asarray(ties)[scored].sum()),
        expected,
        int((~scored).sum()),
    )


def pool(parts: Iterable[Part], expected: int | None = None) -> Part:
    """The parts as one: the mean over all their examples."""
    parts = list(parts)
    n, ties, unscored, unused = (
        sum(getattr(part, field) for part in parts) for field in ("n", "ties", "unscored", "unused")
    )
    total = sum(part.value * part.n for part in parts if part.value is not None)
    return Part(total / n if n else None, n, ties, expected, unscored, unused)


def breakdown(subsets: dict[str, Part]) -> dict[str, Part]:
    """The subsets, unless there is but one, which would repeat the headline."""
    if len(subsets) > 1:
        return subsets
    return {}


def strict_wins(chosen, rejected) -> tuple[np.ndarray, np.ndarray]:
    """Credit and ties [n] of pairs: 1.0 where chosen > rejected, else 0.0, also for equal rewards; NaN where a reward is NaN."""
    chosen, rejected = np.asarray(chosen, np.float64), np.asarray(rejected, np.float64)
    credit = np.where(np.isnan(chosen) | np.isnan(rejected), np.nan, chosen > rejected)
    return credit, chosen == rejected


def is_scored(rewards) -> bool:
    """Whether every response of an item has a reward."""
    return not np.isnan(rewards).any()


def every_pair(right: Iterable[int], wrong: Iterable[int]) -> list[tuple[int, int]]:
    """Pairs (better, worse): each of the responses `right` over each of those `wrong`."""
    return list(itertools.product(right, wrong))


def first_better(right: int, responses: int) -> list[tuple[int, int]]:
    """Pairs (better, worse) of K `responses` of which the first `right` are better than the rest."""
    return every_pair(range(right), range(right, responses))


def by_subset(items: Sequence[Item], rewards: Rewards) -> dict[str, list[tuple[Item, np.ndarray]]]:
    """Items and their rewards (float64), by subset, in order."""
    out: dict[str, list[tuple[Item, np.ndarray]]] = {}
    for item, found in zip(items, rewards, strict=True):
        out.setdefault(item.subset, []).append((item, np.asarray(found, np.float64)))
    return out


# ---------------------------------------------------------------------------------------------------------------- reading


def local(path: str | pathlib.Path) -> pathlib.Path:
    """The file or folder that `path` names: on disk, `assets:...` in the package, or `hf://ORG/NAME` downloaded."""
    path = str(path)
    if path.startswith(assets.SCHEME):
        return assets.resolve(path)
    return sources.snapshot(path) if path.startswith("hf://") else pathlib.Path(path)


def open_split(path: str | pathlib.Path, split: str) -> sources.Source:
    """A file as it is, the only file of a folder, or the `split` of a folder or a hub repository."""
    where = local(path)
    if where.is_dir() and len(files := files_in(where)) > 1:
        return sources.open_source(where, split=split)
    return sources.open_source(files[0] if where.is_dir() else where)


def files_in(path: str | pathlib.Path) -> list[pathlib.Path]:
    """The data files of a folder at any depth, in order, or the file itself. Raises FileNotFoundError."""
    where = local(path)
    if where.is_file():
        return [where]
    files = sorted(
        file
        for file in where.rglob("*")
        if file.name.endswith(sources.SUFFIXES) and not file.name.startswith(".")
    )
    if not files:
        raise FileNotFoundError(f"{path}: no {', '.join(sources.SUFFIXES)} file there")
    return files


def collect(
    name: str,
    records: Iterable[tuple[str, dict[str, Any]]],
    read: Callable[[dict[str, Any]], tuple[Item, Group]],
    of: Iterable[Any],
) -> Examples:
    """Examples of (where, record) pairs; a record that `read` refuses with BadRow is listed in left_out, an id met before gets a number.

    of: sources or files whose contents make the fingerprint, with the items. Raises ValueError where no record could be read, with the
    first reason."""
    items: list[Item] = []
    groups: list[Group] = []
    left_out: list[dict[str, str]] = []
    seen: dict[str, int] = {}
    for where, record in records:
        try:
            item, group = read(record)
        except BadRow as error:
            left_out.append({"where": where, "reason": error.reason, "detail": error.detail})
            continue
        seen[item.id] = seen.get(item.id, 0) + 1
        if seen[item.id] > 1:
            item = item._replace(id=f"{item.id}#{seen[item.id]}")
        items.append(item)
        groups.append(dataclasses.replace(group, id=item.id, source=name))
    if not items:
        first = f"; the first: {left_out[0]['where']}: {left_out[0]['detail']}" if left_out else ""
        raise ValueError(f"{name}: none of {len(left_out)} records is one of this benchmark{first}")
    prints = [
        fingerprint.of_file(one) if isinstance(one, pathlib.Path) else one.fingerprint()
        for one in of
    ]
    return Examples(
        name, items, groups, fingerprint.of_json([name, prints, items]), left_out
    )  # the same files may be read in part


def numbered(source: sources.Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a source, each with where it stands."""
    for row, record in enumerate(source):
        yield f"{source.name}:{row}", record


def groups_of(
    source: sources.Source, split: Sequence[float]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """`numbered` for records of `data/formats.py`, each with an id, without those whose prompt falls outside of `split`."""
    for where, record in numbered(source):
        record = {**record, "id": where if record.get("id") is None else record["id"]}
        try:
            keep = tuple(split) == (0.0, 1.0) or in_split(
                formats.to_group(record, 0, source.name), split
            )
        except BadRow:
            keep = True  # `collect` meets it again, and lists it
        if keep:
            yield where, record


def example(
    id: Any, subset: str, label: dict[str, Any], prompt: list[Message], responses: Sequence[str]
) -> tuple[Item, Group]:
    """An item and its group; every response is one turn of the assistant."""
    return Item(str(id), subset, label), Group(
        str(id), prompt, [[{"role": "assistant", "content": text}] for text in responses], []
    )


def text(record: Mapping[str, Any], name: str) -> str:
    """A text field. Raises BadRow naming it."""
    value = record.get(name)
    if not isinstance(value, str):
        raise BadRow("bad_schema", f"{name} = {value!r:.60}, not a text")
    return value


def texts(record: Mapping[str, Any], name: str, count: int | None = None) -> list[str]:
    """A field that is a list of texts, `count` of them if given. Raises BadRow naming it."""
    value = record.get(name)
    if (
        not isinstance(value, (list, tuple))
        or not value
        or not all(isinstance(one, str) for one in value)
    ):
        raise BadRow("bad_schema", f"{name} = {value!r:.60}, not a list of texts")
    if count is not None and len(value) != count:
        raise BadRow("bad_schema", f"{name} has {len(value)} texts, expected {count}")
    return list(value)


def user(prompt: str) -> list[Message]:
    """A prompt of one turn."""
    return [{"role": "user", "content": prompt}]


def turns(messages: Any, where: str) -> list[Message]:
    """Alternating turns that begin and end with the user, only role and content kept. Raises BadRow."""
    if (
        not isinstance(messages, (list, tuple))
        or not messages
        or not all(isinstance(message, dict) for message in messages)
    ):
        raise BadRow("bad_schema", f"{where} = {messages!r:.60}, not a list of messages")
    for i, message in enumerate(messages):
        if message.get("role") != ("user", "assistant")[i % 2]:
            raise BadRow(
                "bad_role",
                f"{where}[{i}].role = {message.get('role')!r}; turns alternate, the user's first",
            )
    if len(messages) % 2 == 0:
        raise BadRow("bad_role", f"{where} ends with the assistant; a prompt ends with the user")
    return [{"role": message["role"], "content": text(message, "content")} for message in messages]
