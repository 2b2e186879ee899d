"""What the user says about files of answers: who a person is, what a word means."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rewardjax.curation import people
from rewardjax.curation.annotation import choices
from rewardjax.curation.annotation.desk import Desk


class Names(NamedTuple):
    """What the user said about the words in the files."""

    # A person as the files name them -> an annotator.
    persons: Mapping[str, str]
    # `choices.spelling` of a word -> one of people.CHOICES.
    words: Mapping[str, str]
    # Whether a text in a file may differ from what its task showed, as where a spreadsheet cut it.
    ignores_texts: bool = False


def names_of(
    desk: Desk, persons: Sequence[str], words: Sequence[str], *, ignores_texts: bool = False
) -> Names:
    """What `--person WHO=NAME`, `--choice WORD=CHOICE` and `--ignore-texts` say.

    Raises:
        ValueError: for a flag without `=`, a name that no step gave a task to, another choice than
            people.CHOICES, or one word with two meanings.
    """
    annotators = set()
    for step in desk.steps():
        annotators |= {task.annotator for task in desk.tasks(step.name)}
        annotators |= {task.annotator for task in desk.tasks(step.name, withdrawn=True)}
    by_person = _by_key("--person", persons, sorted(annotators))
    by_word = _by_key("--choice", words, people.CHOICES)
    spelled = {choices.spelling(word): choice for word, choice in by_word.items()}
    return Names(by_person, spelled, ignores_texts)


def _by_key(flag: str, values: Sequence[str], legal: Sequence[str]) -> dict[str, str]:
    """`KEY=NAME` of a repeated flag."""
    pairs: dict[str, str] = {}
    for value in values:
        # At the last one: an e-mail may hold `=`, a name of ours is one of a few.
        key, separator, name = value.rpartition("=")
        if not separator or name.strip() not in legal:
            raise ValueError(f"{flag} {value}: {name.strip()!r} is not one of {', '.join(legal)}")
        if pairs.setdefault(key.strip(), name.strip()) != name.strip():
            raise ValueError(f"{flag} {value}: {key.strip()} was given as {pairs[key.strip()]} too")
    return pairs
