"""Plan-RewardBench (arXiv 2604.08178): pairs of trajectories of agents that call tools.

Rules are those of the repository wyy-1112/Plan-RewardBench (evaluate_benchmark_final in its folder
eval). A pair earns 1 where the preferred trajectory scores higher, 1/2 where the two scores are
within 1e-4 of each other, else 0; the headline is the plain mean of seven splits. A scorer reads
tools, task and trajectory as that script writes them for reward models, as text; with
`tools="template"` they are given to the chat template as schemas, calls and results instead.
"""

import ast
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.data.groups import BadRecord, Group, Message
from rewardjax.evaluators import finder, rules
from rewardjax.evaluators.benchmarks import Truncation
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "Plan-RewardBench"
HUB = "hf://wyy1112/Plan-RewardBench"
SOURCE = f"{HUB}, or the folder benchmark of github.com/wyy-1112/Plan-RewardBench (CC-BY-4.0)"
CHANCE = 0.5
# `max_length` of the repository's config; its tokenizer's side is left as it is.
TRUNCATION = Truncation("right", 16_384)
# Pairs by split, as published.
EXPECTED = {
    "planning_multi_easy": 109,
    "planning_multi_hard": 73,
    "planning_single_easy": 144,
    "planning_single_hard": 158,
    "robust_recovery": 361,
    "safety_refusal": 51,
    "tool_irrelevance": 275,
}
# What two splits are called in the records.
BUCKETS = {"refusal": "safety_refusal", "irrelevance_unavailable": "tool_irrelevance"}
# Scores that are no further apart are equal; the repository's `tie_eps`.
TIE = 1e-4
# Ways to write tools, calls and their results.
WRITTEN = ("text", "template")


# ------------------------------------------------------------------ the rule


def pair_credit(chosen: Any, rejected: Any) -> tuple[np.ndarray, np.ndarray]:
    """Credit and ties, both [N], of N pairs of rewards; a tie earns 1/2, NaN stays NaN."""
    margin = np.asarray(chosen, np.float64) - np.asarray(rejected, np.float64)
    ties = np.abs(margin) <= TIE
    credit = np.where(ties, 0.5, margin > 0)
    return np.where(np.isnan(margin), np.nan, credit), ties


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The preferred trajectory, which comes first, over the other."""
    return rules.first_better(1, responses)


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The seven splits as parts; `other`: the accuracy over all pairs."""
    by_subset = rules.by_subset(items, rewards)
    parts: dict[str, Part] = {}
    for split, expected in EXPECTED.items():
        pairs = [pair for _, pair in by_subset.get(split, [])]
        table = np.array(pairs).reshape(-1, 2)  # [N, 2]: chosen, reject
        credit, ties = pair_credit(table[:, 0], table[:, 1])
        parts[split] = rules.mean_part(credit, ties, expected)
    other: dict[str, Any] = {}
    micro = rules.pool(parts.values()).value
    if micro is not None:
        other["micro accuracy"] = micro
    return Result(
        "plan_rewardbench",
        rules.average(part.value for part in parts.values()),
        "unweighted mean of 7 splits; equal scores (within 1e-4) earn one half",
        CHANCE,
        parts,
        other=other,
    )


# ------------------------------------------------------------------ the files


LAYOUT = finder.Layout([("query", "tools", "chosen", "reject"), ("query", "tools", "rejected")])


def load(path: str | pathlib.Path, tools: str = "text") -> Examples:
    """The repository, its folder benchmark, the hub's repository, or the file of one split.

    tools: "text" as the repository's script writes them, or "template" for the chat template's.
    Raises ValueError for any other.
    """
    if tools not in WRITTEN:
        raise ValueError(f"plan_rewardbench: tools = {tools!r}; there are {', '.join(WRITTEN)}")

    def read(record: dict[str, Any]) -> tuple[Item, Group]:
        return _read(record, tools)

    return finder.load("plan_rewardbench", [path], LAYOUT, read, _split_of)


def _split_of(unit: finder.Unit) -> dict[str, Any]:
    """The split that a file is named after, in the repository and on the hub."""
    for split in EXPECTED:
        if unit.place.name.startswith(split):
            return {"file": split}
    return {"file": None}


