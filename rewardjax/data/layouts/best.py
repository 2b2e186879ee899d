"""One prompt and K responses, of which the record or each response says which one is the best.

A number alone is a place only where its name says from which number places count; all that may say
it otherwise is asked for, so that no label is left out in silence.
"""

import re
from collections.abc import Sequence, Set
from typing import Any

from rewardjax.data.groups import BadRecord, Pair
from rewardjax.data.layouts import fields, ranked, verdicts
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.layout import Content, Layout

# Places that count from 0, as indices do.
INDICES = ("best_index", "best_idx", "chosen_index", "chosen_idx", "preferred_index")
NUMBERS = ("best_number",)  # places that count from 1
# The best response's text, its model, or a verdict on two of them.
NAMES = ("best", "best_response", "chosen", "chosen_response", "preferred", "winner", "selected")
VERDICTS = (*NAMES, *verdicts.VERDICTS)
# Fields of a response that are true of the better ones.
MARKS = ("is_chosen", "is_selected", "is_best", "is_preferred", "is_accepted")
MARKS = (*MARKS, "chosen", "selected", "preferred", "accepted")
OWNERS = ("model", "model_name", "id", "name", "generator")
# Words in names of columns that may point at one response, or label all of them.
POINTING = frozenset(("best", "worst", "chosen", "choice", "selected", "preferred", "preference"))
POINTING |= {"accepted", "winner", "label", "gold", "verdict"}
GRADING = POINTING | {"correct", "correctness", "rank", "ranks", "ranking", "order", "score"}
GRADING |= {"scores", "rating", "ratings", "reward", "rewards", "grade", "grades", "vote"}
GRADING |= {"votes", "labels", "preferences"}


def _items(record: Record) -> Sequence[Any]:
    """The responses of a list; none where they are no list."""
    name = fields.first_present(record, ranked.LISTS)
    if name is None or not isinstance(record[name], (list, tuple)):
        return []
    return record[name]


def _is_marked(record: Record) -> bool:
    """Whether a column or the responses say which response is the best."""
    items = _items(record)
    if fields.first_present(record, (*INDICES, *NUMBERS)) is not None or _mark(items):
        return bool(items)
    return bool(items) and _naming(record, items) is not None


def _naming(record: Record, items: Sequence[Any]) -> str | None:
    """The column that names the best response, if there is one."""
    for name in VERDICTS:
        value = record.get(name)
        if not isinstance(value, str) or not value.strip() or value.strip().isdigit():
            continue
        # A label in words may be of anything, unless it is a verdict or one of the responses.
        if name in NAMES or _share_of_two(value, items) is not None:
            return name
        if any(value in _names_of(item) for item in items):
            return name
    return None


def _mark(items: Sequence[Any]) -> str | None:
    """The field that marks the better responses, if there is one."""
    for name in MARKS:
        # Any of them: only the best one may be marked.
        if any(
            isinstance(item, dict) and isinstance(item.get(name), (bool, int)) for item in items
        ):
            return name
    return None


def _read_marked(record: Record) -> Content:
    """The best response over each of the others, which are not compared with one another."""
    content = ranked.read_responses(record)
    items = _items(record)
    content["pairs"] = _pairs(record, items)
    return content


def _pairs(record: Record, items: Sequence[Any]) -> list[Pair]:
    mark = _mark(items)
    if mark is not None:
        is_best = [fields.boolean(item.get(mark) or False, mark) for item in items]
    else:
        name = fields.first_present(record, (*INDICES, *NUMBERS))
        if name is not None:
            place = _place(record, name, len(items))
        else:
            name = _naming(record, items)
            assert name, "the layout fits"
            share = _share_of_two(record[name], items)
            if share is not None:
                return [verdicts.pair_of(share)]
            place = _named(record[name], name, items)
        is_best = [k == place for k in range(len(items))]
    pairs = []
    for i, is_better in enumerate(is_best):
        worse = [j for j, other in enumerate(is_best) if is_better and not other]
        pairs += [Pair(i, j) for j in worse]
    return pairs


