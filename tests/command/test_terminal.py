"""What would steer a terminal is written out."""

import io
import os
import pty
import termios

import pytest

from rewardjax.command import terminal
from rewardjax.command.terminal import Visible, indented, on_one_line, visible
from rewardjax.reporting import text_table


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain, é, 日本, \U0001f469‍\U0001f52c", None),
        ("two\nlines\tand a tab", None),
        ("\x1b[2J\x1b]52;c;cm0gLXJm\x07", r"\x1b[2J\x1b]52;c;cm0gLXJm\x07"),
        ("over\rwritten\x08", r"over\x0dwritten\x08"),
        ("\x9b31m c1 \x7f", r"\x9b31m c1 \x7f"),
        ("right\u202eto left\u2066", r"right\u202eto left\u2066"),
        ("\u2028next\u2029", r"\u2028next\u2029"),
        ("lone \ud83d", r"lone \ud83d"),
        ("nul \x00", r"nul \x00"),
    ],
)
def test_only_what_steers_is_written_out(text, shown):
    assert visible(text) == (shown or text)


def test_a_text_cannot_look_like_a_line_of_ours():
    assert indented("a\nb\r\nc", "    ") == "a\n    b\\x0d\n    c"
    assert on_one_line("a\nb\tc\x1b") == r"a\nb\tc\x1b"


def test_a_cell_of_a_table_stays_in_its_row():
    assert text_table.table([{"a": "x\ny\x1b[0m", "b": 1.5}]).splitlines() == [
        "a            b",
        r"x\ny\x1b[0m  1.5",
    ]


def test_a_stream_lets_nothing_through():
    stream = io.StringIO()
    print("\x1b[31mred", file=Visible(stream), flush=True)
    assert stream.getvalue() == "\\x1b[31mred\n"


@pytest.mark.parametrize("rows, width", [(24, 40), (0, 40), (0, 0)])
def test_a_terminal_says_how_wide_it_is_and_a_pipe_does_not(rows, width):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (rows, width))
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as stream:
        assert terminal.columns(stream) == width
    ours, theirs = os.pipe()
    with os.fdopen(ours), os.fdopen(theirs, "w") as stream:
        assert terminal.columns(stream) == 0
    assert terminal.columns(io.StringIO()) == 0


def test_lines_are_folded_beside_their_label_and_paths_stay_whole():
    text = "training in runs/x: 6 steps of 32 pairs\n  devices     8 of kind cpu, processes: 1"
    assert terminal.folded(text, 0) == text
    assert terminal.folded(text, 30).split("\n") == [
        "training in runs/x: 6 steps of",
        "    32 pairs",
        "  devices     8 of kind cpu,",
        "              processes: 1",
    ]
    path = "report  /a/very-long/path/that/somebody/copies/report.html"
    assert terminal.folded(path, 20) == path
    assert terminal.folded("to share it  a b", 30) == "to share it  a b"
    assert terminal.folded("to share it  word word", 27).split("\n") == [
        "to share it  word word",
    ]
    assert terminal.folded("a\n\nb", 20) == "a\n\nb"