def _read(record: dict[str, Any], written: str) -> tuple[Item, Group]:
    bucket = record.get("_lcp_bucket")
    # Of all splits in one table the records say it, some by a shorter name.
    split = record["file"] or BUCKETS.get(str(bucket), bucket)
    if split not in EXPECTED:
        raise BadRecord("bad_schema", f"_lcp_bucket = {bucket!r}: one of {', '.join(EXPECTED)}")
    task, schemas = record.get("query"), record.get("tools")
    if not isinstance(task, str) or not isinstance(schemas, (list, tuple)):
        raise BadRecord("bad_schema", f"query = {task!r:.60}, tools = {schemas!r:.60}")
    losing = record.get("reject", record.get("rejected"))
    trajectories = [
        _trajectory(record.get("chosen"), "chosen"),
        _trajectory(losing, "reject"),
    ]
    identity = f"{split}/{record.get('uuid')}"
    item = Item(identity, split, {})
    if written == "text":
        responses = [_as_texts(turns) for turns in trajectories]
        return item, Group(identity, [_header(task, schemas)], responses, [])
    responses = [_with_calls(turns) for turns in trajectories]
    # Both begin with the task, which is what the trajectories answer.
    if responses[0][0] != responses[1][0] or len(responses[0]) < 2 or len(responses[1]) < 2:
        raise BadRecord("bad_schema", "the trajectories do not begin with the same message")
    prompt = responses[0][:1]
    return item, Group(identity, prompt, [turns[1:] for turns in responses], [], tools=[*schemas])


def _trajectory(value: Any, name: str) -> list[dict[str, Any]]:
    messages = value
    if isinstance(value, dict):
        messages = value.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRecord("bad_schema", f"{name}.messages = {messages!r:.60}, not a list of messages")
    if not all(isinstance(message, dict) for message in messages):
        raise BadRecord("bad_schema", f"{name}.messages = {messages!r:.60}, not all are messages")
    return [{**message, "content": _content(message)} for message in messages]


def _content(message: dict[str, Any]) -> str:
    content = message.get("content", "")
    if isinstance(content, str):
        return content
    return json.dumps(content, ensure_ascii=False)


# ------------------------------------------------------------------ two ways to write a trajectory


def _header(task: str, schemas: Sequence[Any]) -> Message:
    """The first turn as the repository's script writes it."""
    tools = json.dumps(schemas, ensure_ascii=False, indent=2)
    content = (
        f"<tool_environment>\n{tools}\n</tool_environment>\n<user_query>\n{task}\n</user_query>"
    )
    return {"role": "user", "content": content}


def _as_texts(messages: Sequence[dict[str, Any]]) -> list[Message]:
    """A trajectory as the repository's script writes it."""
    return [_as_text(message) for message in messages]


def _as_text(message: dict[str, Any]) -> Message:
    """A message of a trajectory; calls and results become lines of the assistant."""
    role, content = message.get("role", ""), message["content"]
    if role in ("user", "assistant"):
        return {"role": role, "content": content}
    tag = str(role).upper()
    if message.get("name") and role in ("tool_call", "tool_response", "tool"):
        tag = f"{tag} name={message['name']}"
    return {"role": "assistant", "content": f"[{tag}] {content}"}


def _with_calls(messages: Sequence[dict[str, Any]]) -> list[Message]:
    """A trajectory whose calls are those of an assistant's turn, and whose results are of a tool.

    Calls on end are one turn's, and what the assistant says just before them is of that turn too.
    """
    turns: list[Message] = []
    for message in messages:
        role, content = message.get("role"), message["content"]
        if role == "tool_call":
            if not turns or turns[-1]["role"] != "assistant":
                turns.append({"role": "assistant", "content": ""})
            turns[-1].setdefault("tool_calls", []).append(_call(content))
        elif role in ("tool_response", "tool"):
            turn: Message = {"role": "tool", "content": content}
            if message.get("name"):
                turn["name"] = message["name"]
            turns.append(turn)
        elif role in ("system", "user", "assistant"):
            turns.append({"role": role, "content": content})
        else:
            raise BadRecord("bad_role", f"role = {role!r} of a message")
    return turns


def _call(content: str) -> dict[str, Any]:
    """A call as chat templates read it, of the Python literal that the files hold."""
    try:
        call = ast.literal_eval(content)
        name, arguments = call["name"], call["arguments"]
    except (ValueError, SyntaxError, KeyError, TypeError):
        raise BadRecord(
            "bad_schema", f"tool_call = {content!r:.60}, not a name with arguments"
        ) from None
    # Arguments that are not JSON are what the agent wrote, and a template prints them as they are.
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            pass
    return {"type": "function", "function": {"name": name, "arguments": arguments}}
