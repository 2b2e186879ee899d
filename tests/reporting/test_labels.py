"""Names are broken where people would break them, and nothing of them is lost."""

import pytest

from rewardjax.reporting import labels


@pytest.mark.parametrize(
    "name, lines",
    [
        ("short", ["short"]),
        ("", [""]),
        ("nvidia/Llama-3.3-Nemotron-70B-Reward", ["nvidia/Llama-3.3-", "Nemotron-70B-Reward"]),
        ("the words of a long title", ["the words of a long", "title"]),
        ("x" * 45, ["x" * 20, "x" * 20, "x" * 5]),
    ],
)
def test_names_break_at_hyphens_slashes_and_blanks(name, lines):
    assert labels.wrapped(name, 20).split("\n") == lines


def test_a_panel_grows_by_its_legend():
    names = ["a" * 40, "b" * 40]
    width, height = labels.with_legend((3.0, 3.0), (1, 1), names)
    assert width > 3.0 and height > 3.0
    wide = labels.with_legend((3.0, 3.0), (1, 4), names)
    assert wide[0] == 3.0, "four panels have room for it"
    assert labels.inches(["aa\nbbbb", "c"], 72) == 4 * labels.LETTER
    assert labels.lines_of(["a\nb", "c"]) == 2 and labels.lines_of([]) == 1
