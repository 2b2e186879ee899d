"""Writing the same answers as people and tools do: what the shapes of `answer_shapes` are made of.

The formats are those of tools' exports and of spreadsheets, and the changes are mistakes that
people make with them.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.curation.people import Task

Row = dict[str, Any]
# What is written into one file.
Content = str | bytes
NUMBERS = {"ann": 1, "bob": 2}


class Queue(NamedTuple):
    """Tasks and what their people mean to answer."""

    tasks: Sequence[Task]
    # task -> one of people.CHOICES
    meant: Mapping[str, str]
    # The tasks as they were sent: one record per task, with lists of messages and as plain texts.
    sent: Sequence[Row]
    sent_plain: Sequence[Row]
    # The id of a task whose step is closed.
    closed: str

    def rows(self, **changes: Any) -> list[Row]:
        """The plainest answers: `task` and `choice`."""
        return [{"task": task.id, "choice": self.meant[task.id]} | changes for task in self.tasks]


# ------------------------------------------------------------------ writing


def lines(rows: Iterable[Any], end: str = "\n") -> str:
    """JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)


def table(rows: Sequence[Row], delimiter: str = ",", **options: Any) -> str:
    """A table with the columns of the first row."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, **options)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def one(name: str, write: Callable[[Queue], Content]) -> Callable[[Queue], dict[str, Content]]:
    """A single file."""
    return lambda queue: {name: write(queue)}


def renamed(rows: Sequence[Row], names: Mapping[str, str]) -> list[Row]:
    """Rows with other names of columns."""
    return [{names.get(name, name): value for name, value in row.items()} for row in rows]


def reworded(queue: Queue, words: Mapping[str, Any], **more: Any) -> list[Row]:
    """Rows with other words for the choices."""
    return [row | {"choice": words[row["choice"]]} | more for row in queue.rows()]


def changed(rows: Sequence[Row], place: int, **changes: Any) -> list[Row]:
    """Rows of which one is different."""
    return [*rows[:place], rows[place] | changes, *rows[place + 1 :]]


def without(text: str, start: str, end: str = "") -> str:
    """A text with `start` replaced by `end` in one place: a slip of the hand."""
    middle = text.index(start, len(text) // 2)
    return text[:middle] + end + text[middle + len(start) :]


WORDS = {side: side for side in ("left", "right", "no_preference", "cannot_decide")}
LETTERS = {"left": "A", "right": "B", "no_preference": "Tie", "cannot_decide": "?"}
OTHER_SIDE = {"left": "right", "right": "left"}


# ------------------------------------------------------------------ Label Studio


def region(side: str, **changes: Any) -> Row:
    """A region of a Pairwise tag."""
    value = {"from_name": "pw", "to_name": "left", "type": "pairwise", "value": {"selected": side}}
    return value | changes


def choice_region(name: str, *picked: str) -> Row:
    """A region of a Choices tag."""
    value = {"choices": list(picked)}
    return {"from_name": name, "to_name": "prompt", "type": "choices", "value": value}


def regions(choice: str) -> list[Row]:
    """The regions by which somebody says this in our labeling interface."""
    if choice in OTHER_SIDE:
        return [region(choice), choice_region("verdict", "clear")]
    # People have to pick a side before they can say that it does not count.
    return [region("left"), choice_region("verdict", choice)]


def label_studio(queue: Queue, **changes: Any) -> list[Row]:
    """The full JSON of Label Studio, each task annotated by its annotator."""
    records = []
    for i, (task, sent) in enumerate(zip(queue.tasks, queue.sent_plain, strict=True), 1):
        annotation = {
            "id": i,
            "completed_by": NUMBERS[task.annotator],
            "result": regions(queue.meant[task.id]),
            "was_cancelled": False,
            "ground_truth": False,
            "lead_time": 21.3,
        }
        records.append(
            {"id": i, "annotations": [annotation | changes], "data": sent, "drafts": []}
            | {"predictions": [], "meta": {}, "file_upload": "tasks.json", "total_annotations": 1}
        )
    return records


def annotated(queue: Queue, place: int, **changes: Any) -> list[Row]:
    """The full JSON, with one annotation that is different."""
    records = label_studio(queue)
    records[place]["annotations"][0] |= changes
    return records


def booked_to(queue: Queue, spell: Callable[[int], Any]) -> list[Row]:
    """The full JSON, with people as `spell` writes their numbers."""
    records = label_studio(queue)
    for record in records:
        (annotation,) = record["annotations"]
        annotation["completed_by"] = spell(annotation["completed_by"])
    return records


def with_results(queue: Queue, result: Callable[[str], list[Row]]) -> list[Row]:
    """The full JSON, each annotation with the regions that `result` makes of its choice."""
    records = label_studio(queue)
    for task, record in zip(queue.tasks, records, strict=True):
        record["annotations"][0]["result"] = result(queue.meant[task.id])
    return records


def minimal(queue: Queue, **changes: Any) -> list[Row]:
    """Label Studio's JSON_MIN."""
    rows = []
    for i, (task, sent) in enumerate(zip(queue.tasks, queue.sent_plain, strict=True), 1):
        choice = queue.meant[task.id]
        own = {"id": i, "annotator": NUMBERS[task.annotator], "annotation_id": i, "lead_time": 3.0}
        side, verdict = choice, "clear"
        if choice not in OTHER_SIDE:
            side, verdict = "left", choice
        rows.append(sent | own | {"pw": [{"selected": side}], "verdict": verdict} | changes)
    return rows


