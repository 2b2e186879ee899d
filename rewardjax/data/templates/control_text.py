"""Control strings inside messages, broken by a mark so that no tokenizer can see one there."""

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

# Unicode keeps these characters free of meaning for ever, so a mark is never text that somebody
# meant.
PRIVATE_USE = (range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
AROUND = 20  # characters that are shown on both sides of a control string


class Breaker:
    """Breaks every control string inside a conversation.

    breaker(value) -> (value with marks, mark or "", number broken), of any JSON value. A mark goes
    behind the first character of every occurrence, so that overlapping ones break too. A beginning
    of a control string at the end of a text, or an end at its start, is broken as well: the
    template might print its other half. So are those at the sides of a string that the template
    may cut out of the text: what is left might join.
    """

    def __init__(self, controls: Collection[str], cut_out: Collection[str] = ()):
        """`controls`: the texts of control tokens; `cut_out`: what a template may cut out."""
        # A lookahead matches at every place, so that overlapping occurrences are all seen.
        self._occurrence = any_of(controls, "(?=({}))")
        self._cut_out = any_of([text for text in cut_out if len(text) > 2], "{}")
        self._edges = tuple({text[0] for text in controls} | {text[-1] for text in controls})
        self._beginnings: set[str] = set()
        self._ends: set[str] = set()
        for text in controls:
            self._beginnings.update(text[:n] for n in range(1, len(text)))
            self._ends.update(text[-n:] for n in range(1, len(text)))
        self._longest = max(map(len, controls), default=0)

    def __call__(self, value: Any) -> tuple[Any, str, int]:
        """The value with marks, the mark, and how many control strings they broke."""
        # Most conversations have no character that a control string begins or ends with, and
        # looking for characters is cheaper than looking for strings.
        if not any(self._suspicious(text) for text in texts_of(value)):
            return value, "", 0
        mark = _unused_character(value)
        return _map_texts(lambda text: self._break(text, mark), value), mark, self.count(value)

    def count(self, value: Any) -> int:
        """How many control strings there are in the texts of a JSON value."""
        return sum(len(self._occurrence.findall(text)) for text in texts_of(value))

    def first(self, value: Any) -> str | None:
        """The first control string in the texts of a JSON value, with what stands around it."""
        for text in texts_of(value):
            match = self._occurrence.search(text)
            if match:
                return text[max(0, match.start() - AROUND) : match.end(1) + AROUND]
        return None

    def _suspicious(self, text: str) -> bool:
        return any(character in text for character in self._edges)

    def _break(self, text: str, mark: str) -> str:
        cuts = {match.start() + 1 for match in self._occurrence.finditer(text)}
        cuts |= self._cut_halves(text, 0, len(text))
        start = 0
        for match in self._cut_out.finditer(text):
            cuts |= self._cut_halves(text, start, match.start())
            start = match.end()
        if start:
            cuts |= self._cut_halves(text, start, len(text))
        if not cuts:
            return text
        bounds = [0, *sorted(cuts), len(text)]
        return mark.join(text[i:j] for i, j in zip(bounds, bounds[1:], strict=False))

    def _cut_halves(self, text: str, start: int, end: int) -> set[int]:
        """Where to cut text[start:end], so that its edges complete no control string."""
        cuts = set()
        # Templates trim: what is at the edge of the text is what is at the edge of its stripped
        # part.
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        for i in range(max(start, end - self._longest), end):
            if text[i:end] in self._beginnings:
                cuts.add(i + 1)
        for i in range(start, min(end, start + self._longest)):
            if text[start : i + 1] in self._ends:
                cuts.add(i)
        return cuts


def any_of(texts: Collection[str], form: str) -> re.Pattern[str]:
    """A pattern for any of `texts`, put into `form` at {}; without texts it matches nothing."""
    # The longest first: alternation takes the first that fits, and "<|im" may begin "<|im_end|>".
    longest_first = sorted(texts, key=len, reverse=True)
    alternatives = "|".join(map(re.escape, longest_first)) or r"(?!)"
    return re.compile(form.format(alternatives), re.DOTALL)


def texts_of(value: Any) -> Iterator[str]:
    """Every string inside a JSON value, keys too: templates print the arguments of tool calls."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_of(key)
            yield from texts_of(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_of(item)


def _map_texts(change: Callable[[str], str], value: Any) -> Any:
    """A JSON value of the same shape, every string in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_map_texts(change, key): _map_texts(change, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_texts(change, item) for item in value]
    return value


def without_marks(text: str, mark: str) -> str:
    """A text that a template printed, without the marks in it; an empty mark stands for none."""
    if not mark:
        return text
    for form in _forms(mark):
        text = text.replace(form, "")
    return text


def _forms(mark: str) -> tuple[str, str, str]:
    """A mark as templates print it: itself, and in Python's and in JSON's notation."""
    return mark, ascii(mark)[1:-1], json.dumps(mark)[1:-1]


def _unused_character(value: Any) -> str:
    # Text may hold private-use characters too; a mark that occurs in it would be deleted with the
    # marks.
    texts = list(texts_of(value))
    used = set().union(*texts)
    for block in PRIVATE_USE:
        for code in block:
            if chr(code) in used:
                continue
            _, *notations = _forms(chr(code))
            if not any(notation in text for text in texts for notation in notations):
                return chr(code)
    raise ValueError("a conversation uses every private-use character: no mark is left for it")
