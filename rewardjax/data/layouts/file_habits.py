"""What shows only over many records of a file: how it was written, and what a column means in it.

One answer may repeat its question or end with a marker; a file most of whose answers do was joined
or rendered before.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Set

from rewardjax.data.groups import Group
from rewardjax.data.layouts import pairs, transcripts, verdicts
from rewardjax.data.layouts.fields import Record


@dataclasses.dataclass
class Habits:
    """Counts over the records of a file that could be read.

    joined: what all responses of a record begin with. ends: what a template printed behind one.
    verdicts: the numbers that stand unread beside chosen and rejected, by column.
    """

    records: int = 0
    joined: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    ends: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    verdicts: dict[str, set[str]] = dataclasses.field(default_factory=dict)

    def note(self, record: Record, read: Set[str], group: Group) -> None:
        """Count a record, read from the columns `read`, and its group."""
        self.records += 1
        self.joined.update(_joined_to_answers(group))
        self.ends.update(_ends_of_answers(group))
        if not pairs.is_pair(record):
            return
        for name in verdicts.VERDICTS:
            value = verdicts.word(record.get(name))
            if name not in read and re.fullmatch(r"-?\d+(?:\.\d+)?|true|false", value):
                self.verdicts.setdefault(name, set()).add(value)

    def complaint(self) -> str | None:
        """A sentence about the first habit for which the file is refused."""
        for beginning, count in self.joined.items():
            if count > self.records / 2:
                return (
                    f"the responses of {count:,} of the first {self.records:,} records begin with "
                    f"{beginning}, so that the model would read it twice: take it out of them"
                )
        for end, count in self.ends.items():
            if count > self.records / 2:
                return (
                    f"responses of {count:,} of the first {self.records:,} records end with {end}, "
                    "which a chat template printed and the model would read as words: take it out"
                )
        for name, values in self.verdicts.items():
            # The same number in every record says nothing that the columns' names do not.
            if len(values) > 1:
                low, high = sorted(values)[:2]
                return (
                    f"`{name}` beside chosen and rejected is {low} in one record and {high} in "
                    "another: if it says which response is better, say how, as in data.labels="
                    f"{{{low}: first, {high}: second}}; if it is the probability that chosen is, "
                    f"data.columns={{target: {name}}}; if neither, data.columns={{{name}: ''}}"
                )
        return None


def _joined_to_answers(group: Group) -> Iterator[str]:
    """What all responses of a group begin with, that nobody says in an answer of every record."""
    contents = [group.prompt[-1]["content"]]
    contents += [response[0].get("content") for response in group.responses]
    texts = [text for text in contents if isinstance(text, str)]
    if len(texts) < len(contents) or not group.responses:
        return
    question, *answers = texts
    # To "Hi!" many answer "Hi!".
    if len(question.split()) >= 3 and all(_begins_with(answer, question) for answer in answers):
        yield "the prompt"
    if all(map(transcripts.has_label, answers)):
        yield "the name of the assistant"


def _begins_with(text: str, beginning: str) -> bool:
    rest = text.strip().removeprefix(beginning.strip())
    # The prompt alone is an answer, if a bad one.
    return len(rest) < len(text.strip()) and bool(rest.strip())


def _ends_of_answers(group: Group) -> set[str]:
    """What a template printed behind any answer of a group: behind one side only it is a label."""
    contents = [response[-1].get("content") for response in group.responses]
    ends = {transcripts.end(text) for text in contents if isinstance(text, str)}
    return {end for end in ends if end is not None}