def label_studio_table(queue: Queue, delimiter: str = ",") -> str:
    """Label Studio's CSV or TSV."""
    rows = []
    for row in minimal(queue):
        cells = {"attributes": json.dumps(row["attributes"]), "pw": json.dumps(row["pw"])}
        rows.append(row | cells)
    return table(rows, delimiter)


def two_people(queue: Queue) -> list[Row]:
    """The full JSON in which the other person says the opposite of each side."""
    records = label_studio(queue)
    for task, record in zip(queue.tasks, records, strict=True):
        choice = queue.meant[task.id]
        (own,) = record["annotations"]
        other = own | {"completed_by": 3 - own["completed_by"]}
        other |= {"result": regions(OTHER_SIDE.get(choice, choice))}
        record["annotations"] = [own, other]
    return records


def drafts_and_predictions(queue: Queue) -> list[Row]:
    """Four tasks that nobody finished: drafts, a model's prediction, skipped, nothing."""
    records = label_studio(queue)
    guess = [{"result": [region("left")], "model_version": "v1"}]
    records[0] |= {"annotations": [], "drafts": guess}
    records[1] |= {"annotations": [], "predictions": guess}
    records[2]["annotations"][0] |= {"was_cancelled": True}
    records[3]["annotations"][0] |= {"result": []}
    return records


# ------------------------------------------------------------------ Argilla, Prodigy, doccano


def argilla(queue: Queue) -> list[Row]:
    """Argilla's records of version 2, with a suggestion of a model that says the opposite."""
    rows = []
    for task in queue.tasks:
        choice = queue.meant[task.id]
        given = {"value": choice, "user_id": str(NUMBERS[task.annotator]), "status": "submitted"}
        guess = {"value": OTHER_SIDE.get(choice, choice), "score": 0.9, "agent": "m"}
        rows.append(
            {"id": task.id, "fields": {}, "metadata": {}, "status": "completed"}
            | {"responses": {"preference": [given]}, "suggestions": {"preference": guess}}
        )
    return rows


def argilla_ranking(queue: Queue) -> list[Row]:
    """Argilla with a ranking question: a list of values with ranks."""
    rows = argilla(queue)
    for row in rows:
        (given,) = row["responses"]["preference"]
        given["value"] = [{"value": "left", "rank": 1}, {"value": "right", "rank": 2}]
    return rows


def prodigy(queue: Queue) -> list[Row]:
    """Prodigy's choice interface: `answer` says what became of the task, `accept` the choice."""
    return [
        {"task": row["task"], "accept": [row["choice"]], "answer": "accept", "_annotator_id": "x"}
        for row in queue.rows()
    ]


def doccano(queue: Queue) -> list[Row]:
    """doccano's JSON lines: labels are a list, its own ids are numbers."""
    return [
        {"id": i, "text": "...", "task": row["task"], "label": [row["choice"]], "Comments": []}
        for i, row in enumerate(queue.rows())
    ]


# ------------------------------------------------------------------ what people do to files


def sheet(queue: Queue) -> list[Row]:
    """A spreadsheet's export: other capitals, a column of its own, the texts, empty rows last."""
    rows = []
    for sent, row in zip(queue.sent_plain, queue.rows(), strict=True):
        texts = {"Prompt": sent["prompt"], "Left": sent["left"], "Right": sent["right"]}
        cells = {"Timestamp": "27/11/2026 10:11:12", "Task ID": row["task"]} | texts
        rows.append(cells | {"Choice ": row["choice"].title(), "Notes": 'two\nlines, and "more"'})
    return rows + [dict.fromkeys(rows[0], "")] * 3


def numbered(queue: Queue) -> list[Row]:
    """Some of the ids as a spreadsheet's numbers."""
    rows = changed(queue.rows(), 3, task=12.0)
    return changed(rows, 4, task="1.23457E+15")


def contradicting(queue: Queue) -> dict[str, Content]:
    """Two files that say different things about one task."""
    rows = queue.rows()
    opposite = [rows[0] | {"choice": OTHER_SIDE[rows[0]["choice"]]}]
    return {"first.jsonl": lines(rows), "second.jsonl": lines(opposite)}