def _place(record: Record, name: str, K: int) -> int:
    """The place that a number says. Raises BadRecord where no response has it."""
    first = int(name in NUMBERS)
    number = fields.number(record[name], name)
    if number not in range(first, K + first):
        other = ("best_number", "best_index")[first]
        raise BadRecord(
            "bad_schema",
            f"{name} = {record[name]!r:.40}: places count from {first}, and there are {K} "
            f"responses; if they count from {1 - first}, say data.columns={{{other}: {name}}}",
        )
    return int(number) - first


def _share_of_two(value: str, items: Sequence[Any]) -> float | None:
    """P(the first is better) by a verdict such as "b" or "tie" on two responses."""
    if len(items) != 2:
        return None
    return verdicts.WINNERS.get(verdicts.word(value))


def _named(value: str, name: str, items: Sequence[Any]) -> int:
    """The place of the response that is this text, or of the model of this name."""
    places = [k for k, item in enumerate(items) if value in _names_of(item)]
    if len(places) != 1:
        raise BadRecord(
            "bad_schema",
            f"{name} = {value!r:.40} is {len(places)} of the {len(items)} responses: name the best "
            f"one's place, as in data.columns={{best_index: COLUMN}} (0 is the first), or leave it "
            f"out by data.columns={{{name}: ''}}",
        )
    return places[0]


def _names_of(item: Any) -> list[Any]:
    """What a verdict may call a response: its text, its model."""
    if not isinstance(item, dict):
        return [item]
    return [item.get(name) for name in (*OWNERS, "content", "text", "response", "answer")]


# ------------------------------------------------------------------ what may be a label


def refuse_unread(record: Record, read: Set[str], content: Content) -> None:
    """Raise BadRecord where nothing compares several responses and a column or field may."""
    labels = [content.get(name) for name in ("pairs", "correct", "ranks")]
    items = _items(record)
    if any(labels) or len(items) < 2:
        return
    for name, value in record.items():
        if name not in read and _may_point(name, value, len(items)):
            raise BadRecord(
                "bad_schema",
                f"`{name}` = {value!r:.40} may say which response is the best: name it, as in "
                f"data.columns={{best_index: {name}}} if places count from 0, {{best_number: "
                f"{name}}} if from 1, or leave it out by data.columns={{{name}: ''}}",
            )
        if name not in read and _may_grade(name, value, len(items)):
            raise BadRecord(
                "bad_schema",
                f"`{name}` = {value!r:.40} may label the responses: name what it is, as in "
                f"data.columns={{scores: {name}}}, {{ranks: {name}}} or {{correct: {name}}}, or "
                f"leave it out by data.columns={{{name}: ''}}",
            )
    column = fields.first_present(record, ranked.LISTS)
    for name in _fields_of(items):
        if GRADING & set(_words(name)):
            where = f"{column}.{name}"
            raise BadRecord(
                "bad_schema",
                f"`{where}` may label the responses: name what it is, as in data.columns="
                f"{{scores: {where}}}, {{ranks: {where}}} or {{correct: {where}}}",
            )


def _words(name: str) -> list[str]:
    """The words of a column's name, however they are joined."""
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())


def _may_point(name: str, value: Any, K: int) -> bool:
    """Whether a column may hold the place of one response, or a verdict on them."""
    if not POINTING & set(_words(name)):
        return False
    word = verdicts.word(value)
    is_place = re.fullmatch(r"-?\d+", word) is not None and -1 <= int(word) <= K
    is_verdict = word in verdicts.WINNERS or verdicts.NUMBERED.fullmatch(word) is not None
    return is_place or is_verdict or isinstance(value, bool)


def _may_grade(name: str, value: Any, K: int) -> bool:
    """Whether a column may hold a label for each response."""
    is_list = isinstance(value, (list, tuple)) and len(value) == K
    return is_list and bool(GRADING & set(_words(name))) and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _fields_of(items: Sequence[Any]) -> list[str]:
    """The fields of all responses that hold numbers or truth values."""
    if not items or not all(isinstance(item, dict) for item in items):
        return []
    return [name for name in items[0] if all(_is_number(item.get(name)) for item in items)]


# ------------------------------------------------------------------ the table

LAYOUTS = (
    # Both tried after pairs: beside a better and a worse one, a list of responses says no more.
    Layout("responses of one prompt with the best one named", _is_marked, _read_marked),
    Layout("responses of one prompt, unlabeled", ranked.is_responses, ranked.read_responses),
)
