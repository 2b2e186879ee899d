"""Argilla's exports: a column for each text of a form, and one for the answers to each question.

An answer is who gave it, its value and whether it was submitted. The value of a ranking names the
form's columns: {"rank": 1, "value": "reply_2"}.
"""

import operator
import statistics
from typing import Any

from rewardjax.data.groups import BadRecord
from rewardjax.data.layouts import fields, ranked
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.layout import Content, Layout

Ranking = dict[str, float]  # rank of a column's response, 1 is best


def rankings(value: Any) -> list[Ranking]:
    """The rankings that were submitted as answers to a question; none for any other column."""
    answers = fields.transposed(value)
    if not isinstance(answers, (list, tuple)):
        return []
    submitted = []
    for answer in answers:
        if not isinstance(answer, dict) or answer.get("status") != "submitted":
            continue
        places = fields.transposed(answer.get("value"))
        if isinstance(places, (list, tuple)) and all(map(_is_place, places)):
            submitted.append({place["value"]: float(place["rank"]) for place in places})
    return submitted


def _is_place(value: Any) -> bool:
    return isinstance(value, dict) and {"rank", "value"} <= set(value)


def _question(record: Record) -> str | None:
    """The column with the rankings, if there is one."""
    for name, value in record.items():
        if rankings(value):
            return name
    return None


def _is_ranking(record: Record) -> bool:
    return _question(record) is not None


def _read_ranking(record: Record) -> Content:
    """The responses by the mean of their ranks."""
    question = _question(record)
    assert question, "the layout fits"
    submitted = rankings(record[question])
    columns = [name for name in record if name in submitted[0]]
    for ranking in submitted:
        # A mean over those who ranked a response would compare what was seen by different people.
        if set(ranking) != set(columns):
            raise BadRecord(
                "bad_schema", f"{question} ranks {sorted(ranking)}, the columns are {columns}"
            )
    ranks = [statistics.fmean(map(operator.itemgetter(name), submitted)) for name in columns]
    items = [record[name] for name in columns]
    return ranked.labeled(fields.prompt(record), items, {"ranks": ranks})


LAYOUTS = (Layout("Argilla rankings", _is_ranking, _read_ranking),)
