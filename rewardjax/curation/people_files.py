"""Tasks for people to files: JSON lines, or Label Studio's import format.

What comes back is read by `annotation.acceptance`.
"""

import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from rewardjax.curation.judges.attributes import FIELDS
from rewardjax.curation.ledger.rows import PairText
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import Task
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
            row |= {name: plain(row[name]) for name in ("prompt", "left", "right")}
        text = json.dumps([{"data": row} for row in rows], ensure_ascii=False)
    else:
        raise ValueError(f"style = {style!r}: 'jsonl' or 'label_studio'")
    pathlib.Path(path).write_text(text, encoding="utf-8")


def _shown(store: Store, tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    """What an annotator sees of each task."""
    pair_ids = [task.pair_id for task in tasks]
    attributes = {row["pair_id"]: row for row in store.current_attributes(pair_ids).to_pylist()}
    texts = store.texts(pair_ids)
    for task, text in zip(tasks, texts, strict=True):
        shown = {}
        if task.pair_id in attributes:
            shown = {name: attributes[task.pair_id][name] for name in FIELDS}
        offered = {}
        if text["tools"] is not None:
            offered["tools"] = text["tools"]
        yield {
            "task": task.id,
            "annotator": task.annotator,
            **shown_texts(task, text),
            "attributes": shown,
            "guideline": shown.get("annotation_guideline", ""),
            **offered,
        }


def shown_texts(task: Task, text: PairText) -> dict[str, list[Message]]:
    """The prompt and the two responses of a task, by the side on which it shows them."""
    responses = {"a": text["response_a"], "b": text["response_b"]}
    left, right = (responses[side] for side in task.shown)
    return {"prompt": text["prompt"], "left": left, "right": right}


def plain(messages: Sequence[Message]) -> str:
    """Messages as one text, for tools that show no lists of messages."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{m['role']}: {m['content']}" for m in messages)
