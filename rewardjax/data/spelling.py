"""How the user of a command writes what he says of a source: fields of a config, or flags.

Sentences about data are written once, with the fields of a training run
(`data.columns={prompt: question}`). Whoever reads one in another command is told what that command
has: `--columns "{prompt: question}"`, or the field of the entry in its config.
"""

import argparse
import re
from typing import NamedTuple

_FIELD = re.compile(
    r"\bdata\.(columns|labels|split|max_dropped|most_untokenized)(?:=(\{[^{}]*\}|[\w./-]+))?"
)


class Spelling(NamedTuple):
    """What stands before a field's name, and between it and its value."""

    before: str
    between: str
    quote: str = ""

    def of(self, sentence: str) -> str:
        """The sentence, its fields of `data` as this user writes them."""
        return _FIELD.sub(self._field, sentence)

    def _field(self, match: re.Match[str]) -> str:
        name, value = match.groups()
        if value is None:
            return f"{self.before}{name}"
        if not value.startswith("{"):
            return f"{self.before}{name}{self.between}{value}"
        return f"{self.before}{name}{self.between}{self.quote}{value}{self.quote}"


CONFIG = Spelling("data.", "=")
# Braces and blanks are the shell's, unless they are quoted.
FLAGS = Spelling("--", " ", '"')


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a command the flags that every command has which reads a source."""
    parser.add_argument("--split", help="which split of the source, where it has several")
    parser.add_argument(
        "--columns", help="our field -> your column, as in '{prompt: question, response: answer}'"
    )
    parser.add_argument(
        "--labels", help="your label -> first, second or tie, as in '{0: first, 1: second}'"
    )


def of_entry(section: str) -> Spelling:
    """For an entry of a config's section, such as `sources.NAME`."""
    return Spelling(f"{section}.", "=")
