"""Text of data sets, servers and people on a terminal: what would steer it is shown, not sent.

An escape sequence in a response could clear the screen, move the cursor over what stands there, or
set the clipboard; marks of direction let a sentence read as another one.
"""

import os
import re
import sys
import textwrap
from collections.abc import Iterable
from typing import TextIO

# C0 without tab and line feed, delete and C1; separators that some terminals take for a line end;
# marks and overrides of direction; lone surrogates, which cannot be written at all.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# Rows of a terminal as its live lines may count on: one that says 0 rows, as those of containers
# and editors do, would be shown none, and nothing in their place.
ROWS = 24


def visible(text: str) -> str:
    r"""The text with every character that would steer a terminal written out, as in `\x1b`."""
    return _STEERING.sub(_written_out, text)


def on_one_line(text: str) -> str:
    r"""`visible`, with line feeds and tabs written out too: a text shall not imitate a line."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def indented(text: str, by: str) -> str:
    """`visible`, each line after the first indented, so that none looks like one of ours."""
    return visible(text).replace("\n", f"\n{by}")


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}"


def columns(stream: TextIO) -> int:
    """How many columns the terminal behind a stream has; 0 for a file, a pipe and an unknown width.

    A terminal of a container or an editor may say 0 itself.
    """
    try:
        return os.get_terminal_size(stream.fileno()).columns
    # An OSError where it is not a terminal; a notebook's stream has no number at all.
    except (OSError, ValueError, AttributeError):
        return 0


def folded(text: str, width: int) -> str:
    """The text in lines of at most `width` columns, broken between words; as it is for width 0.

    What follows a label and two blanks stays beside the label. Words that are longer, such as
    paths, stay whole: they are there to be copied.
    """
    if width < 1:
        return text
    lines = []
    for line in text.split("\n"):
        label, indent = "", 4
        match = re.match(r" *\S+(?: \S+)* {2,}", line)
        # A label that takes half of the line would leave a column of single words.
        if match is not None and len(match[0]) <= width // 2:
            label, indent = match[0], len(match[0])
        lines += textwrap.wrap(
            line.removeprefix(label),
            width,
            # Not a word of the text: a path that does not fit would begin below its label.
            initial_indent=label,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


class Visible:
    """A stream that writes `visible` text to another one."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, whatever in it would steer a terminal written out."""
        return self._stream.write(visible(text))

    def flush(self) -> None:
        """Hand on what was written."""
        self._stream.flush()

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


def show(lines: Iterable[str]) -> None:
    """Print lines, somebody else's texts among them, to a reader who may have seen enough."""
    try:
        for line in lines:
            print(visible(line))
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head` has gone. What is still in the buffer must go somewhere when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
