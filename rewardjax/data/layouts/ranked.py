"""One prompt and K responses, with correctness, ranks or scores."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from rewardjax.data.groups import BadRecord, Message, Pair
from rewardjax.data.layouts import fields
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.layout import Content, Layout

LISTS = ("responses", "candidates", "completions", "answers", "generations")
# 1,400 responses in the order of their scores; curation writes a vote for each pair.
MOST_PAIRS = 1_000_000
# What may label the responses of a group: the names of a column, and of a field of one response.
LABELS = (
    (("correct", "is_correct"), ("is_correct", "correct")),
    (("ranks",), ("rank", "ranks")),
    # distilabel's are ratings; rewards are another model's; pm_score is Stack Exchange's, by votes.
    (
        ("scores", "ratings", "rewards"),
        ("score", "overall_score", "scores", "rating", "reward", "pm_score"),
    ),
)


def is_responses(record: Record) -> bool:
    """Whether the record has a list of responses, or columns of them with scores."""
    if record.get("response_1") is not None and record.get("scores") is not None:
        return True
    return fields.first_present(record, LISTS) is not None


def _is_labeled(record: Record) -> bool:
    """Whether the record has responses, and the record or the first of them says how good."""
    if not is_responses(record):
        return False
    name = fields.first_present(record, LISTS)
    items: Sequence[Any] = []
    if name is not None and isinstance(record[name], (list, tuple)):
        items = record[name]
    for columns, names in LABELS:
        if fields.first_present(record, columns) is not None:
            return True
        # Any of them: the first response may be one that nobody has graded.
        if any(isinstance(item, dict) and fields.first_present(item, names) for item in items):
            return True
    return False


def read_responses(record: Record) -> Content:
    """`responses`: texts, message lists, or dicts with content and labels; or columns of responses.

    The columns are response_1 .. response_K, with `scores`.
    """
    name = fields.first_present(record, LISTS)
    if name is not None:
        items = record[name]
    else:
        scores = record["scores"]
        if not isinstance(scores, (list, tuple)):
            raise BadRecord("bad_schema", f"scores = {scores!r:.60}, not a list")
        columns = [f"response_{n}" for n in range(1, len(scores) + 1)]
        items = [record[column] for column in columns if column in record]
        # One more would be left out without a word.
        beyond = f"response_{len(scores) + 1}"
        if record.get(beyond) is not None:
            raise BadRecord("bad_schema", f"{beyond} has no score among {len(scores)} scores")
    if not isinstance(items, (list, tuple)):
        raise BadRecord("bad_schema", f"{name} = {items!r:.60}, not a list")
    # In one data set 1 is a rank, in the next it says that the response is right.
    if isinstance(record.get("labels"), (list, tuple)) and not _is_labeled(record):
        raise BadRecord(
            "bad_schema",
            f"labels = {record['labels']!r:.40}: name what they are, as in data.columns="
            "{scores: labels}, {correct: labels} or {ranks: labels}; labels of the steps of one "
            "answer compare no answers",
        )
    return labeled(fields.prompt(record), items, record)


def labeled(prompt: list[Message], items: Sequence[Any], record: Record) -> Content:
    """The group of a prompt and K responses, with what the record or each response says of them."""
    correct, ranks, scores = (_labels(record, items, *names) for names in LABELS)
    # Some data sets call correctness a score.
    if correct is None and scores is not None and all(_is_truth(score) for score in scores):
        correct, scores = scores, None
    if scores is not None:
        _refuse_several(scores, record)
    correct = _each(fields.boolean, correct, "correct")
    scores = _each(fields.number, scores, "scores")
    ranks = _each(fields.number, ranks, "ranks")
    _refuse_too_many_pairs(correct, ranks or scores)
    if ranks is not None and scores is not None:
        _refuse_reversed(ranks, scores)
    if ranks is None and scores is not None:
        ranks = _ranks_of(scores)
    if ranks is not None:
        best = min(rank for rank in ranks if rank is not None)
        ranks = [rank if rank is None else rank - best for rank in ranks]
    responses = [_response(item, f"responses[{k}]") for k, item in enumerate(items)]
    return {
        "prompt": fields.apart(prompt, responses),
        "responses": responses,
        "pairs": _pairs(correct, ranks, scores),
        "correct": _whole(correct),
        "ranks": _whole(ranks),
    }


def _refuse_too_many_pairs(correct: list[bool | None] | None, grades: list[Any] | None) -> None:
    """Raise BadRecord where the labels of a group make more pairs than one record may hold."""
    if correct is not None:
        pairs = correct.count(True) * correct.count(False)
    else:
        graded = sum(grade is not None for grade in grades or [])
        pairs = graded * (graded - 1) // 2
    # They grow with the square of the responses: a row of one MB could ask for 10^10 of them.
    if pairs > MOST_PAIRS:
        raise BadRecord(
            "bad_schema",
            f"the labels of the responses make {pairs:,} pairs, at most {MOST_PAIRS:,} are read; "
            "split the record into several with the same prompt",
        )


def _refuse_several(scores: list[Any], record: Record) -> None:
    """Raise BadRecord where a response has several scores: which one orders them is not known."""
    several = scores[0]
    if isinstance(several, dict) and several:
        where = f"{fields.first_present(record, LISTS) or 'responses'}.scores"
        raise BadRecord(
            "bad_schema",
            f"{where} holds {', '.join(map(str, several))}: name the one that orders the "
            f"responses, as in data.columns={{scores: {where}.{next(iter(several))}}}",
        )


def _ranks_of(scores: list[float | None]) -> list[float | None]:
    """Dense ranks: equal scores share one, and the next score down has the next rank."""
    best_first = sorted({score for score in scores if score is not None}, reverse=True)
    ranks: dict[float | None, float] = {score: float(n) for n, score in enumerate(best_first)}
    return [ranks.get(score) for score in scores]


def _whole(labels: list[Any] | None) -> list[Any] | None:
    """Labels of all responses, or None: those of some are in the pairs."""
    if labels is None or None in labels:
        return None
    return labels


def _response(item: Any, where: str) -> list[Message]:
    """One response of several."""
    # NeMo-RL's `completions` hold messages under this name.
    if isinstance(item, dict) and item.get("completion") is not None:
        item = item["completion"]
    return fields.response_or_fault(item, where)


def _labels(
    record: Record, items: Sequence[Any], columns: Sequence[str], names: Sequence[str]
) -> list[Any] | None:
    """A list column, or a field of the responses; None where there is neither.

    A response that is not labeled has None.
    """
    column = fields.first_present(record, columns)
    if column is not None:
        values = record[column]
        # The keys of an object, and the letters of a text, would be labels too.
        if not isinstance(values, (list, tuple)):
            raise BadRecord("bad_schema", f"{column} = {values!r:.60}, not a list")
        # Which label belongs to which response is not known.
        if len(values) != len(items):
            raise BadRecord(
                "bad_schema", f"{column} has {len(values)} values for {len(items)} responses"
            )
    else:
        values = [_label_of(item, names) for item in items]
    if all(value is None for value in values):
        return None
    return list(values)


def _label_of(item: Any, names: Sequence[str]) -> Any:
    name = None
    if isinstance(item, dict):
        name = fields.first_present(item, names)
    if name is None:
        return None
    return item[name]


def _is_truth(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _each(read: Callable[[Any, str], Any], values: list[Any] | None, name: str) -> list[Any] | None:
    """Labels as `read` reads them; None for a response that has none, which pandas writes NaN."""
    if values is None:
        return None
    is_missing = [value is None or value != value for value in values]
    if all(is_missing):
        return [read(value, name) for value in values]
    return [
        None if missing else read(value, name)
        for missing, value in zip(is_missing, values, strict=True)
    ]


def _refuse_reversed(ranks: list[float | None], scores: list[float | None]) -> None:
    """Raise BadRecord where every pair that the ranks order is ordered the other way by scores."""
    agree, differ = 0, 0
    labels: list[tuple[float, float]] = []
    for rank, score in zip(ranks, scores, strict=True):
        if rank is not None and score is not None:
            labels.append((rank, score))
    for (rank, score), (other_rank, other_score) in itertools.combinations(labels, 2):
        better_by_both = (other_rank - rank) * (score - other_score)
        agree += better_by_both > 0
        differ += better_by_both < 0
    if differ and not agree:
        raise BadRecord(
            "bad_schema",
            f"ranks = {ranks!r:.60} contradict scores = {scores!r:.60}: the smallest rank is the "
            "best; leave one out, as in data.columns={ranks: ''}",
        )


def _difference(scores: list[float | None] | None, i: int, j: int) -> float:
    """How much better response i is than j, 0 where one of them has no score."""
    if scores is None:
        return 0.0
    better, worse = scores[i], scores[j]
    if better is None or worse is None:
        return 0.0
    return better - worse


def _pairs(
    correct: list[bool | None] | None,
    ranks: list[float | None] | None,
    scores: list[float | None] | None,
) -> list[Pair]:
    """Right over wrong; without correctness better over worse, and equal ranks as ties.

    A difference of scores is the margin. A response without a label is in no pair.
    """
    pairs: list[Pair] = []
    if correct is not None:
        # Two right answers are no tie: one may be much better written than the other.
        for i, is_right in enumerate(correct):
            wrong = [j for j, other in enumerate(correct) if is_right and other is False]
            pairs += [Pair(i, j) for j in wrong]
        return pairs
    for i, rank in enumerate(ranks or []):
        for j, other in enumerate(ranks or []):
            if rank is None or other is None:
                continue
            if rank < other:
                pairs.append(Pair(i, j, margin=_difference(scores, i, j)))
            # Each tie once: i < j, where better-over-worse above picks one order by itself.
            elif rank == other and i < j:
                pairs.append(Pair(i, j, target=0.5, tie=True))
    return pairs


# ------------------------------------------------------------------ data sets of their own


def _is_ultrafeedback(record: Record) -> bool:
    return record.get("completions") is not None and record.get("instruction") is not None


def _read_ultrafeedback(record: Record) -> Content:
    """`instruction` and `completions`, each with overall_score or ratings of four aspects."""
    items = [dict(item) for item in record["completions"]]
    for item in items:
        if item.get("overall_score") is None and item.get("annotations"):
            item["overall_score"] = _mean_rating(item["annotations"])
    return labeled(fields.prompt(record), items, {})


def _mean_rating(annotations: dict[str, Any]) -> float:
    """The mean of the aspects' ratings, as binarized versions of UltraFeedback order by."""
    ratings = []
    for aspect, annotation in annotations.items():
        ratings.append(fields.number(annotation.get("Rating"), f"annotations.{aspect}.Rating"))
    return sum(ratings) / len(ratings)


