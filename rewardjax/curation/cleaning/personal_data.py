"""Personal data in texts: which kinds are in one, and the text without it.

Patterns of our own, as datatrove's formatters replace what they match and do not say what it was,
and know neither phone nor card numbers. By themselves they only flag: a false alarm costs a look.
"""

import re
from collections.abc import Iterator

PATTERNS = {
    "e-mail": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}\b"),
    "phone": re.compile(
        r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])"
    ),
    "IP address": re.compile(
        r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"
    ),
    "social security number": re.compile(
        r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])"
    ),
    "card number": re.compile(r"(?<![\w-])(?:\d[ -]?){12,18}\d(?![\w-])"),
}
DIGIT = re.compile(r"\d")


def find_pii(text: str) -> list[str]:
    """Kinds of personal data that patterns find in a text: a hook's contract and its default."""
    kinds = []
    for kind in _possible(text):
        if any(_is_valid(kind, match[0]) for match in PATTERNS[kind].finditer(text)):
            kinds.append(kind)
    return kinds


def _possible(text: str) -> Iterator[str]:
    """The kinds of which the text has a character that each of them has."""
    # To look for one character is ten times as fast as a pattern, and most texts have neither.
    has_digit = DIGIT.search(text) is not None
    for kind in PATTERNS:
        if (kind == "e-mail" and "@" in text) or (kind != "e-mail" and has_digit):
            yield kind


def matches(text: str) -> list[str]:
    """What `find_pii` finds in a text, word for word."""
    words = []
    for kind, pattern in PATTERNS.items():
        words += [match[0] for match in pattern.finditer(text) if _is_valid(kind, match[0])]
    return words


def masked(text: str) -> str:
    """The text with its kind, such as `[e-mail]`, instead of each thing that `find_pii` finds."""
    for kind, pattern in PATTERNS.items():

        def replacement(match: re.Match[str], kind: str = kind) -> str:
            if _is_valid(kind, match[0]):
                return f"[{kind}]"
            return match[0]

        text = pattern.sub(replacement, text)
    return text


def _is_valid(kind: str, match: str) -> bool:
    # Long numbers abound in tasks: only those with a right check digit count.
    return kind != "card number" or _has_check_digit(match)


def _has_check_digit(number: str) -> bool:
    """Whether the last digit is right by Luhn's formula (ISO/IEC 7812)."""
    digits = [int(char) for char in reversed(number) if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
