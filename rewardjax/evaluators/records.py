"""The records that all benchmarks share: examples with their items, and results with their parts.

A number always comes with what it is made of, so that none hides what is missing.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax.data.groups import Group

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


# Of the published examples: RMB's public files have 85% of them. Over a miniature of a benchmark a
# model looks as good as the best published ones.
LEAST_COMPARABLE = 0.8


@dataclasses.dataclass(frozen=True)
class Examples:
    """A benchmark's examples, as its module read them.

    groups[i] is the prompt and the responses of items[i]. fingerprint: of the files and the items.
    left_out: a dict {where, reason, detail} per record that could not be read. files: records by
    the file that was read. set_aside: the reason for each data file beside them that was not.
    repeated: examples whose prompt, responses and label an earlier one has, which count twice.
    part_of: examples of which these were selected, None for all of them.
    """

    name: str
    items: list[Item]
    groups: list[Group]
    fingerprint: str
    left_out: list[dict[str, str]]
    files: dict[str, int] = dataclasses.field(default_factory=dict)
    set_aside: dict[str, str] = dataclasses.field(default_factory=dict)
    repeated: int = 0
    part_of: int | None = None


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
    fits; `chance` for all others. least: the least that a part can be, -1 for correlations.
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
    least: float = 0.0

    def chance_of(self, name: str) -> float | None:
        """What a random scorer gets on a part or a subset."""
        # A name of its own before the beginning of others: "math" is one of "math-hard".
        if name in self.chances:
            return self.chances[name]
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
    def published(self) -> int | None:
        """Examples of the published benchmark in all parts; None where a part has no number."""
        expected = [part.expected for part in self.parts.values() if part.expected is not None]
        # A part of unknown size would make the sum of the others too small.
        if not expected or len(expected) < len(self.parts):
            return None
        return sum(expected)

    @property
    def comparable(self) -> bool:
        """Whether published numbers may stand beside it: of nearly all published examples."""
        if self.missing or self.published is None:
            return not self.partial
        return self.counted >= LEAST_COMPARABLE * self.published

    @property
    def counted(self) -> int:
        """Examples of all parts that have a score, those that say nothing of a model included."""
        return sum(part.n + part.unused for part in self.parts.values())

    @property
    def denominators(self) -> str:
        """What the headline is over: "3 of 4 parts, 1,554 of 2,985 examples, 2 unscored"."""
        parts = self.parts.values()
        read = f"{self.counted:,}"
        if self.published is not None:
            read += f" of {self.published:,}"
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
