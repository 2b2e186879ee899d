"""What columns of unknown names probably are, for the message that asks to name them.

Nothing is read by these guesses: they only save the reader of a message a look at the manual.
"""

import re
from typing import Any

from rewardjax.data.layouts import fields, pairs, ranked, verdicts
from rewardjax.data.layouts.fields import Record

WORSE = ("reject", "dispref", "non_pref", "worse", "losing", "negative", "neg_")
BETTER = ("chosen", "prefer", "better", "winning", "positive", "pos_")


def advice(record: Record) -> str | None:
    """The mapping that would make a record of no known layout one; None where none suggests itself.

    Names are spelled otherwise, two responses lack a verdict, or one column is called better and
    one worse.
    """
    if respelled := _respelled(record):
        return f"name columns, as in data.columns={{{', '.join(respelled)}}}"
    names = verdicts.two_responses(record)
    for verdict in verdicts.VERDICTS:
        if names is not None and verdict in record:
            return (
                f"{verdict} is null; if that means something, say what, as in "
                f"data.labels={{null: tie}}"
            )
    if names is not None:
        return (
            f"{names[0]} and {names[1]} without a verdict: name its column, as in "
            f"data.columns={{label: {verdicts.may_be_verdict(record) or 'COLUMN'}}}"
        )
    worse = [name for name in record if is_worse(name, record[name])]
    better = [
        name for name in record if name not in worse and _suggests(name, record[name], BETTER)
    ]
    if len(better) == len(worse) == 1:
        return (
            f"if {better[0]} is the better response and {worse[0]} the worse one, name them: "
            f"data.columns={{chosen: {better[0]}, rejected: {worse[0]}}}"
        )
    return None


def _respelled(record: Record) -> list[str]:
    """Columns that are ours but for their spelling (`Prompt`, `response 1`)."""
    ours = {*fields.PROMPTS, *ranked.LISTS, *verdicts.VERDICTS}
    ours.update(*pairs.COLUMNS, *verdicts.TWO_RESPONSES)
    plain = {re.sub(r"[\s-]+", "_", name.strip().lower()): name for name in record}
    return [f"{name}: {plain[name]}" for name in plain if name in ours - set(record)]


def is_worse(name: str, value: Any) -> bool:
    """Whether a column is probably the worse response of a pair."""
    return _suggests(name, value, WORSE)


def _suggests(name: str, value: Any, words: tuple[str, ...]) -> bool:
    # A number is what somebody thought of a response, not the response.
    is_content = isinstance(value, (str, list, tuple, dict)) and bool(value)
    return is_content and any(word in name.lower() for word in words)
