"""People behind one interface: a queue of tasks, files out and in, and a simulated annotator of known accuracy for experiments.

A task is one pair for one annotator, its two responses shown left and right in an order drawn for the task. The answer names a side and
becomes a vote for `a` or `b`, with the order that was shown. Tasks are a function of what they are about and a seed, so that making the
queue again gives the same tasks.
"""

import dataclasses
import json
import pathlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rewardjax import fingerprint
from rewardjax.curation.judges.attributes import FIELDS
from rewardjax.curation.ledger.store import Store
from rewardjax.stats import agreement

CHOICES = ("left", "right", "no_preference", "cannot_decide")
VALUES = {"no_preference": "tie", "cannot_decide": "undecided"}
CONTROVERSY = {"Low": 0, "Medium": 1, "High": 2}
LABEL_CONFIG = """<View>
  <Header value="Prompt"/><Text name="prompt" value="$prompt"/>
  <Header value="$guideline"/>
  <Pairwise name="pw" toName="left,right"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; gap: 1em">
    <Text name="left" value="$left"/><Text name="right" value="$right"/>
  </View>
  <Choices name="verdict" toName="prompt" choice="single" showInline="true">
    <Choice value="clear"/><Choice value="slight"/><Choice value="no_preference"/><Choice value="cannot_decide"/>
  </Choices>
</View>
"""


@dataclasses.dataclass(frozen=True)
class Task:
    """One pair for one annotator. check: its answer is known, and it is there to see how well the annotator does."""

    id: str
    pair_id: str
    annotator: str
    shown: str  # "ab": response a is on the left
    check: bool


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back. confidence: the annotator's own, where asked. edits: attributes as the annotator corrected them."""

    task: str
    choice: str
    confidence: float | None = None
    seconds: float | None = None
    edits: Mapping[str, str] | None = None


# ---------------------------------------------------------------------------------------------------------------- the queue


def priority(attributes: Mapping[str, Mapping[str, str]]) -> Callable[[str], tuple[int, int]]:
    """Sort key of pair ids: objective pairs first, then the less controversial (paper 2.2); pairs without attributes last."""

    def key(pair_id: str) -> tuple[int, int]:
        row = attributes.get(pair_id)
        return (
            (2, 2)
            if row is None
            else (
                int(row["objectivity"] != "Objective"),
                CONTROVERSY.get(row["controversiality"], 2),
            )
        )

    return key


def queue(
    store: Store,
    pair_ids: Sequence[str],
    annotators: Sequence[str],
    *,
    overlap: float = 0.1,
    checks: float = 0.05,
    gold: Sequence[str] = (),
    seed: int = 0,
) -> list[Task]:
    """Tasks, annotator by annotator, in the order in which each should do them.

    pair_ids: the pairs to label; they are ordered by `priority`, and as given where that is equal. Each goes to one annotator, a share
    `overlap` of them to two, for agreement. `checks`: for each annotator so many tasks more, as a share of the others, drawn from `gold`
    (pairs whose label people gave already) and spread evenly. Raises ValueError without annotators or with shares outside [0, 1]."""
    if (
        not annotators
        or len(set(annotators)) < len(annotators)
        or not (0 <= overlap <= 1 and 0 <= checks <= 1)
    ):
        raise ValueError(
            f"annotators = {list(annotators)}, overlap = {overlap}, checks = {checks}: distinct names, and shares in [0, 1]"
        )
    attributes = {row["pair_id"]: row for row in store.current_attributes().to_pylist()}
    ordered = sorted(dict.fromkeys(pair_ids), key=priority(attributes))
    lists: dict[str, list[tuple[str, bool]]] = {name: [] for name in annotators}
    for pair_id in ordered:
        first = int(_unit(seed, "annotator", pair_id) * len(annotators))
        twice = len(annotators) > 1 and _unit(seed, "overlap", pair_id) < overlap
        for name in (annotators[first], annotators[(first + 1) % len(annotators)])[: 1 + twice]:
            lists[name].append((pair_id, False))
    for name, items in lists.items():
        known = sorted(
            set(gold) - set(ordered), key=lambda pair_id: _unit(seed, "check", name, pair_id)
        )[: round(checks * len(items))]
        places = [round((i + 0.5) * len(items) / len(known)) for i in range(len(known))]
        for place, pair_id in reversed(
            list(zip(places, known, strict=True))
        ):  # the last first, so that none shifts another
            items.insert(place, (pair_id, True))
    return [
        _task(pair_id, name, check, seed)
        for name, items in lists.items()
        for pair_id, check in items
    ]


def _task(pair_id: str, annotator: str, check: bool, seed: int) -> Task:
    shown = "ab" if _unit(seed, "side", annotator, pair_id) < 0.5 else "ba"
    return Task(fingerprint.of_json([pair_id, annotator, seed]), pair_id, annotator, shown, check)


