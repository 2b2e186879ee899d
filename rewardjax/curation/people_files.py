"""Tasks for people to files, and answers from files: JSONL, or Label Studio's formats."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardjax.curation.judges.attributes import FIELDS
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import VALUES, Answer, Task
from rewardjax.data.groups import Message

# The labeling interface of a Label Studio project for these tasks. `verdict` asks for more than the
# side; "clear" and "slight" say that the side counts.
LABEL_CONFIG = """<View>
  <Header value="Prompt"/><Text name="prompt" value="$prompt"/>
  <Header value="$guideline"/>
  <Pairwise name="pw" toName="left,right"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; gap: 1em">
    <Text name="left" value="$left"/><Text name="right" value="$right"/>
  </View>
  <Choices name="verdict" toName="prompt" choice="single" showInline="true">
    <Choice value="clear"/><Choice value="slight"/>
    <Choice value="no_preference"/><Choice value="cannot_decide"/>
  </Choices>
</View>
"""


def write_tasks(
    store: Store, tasks: Sequence[Task], path: str | pathlib.Path, style: str = "jsonl"
) -> None:
    """Write tasks with their texts.

    Nothing in the file tells which side came as the chosen one, which tasks are checks, or what a
    judge said.

    Args:
        store: has the texts and attributes.
        tasks: of one or more annotators.
        path: of the file.
        style: "jsonl" (one object per line) or "label_studio" (its import JSON, for LABEL_CONFIG).

    Raises:
        ValueError: for another style.
    """
    rows = list(_shown(store, tasks))
    if style == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif style == "label_studio":
        for row in rows:
            # Label Studio shows text, not lists of messages.
            row |= {name: _plain(row[name]) for name in ("prompt", "left", "right")}
        text = json.dumps([{"data": row} for row in rows], ensure_ascii=False)
    else:
        raise ValueError(f"style = {style!r}: 'jsonl' or 'label_studio'")
    pathlib.Path(path).write_text(text, encoding="utf-8")


def _shown(store: Store, tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    """What an annotator sees of each task."""
    attributes = {row["pair_id"]: row for row in store.current_attributes().to_pylist()}
    texts = store.texts([task.pair_id for task in tasks])
    for task, text in zip(tasks, texts, strict=True):
        shown = {}
        if task.pair_id in attributes:
            shown = {name: attributes[task.pair_id][name] for name in FIELDS}
        responses = {"a": text["response_a"], "b": text["response_b"]}
        offered = {}
        if text["tools"] is not None:
            offered["tools"] = text["tools"]
        yield {
            "task": task.id,
            "annotator": task.annotator,
            "prompt": text["prompt"],
            "left": responses[task.shown[0]],
            "right": responses[task.shown[1]],
            "attributes": shown,
            "guideline": shown.get("annotation_guideline", ""),
            **offered,
        }


def _plain(messages: Sequence[Message]) -> str:
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{m['role']}: {m['content']}" for m in messages)


def read_answers(path: str | pathlib.Path) -> tuple[list[Answer], list[str]]:
    """Answers of a file, and a sentence for each record that is not one.

    The file is JSONL with task, choice and optionally confidence, seconds and edits, or a Label
    Studio JSON export.

    Raises:
        ValueError: where it is neither.
    """
    text = pathlib.Path(path).read_text(encoding="utf-8")
    # An export is one list; a line of JSONL is an object.
    is_export = text.lstrip().startswith("[")
    try:
        if is_export:
            records = json.loads(text)
        else:
            records = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: neither JSONL nor a Label Studio export (JSON): {error}"
        ) from None
    read = _from_line
    if is_export:
        read = _from_label_studio
    answers: list[Answer] = []
    unreadable: list[str] = []
    for number, record in enumerate(records, 1):
        try:
            answers += read(record)
        except (KeyError, TypeError, ValueError) as error:
            unreadable.append(f"{path}, record {number}: {type(error).__name__}: {error}")
    return answers, unreadable


def _from_line(record: Mapping[str, Any]) -> list[Answer]:
    names = {field.name for field in dataclasses.fields(Answer)}
    return [Answer(**{name: record[name] for name in names & record.keys()})]


def _from_label_studio(record: Mapping[str, Any]) -> list[Answer]:
    """The answers of one exported task; canceled annotations are not answers."""
    answers = []
    for annotation in record["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        side = verdict = None
        for region in annotation["result"]:
            if region["type"] == "pairwise":
                side = region["value"]["selected"]
            elif region["from_name"] == "verdict":
                verdict = region["value"]["choices"][0]
        # "No preference" and "cannot decide" overrule the side, which Label Studio makes people
        # pick before they can say so.
        choice = side
        if verdict in VALUES:
            choice = verdict
        if choice is None:
            raise ValueError(
                f"task {record['data']['task']}: neither a side nor a verdict was picked"
            )
        answers.append(Answer(record["data"]["task"], choice, seconds=annotation.get("lead_time")))
    return answers
