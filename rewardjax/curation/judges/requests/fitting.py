"""Fitting a question into a server's context: how many of its gold examples stay.

A refusal that names the context and how long the request is says how much has to go. Whatever is
left out follows from the refusal alone, which the ledger keeps, so that a run which goes on after a
kill asks as it did before.
"""

import re
from collections.abc import Sequence

# How servers say that a request does not fit: vLLM and OpenAI, llama.cpp, SGLang and TGI, others.
_TOO_LONG = re.compile(
    r"context.(length|size|window)|maximum (input|prompt|sequence) length|too many tokens"
    r"|longer than the model|exceeds? the (available|maximum|model)|must have less than|too long"
    r"|tokens.{0,20} must be <= \d|\b413\b",
    re.IGNORECASE,
)
# The number that is the context in such a sentence, by what comes before it. llama.cpp names both
# numbers after the word: its own name for the context goes first.
_CONTEXT = (
    re.compile(r"n_ctx\D{1,3}(\d{3,})"),
    re.compile(r"must be <= (\d{3,})"),
    re.compile(r"context.(?:length|size|window)\D{0,20}(\d{3,})", re.IGNORECASE),
)
_NUMBER = re.compile(r"\d{3,}")
# Of the room that is named: the text that stays may have more tokens per character than the rest.
MARGIN = 0.9
LONGEST = 100  # contexts that a request may be long


def is_too_long(refusal: str) -> bool:
    """Whether a server refused a request because of its length."""
    return _TOO_LONG.search(refusal) is not None


def fewer_examples(refusal: str, characters: Sequence[int]) -> int:
    """How many gold examples to show after a refusal: fewer than it was about.

    Args:
        refusal: what the server said of the question with all of its examples.
        characters: [K + 1] of the question with 0, 1, ..., K examples, of which K were shown; K is
            at least 1.
    """
    shown = len(characters) - 1
    share = _share_that_fits(refusal)
    if share is None:
        return shown // 2
    most = MARGIN * share * characters[shown]
    fitting = [k for k in range(shown) if characters[k] <= most]
    # The question itself may be too long: that is found out by asking it alone.
    return max(fitting, default=0)


def _share_that_fits(refusal: str) -> float | None:
    """Context / length of the request, both as a refusal names them; None where it does not."""
    contexts = [match[1] for match in (each.search(refusal) for each in _CONTEXT) if match]
    if not contexts:
        return None
    fits = int(contexts[0])
    numbers = [int(number) for number in _NUMBER.findall(refusal)]
    # Much larger ones are not lengths: the number of the request, for example.
    lengths = [number for number in numbers if fits < number <= LONGEST * fits]
    if not lengths:
        return None
    # Of several, such as those of prompt and answer, the longest is that of both together.
    return fits / max(lengths)
