"""The words in which people name a side, read where they can mean one thing only."""

import re
from collections.abc import Mapping
from typing import Any

from rewardjax.curation.people import CHOICES

_TIE = (
    *("tie", "tied", "draw", "equal", "equally_good", "same", "no_difference", "no_pref"),
    *("none_is_better", "neither_is_better", "about_the_same"),
)
_UNDECIDED = ("can't_decide", "cant_decide", "can_not_decide", "undecided", "unable_to_decide")
# "skip" is missing on purpose: it may mean that the pair is undecidable, or that nobody looked at
# it. "both_bad" and "neither" are missing too: a team may want such pairs out, and a tie is gold.
WORDS: dict[str, str] = {choice: choice for choice in CHOICES}
WORDS |= dict.fromkeys(_TIE, "no_preference") | dict.fromkeys(_UNDECIDED, "cannot_decide")
for _side in ("left", "right"):
    for _word in ("{}_is_better", "{}_better", "{}_response", "response_{}", "the_{}", "{}_one"):
        WORDS[_word.format(_side)] = _side
# What spreadsheets and forms put into a cell that nobody filled in.
BLANKS = ("", "null", "none", "nan", "n/a", "na", "-", "#n/a")


def spelling(word: Any) -> str:
    """One spelling of a word: lower case, blanks and hyphens as underscores, no quotes around."""
    text = str(word).replace("\u2019", "'").strip().strip("\"'").strip().rstrip(".").casefold()
    return re.sub(r"[\s_-]+", "_", text)


def is_blank(value: Any) -> bool:
    """Whether a value says that nobody answered."""
    # NaN is what pandas writes for an empty cell.
    if value is None or value == [] or value != value:
        return True
    return isinstance(value, str) and value.strip().casefold() in BLANKS


def read(value: Any, own_words: Mapping[str, str]) -> str:
    """The choice that a value names.

    Args:
        value: of the file.
        own_words: `spelling` of a word -> the choice that the user said it means.

    Raises:
        ValueError: for a word that could mean several things, or nothing; says how to explain it.
    """
    # Tools in which several labels can be picked write a list also where one may be.
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    # A number may come as 1, "1" or 1.0, and a user explains it once.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # True is 1 in Python, and a check box does not name a side.
    if isinstance(value, str | int) and not isinstance(value, bool):
        word = spelling(value)
        # The user's own words first: "1" or "A" were explained because this file means them so.
        if word in own_words:
            return own_words[word]
        if word in WORDS:
            return WORDS[word]
    # A and B, 1 and 2 are in no task file: they may mean the sides as shown, or the order of
    # something that the people saw elsewhere.
    raise ValueError(
        f"choice = {short(value)} is not one of {', '.join(CHOICES)}; "
        f"--choice WORD=CHOICE says what a word means"
    )


def short(value: Any) -> str:
    """A value of a file as an error names it: quoted, without control characters, clipped."""
    text = repr(value)
    if len(text) > 60:
        text = text[:57] + "..."
    return text