def _is_rated_apart(record: Record) -> bool:
    columns = (record.get("responses"), record.get("annotations"))
    for column, label in zip(columns, ("response", "rating"), strict=True):
        if not isinstance(column, (list, tuple)) or not column:
            return False
        if not all(isinstance(item, dict) and {"model", label} <= set(item) for item in column):
            return False
    return True


def _read_rated_apart(record: Record) -> Content:
    """CodeUltraFeedback: the rating of a response is the one of the same model's name."""
    ratings = {item["model"]: item["rating"] for item in record["annotations"]}
    models = [item["model"] for item in record["responses"]]
    if len(set(models)) < len(models) or not ratings.keys() >= set(models):
        raise BadRecord(
            "bad_schema", f"annotations are of the models {sorted(ratings)}, responses of {models}"
        )
    items = [item | {"score": ratings[item["model"]]} for item in record["responses"]]
    return labeled(fields.prompt(record), items, {})


def _is_nectar(record: Record) -> bool:
    answers = record.get("answers")
    return isinstance(answers, (list, tuple)) and bool(answers) and _has_rank(answers[0])


def _has_rank(item: Any) -> bool:
    return isinstance(item, dict) and item.get("rank") is not None


LAYOUTS = (
    Layout("UltraFeedback", _is_ultrafeedback, _read_ultrafeedback),
    Layout("CodeUltraFeedback", _is_rated_apart, _read_rated_apart),
    Layout("Nectar ranked answers", _is_nectar, read_responses),
    Layout("responses of one prompt", _is_labeled, read_responses),
)