def in_parts(queue: Queue) -> dict[str, Content]:
    """A file of each person, with one person's answers in both."""
    rows = queue.rows()
    return {"ann.csv": table(rows[:9]), "bob.jsonl": lines(reversed(rows[8:]))}


def two_queues(queue: Queue) -> list[Row]:
    """Answers to this queue, to a closed step, and to another workspace."""
    strange = [{"task": "00c0ffee00c0ffee", "choice": "left"}]
    return queue.rows() + [{"task": queue.closed, "choice": "right"}, *strange]


def row_damaged_pretty(queue: Queue) -> str:
    """A pretty-printed export in which one record is damaged in its middle."""
    return without(json.dumps(label_studio(queue), indent=2), '"was_cancelled":', '"was_cancelled"')


def unquoted(queue: Queue) -> str:
    """A CSV in which a note with a comma is not quoted, and another one has an open quote."""
    written = table(queue.rows(note="fine")).split("\r\n")
    written[4] += ", really"
    written[6] = written[6].replace("fine", '"fine')
    return "\r\n".join(written)


def doubled_column(queue: Queue) -> str:
    """Two columns with one name: a first pass and a second one."""
    written = table(queue.rows()).split("\r\n")
    header, *rows = written[:17]
    rows = [f"{row},{row.rpartition(',')[2]}" for row in rows]
    rows[0] = rows[0].rpartition(",")[0] + f",{OTHER_SIDE[queue.meant[queue.tasks[0].id]]}"
    return "\n".join([f"{header},choice", *rows])


def concatenated(queue: Queue) -> str:
    """Two JSON arrays, one after the other."""
    rows = queue.rows()
    return json.dumps(rows[:8]) + "\n" + json.dumps(rows[8:]) + "\n"


def named_twice(queue: Queue) -> list[Row]:
    """Another name for the person in each of two columns."""
    rows = []
    for task, row in zip(queue.tasks, queue.rows(), strict=True):
        rows.append(row | {"annotator": task.annotator, "user": task.annotator})
    rows[0]["user"] = {"ann": "bob", "bob": "ann"}[rows[0]["annotator"]]
    return rows


def with_owner(queue: Queue, spell: Callable[[str], Any]) -> list[Row]:
    """Rows with the annotator, spelled in another way."""
    rows = queue.rows()
    for task, row in zip(queue.tasks, rows, strict=True):
        row["annotator"] = spell(task.annotator)
    return rows


def overruled(queue: Queue) -> list[Row]:
    """Our own rows with a verdict beside the choice, one of which contradicts it."""
    rows = queue.rows()
    for row in rows:
        row["verdict"] = "clear"
        if row["choice"] not in OTHER_SIDE:
            row["verdict"] = row["choice"]
    return changed(rows, 0, verdict="no_preference")


def edited(queue: Queue) -> list[Row]:
    """Edits: of an unknown attribute, of an illegal value, and of no object."""
    rows = changed(queue.rows(), 0, edits={"category": "Math"})
    rows = changed(rows, 1, edits={"objectivity": "subjective"})
    return changed(rows, 2, edits=["Math"])


def confident(queue: Queue) -> list[Row]:
    """Confidences as people write them: five that are a probability, or are left out."""
    values = [0.9, 1, "0.8", None, float("nan"), 90, "high", "90%", "0,8", -1]
    rows = queue.rows()
    for row, value in zip(rows, values, strict=False):
        row["confidence"] = value
    return rows


def filled_in(queue: Queue) -> list[Row]:
    """The task file itself, with a choice in each record."""
    rows = []
    for sent, row in zip(queue.sent, queue.rows(), strict=True):
        rows.append(dict(sent) | {"choice": row["choice"]})
    return rows


def swapped(queue: Queue) -> list[Row]:
    """The task file with left and right swapped in two records: answers to other questions."""
    rows = filled_in(queue)
    for i in (2, 5):
        rows[i] |= {"left": rows[i]["right"], "right": rows[i]["left"]}
    return rows


TIES = ("tie", "Tie.", "EQUAL", "same", "no preference", "No-Preference", "neither is better")
UNSURE = ("can't decide", "Cannot Decide", "undecided")


def ties(queue: Queue) -> list[Row]:
    """Ties, and what is none, in many words."""
    rows = queue.rows()
    count = {"no_preference": 0, "cannot_decide": 0}
    for row in rows:
        for choice, words in (("no_preference", TIES), ("cannot_decide", UNSURE)):
            if row["choice"] == choice:
                row["choice"] = words[count[choice] % len(words)]
                count[choice] += 1
    return rows


def under_a_name(rows: Sequence[Row]) -> str:
    return json.dumps({"answers": rows})
