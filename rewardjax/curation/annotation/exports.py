"""What annotation tools export, as answers by one set of names.

Label Studio's JSON, JSON_MIN and CSV, Argilla's records (of version 1, of version 2, and flat), and
rows of our own task files with an answer filled in. Each becomes a `Given`; whether it is an answer
to a task of ours is for `acceptance` to say.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.curation.annotation import choices
from rewardjax.curation.annotation.answer_files import Raw, Unread
from rewardjax.curation.people import VALUES
from rewardjax.data.json_text import literal

# Our names of fields -> other names that they go by, the first that is there counts.
NAMES: dict[str, tuple[str, ...]] = {
    "task": ("task", "task_id", "taskid"),
    "choice": ("choice", "answer", "label", "preference", "preferred", "winner", "vote"),
    "confidence": ("confidence",),
    "seconds": ("seconds", "lead_time", "duration"),
    "edits": ("edits",),
    "prompt": ("prompt",),
    "left": ("left",),
    "right": ("right",),
    "attributes": ("attributes",),
}
# Under which a row says who answered: a name, a number of a tool, an e-mail.
PERSONS = ("completed_by", "annotator", "annotator_id", "user_id", "user", "worker_id", "worker")
# Under these a tool keeps its own number of a record; ours only where nothing else names the task.
OTHER_IDS = ("external_id", "record_id", "id")
# Of Label Studio's `verdict`: that the side counts.
SIDE_COUNTS = ("clear", "slight")
# Marks a row of Label Studio's JSON_MIN and CSV.
LABEL_STUDIO_ROW = "annotation_id"


class Given(NamedTuple):
    """An answer as a file gives it, by our names of fields; nothing in it is checked yet."""

    place: str
    values: Mapping[str, Any]
    # The names under which the file knows who answered (a number, an e-mail); none: it does not.
    people: tuple[str, ...] = ()
    # Whether it comes from a tool in which anybody may answer any task.
    is_shared: bool = False
    # Why it is no answer: it was skipped, or is a draft; "" where it may be one.
    unanswered: str = ""


def answers(raw: Raw) -> Iterator[Given | Unread]:
    """The answers in one record: several where several people answered."""
    fields = {str(name).strip(): value for name, value in raw.values.items()}
    try:
        if isinstance(fields.get("data"), dict):
            yield from _label_studio(raw.place, fields)
        elif isinstance(fields.get("fields"), dict) or _flat_argilla(fields):
            yield from _argilla(raw.place, fields)
        else:
            yield _row(raw.place, fields)
    except ValueError as error:
        yield Unread(raw.place, str(error))


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by our names. Raises ValueError where two of them contradict each other."""
    by_spelling = _by_spelling(fields)
    named = {}
    for ours, names in NAMES.items():
        there = [name for name in names if name in by_spelling]
        present = [name for name in there if not choices.is_blank(by_spelling[name])]
        if not present:
            if there and ours == "choice":
                # Kept as it is written: a person who writes "none" may mean a tie, and is told.
                named[ours] = by_spelling[there[0]]
            continue
        named[ours] = by_spelling[present[0]]
        for name in present[1:]:
            is_other = str(by_spelling[name]) != str(named[ours])
            if is_other and ours in ("task", "choice"):
                raise ValueError(f"{present[0]} and {name} say different things: delete one")
    return named