def _unit(*what: Any) -> float:
    """A number in [0, 1) that depends on `what` alone."""
    digest = fingerprint.eight_bytes(json.dumps(what).encode())
    return int.from_bytes(digest, "big") / 2**64


# ---------------------------------------------------------------------------------------------------------------- answers -> votes


def votes(
    tasks: Iterable[Task], answers: Iterable[Answer]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the ledger `votes`, and a sentence for each answer that cannot be one: to an unknown task, a second answer, no choice of
    CHOICES."""
    known, rows, bad, seen = {task.id: task for task in tasks}, [], [], set()
    for answer in answers:
        task = known.get(answer.task)
        if task is None:
            bad.append(f"task {answer.task}: not in the queue")
        elif answer.task in seen:
            bad.append(f"task {answer.task}: answered a second time")
        elif answer.choice not in CHOICES:
            bad.append(
                f"task {answer.task}: choice = {answer.choice!r}, not one of {', '.join(CHOICES)}"
            )
        elif answer.confidence is not None and not 0 <= answer.confidence <= 1:
            bad.append(f"task {answer.task}: confidence = {answer.confidence}, not a probability")
        else:
            seen.add(answer.task)
            value = VALUES.get(answer.choice) or task.shown[answer.choice == "right"]
            evidence = {"task": task.id, "check": task.check} | (
                {"seconds": answer.seconds} if answer.seconds is not None else {}
            )
            row = {
                "pair_id": task.pair_id,
                "voter": f"human:{task.annotator}",
                "value": value,
                "sample": 0,
            }
            row["kind"] = "check" if task.check else "human"
            rows.append(
                row
                | {
                    "confidence": answer.confidence,
                    "shown": task.shown,
                    "evidence": json.dumps(evidence, sort_keys=True),
                }
            )
    return rows, bad


def edited_attributes(
    store: Store, tasks: Iterable[Task], answers: Iterable[Answer]
) -> list[dict[str, Any]]:
    """Rows of the ledger `attributes`: the current ones with the edits of those annotators who made any (paper 2.2: people correct the
    attributes too). Raises ValueError for a field that is no attribute."""
    known = {task.id: task for task in tasks}
    current = {row["pair_id"]: row for row in store.current_attributes().to_pylist()}
    rows = {}
    for answer in answers:
        if answer.edits and (task := known.get(answer.task)):
            if unknown := set(answer.edits) - set(FIELDS):
                raise ValueError(
                    f"task {answer.task}: {sorted(unknown)[0]!r} is no attribute; there are {', '.join(FIELDS)}"
                )
            before = current.get(task.pair_id, dict.fromkeys(FIELDS, ""))
            edited = {name: answer.edits.get(name, before[name]) for name in FIELDS}
            key = {"pair_id": task.pair_id, "voter": f"human:{task.annotator}", "kind": "human"}
            rows[task.pair_id, task.annotator] = (
                key | edited | {"evidence": json.dumps({"task": task.id})}
            )
    return list(rows.values())


# ---------------------------------------------------------------------------------------------------------------- files


def write_tasks(
    store: Store, tasks: Sequence[Task], path: str | pathlib.Path, style: str = "jsonl"
) -> None:
    """Write tasks with their texts: style "jsonl" (one object a line) or "label_studio" (its import JSON; use LABEL_CONFIG there).

    Nothing in the file tells which side came as the chosen one, which tasks are checks, or what a judge said. Keep the tasks
    themselves (`save_queue`): answers only make sense with them."""
    rows = list(_shown(store, tasks))
    if style == "jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    elif style == "label_studio":
        plain = [
            {**row, **{name: _plain(row[name]) for name in ("prompt", "left", "right")}}
            for row in rows
        ]
        text = json.dumps([{"data": row} for row in plain], ensure_ascii=False)
    else:
        raise ValueError(f"style = {style!r}: 'jsonl' or 'label_studio'")
    pathlib.Path(path).write_text(text, encoding="utf-8")


def _shown(store: Store, tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
    attributes = {row["pair_id"]: row for row in store.current_attributes().to_pylist()}
    for task, text in zip(tasks, store.texts([task.pair_id for task in tasks]), strict=True):
        row = attributes.get(task.pair_id)
        left, right = (text[f"response_{side}"] for side in task.shown)
        shown = {name: row[name] for name in FIELDS} if row else {}
        about = {"attributes": shown, "guideline": shown.get("annotation_guideline", "")}
        yield {
            "task": task.id,
            "annotator": task.annotator,
            "prompt": text["prompt"],
            "left": left,
            "right": right,
        } | about


def _plain(messages: Sequence[Mapping[str, Any]]) -> str:
    return (
        messages[0]["content"]
        if len(messages) == 1
        else "\n\n".join(f"{m['role']}: {m['content']}" for m in messages)
    )


def read_answers(path: str | pathlib.Path) -> tuple[list[Answer], list[str]]:
    """Answers of a file, and a sentence for each record that is none: JSONL with task, choice and optionally confidence, seconds, edits;
    or a Label Studio JSON export. Raises ValueError where the file is neither."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    try:
        if text.lstrip().startswith("["):
            records, read = json.loads(text), _from_label_studio
        else:
            records, read = (
                [json.loads(line) for line in text.splitlines() if line.strip()],
                _from_line,
            )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}: neither JSONL nor a Label Studio export (JSON): {error}"
        ) from None
    answers, bad = [], []
    for number, record in enumerate(records, 1):
        try:
            answers += read(record)
        except (KeyError, TypeError, ValueError) as error:
            bad.append(f"{path}, record {number}: {type(error).__name__}: {error}")
    return answers, bad


