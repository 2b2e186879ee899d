"""What a source holds, file by file, in one pass and little memory: the findings of `check`."""

import collections
import dataclasses
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rewardjax.data import formats, groups
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord, Group, Message, Pair
from rewardjax.data.sources import Record

EXAMPLES = 3  # lost records that are shown per reason
# The length of a conversation, with the schemas of its tools.
Measure = Callable[[list[Message], list[dict[str, Any]] | None], int]


@dataclasses.dataclass
class Loss:
    """What one reason costs, with the first examples: record number and detail."""

    records: int = 0
    pairs: int = 0
    responses: int = 0
    examples: list[tuple[int, str]] = dataclasses.field(default_factory=list)

    def show(self, number: int, detail: str) -> None:
        """Keep a record as an example, if there is room and it is not like another one."""
        # Details name the record; without the numbers those of one kind are the same.
        kinds = {_without_numbers(other) for _, other in self.examples}
        if len(self.examples) < EXAMPLES and _without_numbers(detail) not in kinds:
            self.examples.append((number, detail))


@dataclasses.dataclass
class Findings:
    """What one file holds. `lengths` counts conversations by their length in `measure`'s unit.

    control_records: how many records hold the text of a control token; control_example: the first.
    unprinted: how many have a field that the chat template does not print. late_columns: as in
    `accounting.FileAccount`.
    """

    file: str
    read_as: str  # `formats.Reading.sentence`
    records: int = 0
    kept: int = 0  # records of which something is left to train on or to score
    pairs: int = 0
    responses: int = 0
    lost: dict[str, Loss] = dataclasses.field(default_factory=dict)
    lengths: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    control_records: int = 0
    control_example: str = ""
    unprinted: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    late_columns: dict[str, int] = dataclasses.field(default_factory=dict)

    def lose(self, unit: str, number: int, error: BadRecord) -> None:
        """Book a lost "records", "pairs" or "responses" of record `number`."""
        loss = self.lost.setdefault(error.reason, Loss())
        setattr(loss, unit, getattr(loss, unit) + 1)
        loss.show(number, error.detail)


def _without_numbers(detail: str) -> str:
    return re.sub(r"\d+", "", detail)


class Example(NamedTuple):
    """A pair of the source, to be shown."""

    file: str
    number: int  # of the record in its file
    group: Group
    pair: Pair


def examine(
    source: Any,
    measure: Measure,
    tokenizer: ChatTokenizer | None,
    shown: int,
    columns: Any = None,
    labels: Any = None,
) -> tuple[list[Findings], list[Example]]:
    """The findings of every file of an open source, and `shown` pairs drawn over all of it.

    measure: the length of a conversation; it may raise BadRecord where a template refuses one.
    tokenizer: says what of a record the model would not read as it is written; None: nothing does.
    columns, labels: as for `prepare`. Raises ValueError for a file that no layout fits.
    """
    sample = _Sample(shown)
    by_file = []
    readings = formats.readings(source, columns, labels)
    for reading, (file, records) in zip(readings, formats.files_of(source), strict=True):
        findings = Findings(file, reading.sentence())
        by_file.append(findings)
        for number, record in enumerate(records()):
            for pair in _book(findings, number, record, reading, measure, tokenizer):
                sample.offer(pair)
    return by_file, sorted(sample.kept, key=lambda example: (example.file, example.number))


def _book(
    findings: Findings,
    number: int,
    record: Record,
    reading: formats.Reading,
    measure: Measure,
    tokenizer: ChatTokenizer | None,
) -> Iterator[Example]:
    """Count what becomes of a record, and yield its usable pairs."""
    findings.records += 1
    try:
        group, equal = groups.check(reading.to_group(record, number))
        for name in reading.late_columns(record, number):
            findings.late_columns.setdefault(name, number)
    except BadRecord as error:
        findings.lose("records", number, error)
        return
    for error in equal:
        findings.lose("pairs", number, error)
    if tokenizer is not None:
        findings.unprinted.update(tokenizer.unprinted(group))
        control_string = tokenizer.first_control_string(group)
        if control_string is not None:
            findings.control_records += 1
            place = f"record {number}, {control_string!r}"
            findings.control_example = findings.control_example or place
    lengths = {}
    for k, response in enumerate(group.responses):
        try:
            lengths[k] = measure(group.prompt + response, group.tools)
        except BadRecord as error:
            findings.lose("responses", number, error)
    pairs = [pair for pair in group.pairs if pair.chosen in lengths and pair.rejected in lengths]
    # A group that never had a label is of use too: it can be scored.
    was_labeled = group.pairs or equal
    if not pairs and (was_labeled or not lengths):
        return
    findings.kept += 1
    findings.pairs += len(pairs)
    findings.responses += len(lengths)
    findings.lengths.update(lengths.values())
    for pair in pairs:
        yield Example(findings.file, number, group, pair)


class _Sample:
    """A few of very many pairs, each as likely as any other (reservoir sampling, Vitter 1985)."""

    def __init__(self, size: int):
        self.kept: list[Example] = []
        self._size, self._offered = size, 0
        # Seeded: two people who look at one file shall see the same pairs.
        self._random = random.Random(0)

    def offer(self, example: Example) -> None:
        """Keep the example, perhaps in another's place."""
        self._offered += 1
        if len(self.kept) < self._size:
            self.kept.append(example)
            return
        place = self._random.randrange(self._offered)
        if place < self._size:
            self.kept[place] = example