def _by_spelling(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by one spelling of their names. Raises ValueError where one is there twice."""
    ours = set(itertools.chain.from_iterable(NAMES.values()))
    by_spelling: dict[str, Any] = {}
    for name, value in fields.items():
        spelled = choices.spelling(name)
        earlier = by_spelling.get(spelled)
        # A column that nobody filled in says nothing beside one that somebody did.
        if choices.is_blank(earlier):
            by_spelling[spelled] = value
        elif spelled in ours and not choices.is_blank(value) and value != earlier:
            raise ValueError(f"{spelled!r} stands twice in the record, with different values")
    return by_spelling


def _task(named: Mapping[str, Any], fields: Mapping[str, Any]) -> Any:
    """What names the task. Raises ValueError, with the names that there are, where nothing does."""
    by_spelling = _by_spelling(fields)
    candidates = [named.get("task"), *map(by_spelling.get, OTHER_IDS)]
    for value in candidates:
        if not choices.is_blank(value):
            return value
    raise ValueError(
        f"no field `task` says which task it answers: there are {_names(fields)}, and the first "
        "row of a table names its columns"
    )


def _names(fields: Mapping[str, Any]) -> str:
    """The names of fields as an error shows them."""
    return ", ".join(map(choices.short, fields)) or "none"


def _people(value: Any) -> tuple[str, ...]:
    """The names of one person: a number, an e-mail, or an object that has both."""
    if isinstance(value, dict):
        names = [value.get(name) for name in ("id", "email", "username")]
    else:
        names = [value]
    people = []
    for name in names:
        # Tables of text hold 3.0 where a column of numbers had a gap.
        text = str(name).strip().removesuffix(".0")
        if not choices.is_blank(text):
            people.append(text)
    return tuple(people)


def _persons(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Every name under which a row says who answered it."""
    by_spelling = _by_spelling(fields)
    people: list[str] = []
    for name in PERSONS:
        people += _people(by_spelling.get(name))
    return tuple(dict.fromkeys(people))


# ------------------------------------------------------------------ rows


def _row(place: str, fields: Mapping[str, Any]) -> Given:
    """A row of JSON lines or of a table: ours, or Label Studio's JSON_MIN and CSV."""
    sides: list[Any] = []
    for value in fields.values():
        sides += _selected(value)
    is_label_studio = LABEL_STUDIO_ROW in fields or bool(sides)
    values = _named(fields)
    values["task"] = _task(values, fields)
    verdict = fields.get("verdict")
    if is_label_studio:
        if not sides and not choices.is_blank(fields.get("pw")):
            sides = [fields["pw"]]
        side = _one_side(sides)
        if side is None:
            side = values.get("choice")
        overruling = _with_verdict(side, verdict)
        if overruling is not None or "pw" in fields:
            values["choice"] = overruling
    else:
        _refuse_contradiction(values.get("choice"), verdict)
    unanswered = ""
    if "choice" not in values:
        unanswered = f"it has no field `choice`, only {_names(fields)}"
    # Cells of a table hold JSON as text.
    for name in ("edits", "attributes"):
        if isinstance(values.get(name), str):
            values[name] = parsed(values[name])
    return Given(place, values, _persons(fields), is_label_studio, unanswered)


def _refuse_contradiction(choice: Any, verdict: Any) -> None:
    """Raise ValueError for a verdict beside the choice that says something else."""
    word = choices.WORDS.get(choices.spelling(verdict))
    if choices.is_blank(choice):
        return
    if word in VALUES and choices.WORDS.get(choices.spelling(choice)) != word:
        raise ValueError("choice and verdict say different things: delete one")


def _one_side(sides: Sequence[Any]) -> Any:
    """The side that all of them name, None without any. Raises ValueError for two."""
    distinct = list(dict.fromkeys(map(choices.short, sides)))
    if len(distinct) > 1:
        raise ValueError(f"different sides in one record, {', '.join(distinct)}: keep one")
    return next(iter(sides), None)


def _selected(value: Any) -> list[Any]:
    """The sides in Label Studio's `[{"selected": "left"}]`, which a table holds as text."""
    if isinstance(value, str) and '"selected"' in value:
        value = parsed(value)
    if isinstance(value, dict):
        value = [value]
    sides = []
    if isinstance(value, list):
        for each in value:
            if isinstance(each, dict) and "selected" in each:
                sides.append(each["selected"])
    return sides


def parsed(text: str) -> Any:
    """The JSON, or the Python literal, that a cell holds; the text itself where it is neither."""
    return literal(text, otherwise=text)


def _with_verdict(side: Any, verdict: Any) -> Any:
    """The choice of a side and a verdict on it.

    "No preference" and "cannot decide" overrule the side, which Label Studio makes people pick
    before they can say so.
    """
    if isinstance(verdict, dict):
        verdict = verdict.get("choices")
    if isinstance(verdict, list):
        if len(verdict) > 1:
            raise ValueError(f"verdict = {choices.short(verdict)} has several values")
        verdict = (verdict or [None])[0]
    if choices.is_blank(verdict) or verdict in SIDE_COUNTS:
        return side
    if isinstance(verdict, str) and verdict in VALUES:
        return verdict
    raise ValueError(
        f"verdict = {choices.short(verdict)} is not one of {', '.join((*SIDE_COUNTS, *VALUES))}"
    )


# ------------------------------------------------------------------ Label Studio's JSON


def _label_studio(place: str, fields: Mapping[str, Any]) -> Iterator[Given | Unread]:
    """The annotations of one exported task."""
    task = _named(fields["data"])
    task["task"] = _task(task, fields["data"])
    # What the task itself shows: never an answer, whatever its columns are called.
    for name in ("choice", "confidence", "seconds", "edits"):
        task.pop(name, None)
    annotations = fields.get("annotations", fields.get("completions")) or []
    if not annotations:
        why = "nobody annotated it"
        if fields.get("drafts"):
            why = "there is only a draft: submit it"
        yield Given(place, task, is_shared=True, unanswered=why)
    for annotation in annotations:
        if not isinstance(annotation, dict) or not isinstance(annotation.get("result"), list):
            yield Unread(place, "an annotation without `result`: export it as JSON in full")
            continue
        people = _people(annotation.get("completed_by"))
        values = task | {"seconds": annotation.get("lead_time")}
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            yield Given(place, values, people, is_shared=True, unanswered="it was skipped")
            continue
        try:
            values["choice"] = _of_regions(annotation["result"])
        except ValueError as error:
            yield Unread(place, str(error))
            continue
        yield Given(place, values, people, is_shared=True)


def _of_regions(regions: Sequence[Any]) -> Any:
    """The choice that the regions of an annotation make, None where they make none."""
    sides: list[Any] = []
    picked_by_name: dict[str, list[Any]] = {}
    for region in regions:
        value = _object(_object(region, "a region").get("value"), "the value of a region")
        if region.get("type") == "pairwise":
            # Its `left` is the first of the texts that the tag compares.
            if str(region.get("to_name")).startswith("right"):
                raise ValueError("to_name of the pairwise tag is `right` and not `left,right`")
            sides.append(value.get("selected"))
        elif region.get("type") == "choices":
            name = str(region.get("from_name"))
            picked_by_name.setdefault(name, []).extend(_as_list(value.get("choices")))
    verdict = picked_by_name.pop("verdict", None)
    # A labeling interface of the team's own, with choices instead of a pairwise tag.
    if not sides and len(picked_by_name) == 1:
        (sides,) = picked_by_name.values()
    choice = _with_verdict(_one_side(sides), verdict)
    if choice is None and regions:
        kinds = dict.fromkeys(choices.short(region.get("type")) for region in regions)
        raise ValueError(
            f"nothing in it says a side: there are {', '.join(kinds)}, and a pairwise tag or one "
            "tag of choices would"
        )
    return choice


# ------------------------------------------------------------------ Argilla


def _flat_argilla(fields: Mapping[str, Any]) -> bool:
    return any(name.endswith(".responses") for name in fields)


def _argilla(place: str, fields: Mapping[str, Any]) -> Iterator[Given | Unread]:
    """The responses of one record, whichever version of Argilla wrote it."""
    texts: dict[str, Any] = {}
    for part in ("fields", "metadata"):
        content = fields.get(part)
        if isinstance(content, str):
            content = parsed(content)
        if isinstance(content, dict):
            texts |= content
    # In flat records metadata and fields stand beside the rest.
    if _flat_argilla(fields):
        texts |= fields
    task = _named(texts)
    # What the record shows is not what somebody answered.
    task.pop("choice", None)
    # Its own id names the task where neither a field nor the metadata does.
    task["task"] = _task(task, {**fields, **texts})
    responses = list(_responses(fields))
    if not responses:
        yield Given(place, task, is_shared=True, unanswered="nobody answered it")
    # Beside the choice there may be other questions, such as a comment.
    about_choice = [each for each in responses if choices.spelling(each[0]) in NAMES["choice"]]
    for _, value, person, status in about_choice or responses:
        unanswered = ""
        if status not in (None, "", "submitted"):
            unanswered = f"its status is {choices.short(status)}: submit it"
        values = task | {"choice": value}
        yield Given(place, values, _people(person), is_shared=True, unanswered=unanswered)


def _responses(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any, Any]]:
    """(question, value, who, status) of each response."""
    if _flat_argilla(fields):
        for name, values in fields.items():
            if name.endswith(".responses"):
                question = name.removesuffix(".responses")
                users = _as_list(fields.get(f"{name}.users"))
                states = _as_list(fields.get(f"{name}.status"))
                for i, value in enumerate(_as_list(values)):
                    yield question, value, _at(users, i), _at(states, i)
        return
    responses = fields.get("responses") or []
    if isinstance(responses, dict):
        # Version 2: question -> its responses.
        for question, listed in responses.items():
            for response in _as_list(listed):
                yield (
                    question,
                    response.get("value"),
                    response.get("user_id"),
                    response.get("status"),
                )
        return
    for each in _as_list(responses):
        # Version 1: person by person.
        response = _object(each, "a response")
        for question, value in _object(response.get("values"), "the values of a response").items():
            if isinstance(value, dict):
                value = value.get("value")
            yield question, value, response.get("user_id"), response.get("status")


def _object(value: Any, name: str) -> Mapping[str, Any]:
    """The object that a part of an export is, empty for null. Raises ValueError for others."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {choices.short(value)} and not an object with fields")
    return value


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, str):
        value = parsed(value)
    if value is None:
        return []
    if isinstance(value, list):
        return value
    return [value]


def _at(values: Sequence[Any], place: int) -> Any:
    if place < len(values):
        return values[place]
    return None