def _from_line(record: Mapping[str, Any]) -> list[Answer]:
    known = {field.name for field in dataclasses.fields(Answer)}
    return [Answer(**{name: record[name] for name in known & record.keys()})]


def _from_label_studio(record: Mapping[str, Any]) -> list[Answer]:
    """The answers of one exported task: `verdict` overrules the side that was picked; cancelled annotations are none."""
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
        choice = verdict if verdict in VALUES else side
        if choice is None:
            raise ValueError(
                f"task {record['data']['task']}: neither a side nor a verdict was picked"
            )
        answers.append(Answer(record["data"]["task"], choice, seconds=annotation.get("lead_time")))
    return answers


def save_queue(tasks: Sequence[Task], path: str | pathlib.Path) -> None:
    """Keep the queue itself: which pair, annotator, sides and check a task id stands for."""
    pathlib.Path(path).write_text(
        "".join(json.dumps(dataclasses.asdict(task)) + "\n" for task in tasks)
    )


def load_queue(path: str | pathlib.Path) -> list[Task]:
    """What `save_queue` kept."""
    return [Task(**json.loads(line)) for line in pathlib.Path(path).read_text().splitlines()]


# ---------------------------------------------------------------------------------------------------------------- simulation, quality


def simulate(
    tasks: Iterable[Task],
    truth: Callable[[str], str],
    *,
    accuracy: float,
    p_undecided: float = 0.0,
    seed: int = 0,
) -> list[Answer]:
    """Answers of people who are right with probability `accuracy` and cannot decide with `p_undecided`. truth: pair_id -> "a", "b" or
    "tie"; a wrong answer is the other side (of a tie: a side). The same task always gets the same answer."""
    answers = []
    for task in tasks:
        true = truth(task.pair_id)
        right = _unit(seed, "right", task.annotator, task.pair_id) < accuracy
        if _unit(seed, "undecided", task.annotator, task.pair_id) < p_undecided:
            choice = "cannot_decide"
        elif true == "tie":
            choice = "no_preference" if right else "left"
        else:
            choice = "left" if (task.shown[0] == true) == right else "right"
        answers.append(Answer(task.id, choice))
    return answers


def quality(store: Store, tasks: Sequence[Task]) -> dict[str, Any]:
    """How well people do: `checks`, a row for each annotator (checks answered, share that says what most people said about the pair), and
    `overlap`, agreement where two answered the same pair (None without any)."""
    rows = store.query(
        "select * from votes where kind in ('human', 'check') order by iteration, stage, unit"
    ).to_pylist()
    said: dict[str, dict[str, dict[str, str]]] = {
        "human": defaultdict(dict),
        "check": defaultdict(dict),
    }
    for row in rows:
        said[row["kind"]][row["pair_id"]][row["voter"].removeprefix("human:")] = row["value"]
    checks = []
    for name in dict.fromkeys(task.annotator for task in tasks):
        mine = [task.pair_id for task in tasks if task.check and task.annotator == name]
        results = [
            _matches(said["check"][pair_id].get(name), said["human"][pair_id]) for pair_id in mine
        ]
        known = [result for result in results if result is not None]
        checks.append(
            {
                "annotator": name,
                "checks": len(known),
                "right": sum(known) / len(known) if known else None,
            }
        )
    shared = [sorted(by.items())[:2] for _, by in sorted(said["human"].items()) if len(by) > 1]
    both = (
        agreement.compare([pair[0][1] for pair in shared], [pair[1][1] for pair in shared])
        if shared
        else None
    )
    return {"checks": checks, "overlap": both}


def _matches(value: str | None, others: Mapping[str, str]) -> bool | None:
    """Whether an answer is what most people said; None where one of the two is missing."""
    if value is None or not others:
        return None
    counts = Counter(others.values())
    return counts[value] == max(counts.values())
