"""What a scripted judge answers: known accuracy, known biases, known faults.

For tests, the quickstart and experiments. It is not a language model: it knows the truth from a
table (`Truth`) that the curation is not shown, and is wrong as often as its `Behavior` says.
An answer is a function of the seed and the request's body, and of nothing else, so that a run can
be repeated.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rewardjax import fingerprint
from rewardjax.curation.judges import prompts
from rewardjax.curation.judges.attributes import TAXONOMIES, Attributes
from rewardjax.curation.ledger.rows import Value
from rewardjax.data import formats, world
from rewardjax.data.groups import BadRecord
from rewardjax.data.world.draw import Draw

FAULTS = ("truncated", "prose", "wrong choice", "empty", "two answers")


@dataclasses.dataclass(frozen=True)
class Behavior:
    """How a scripted judge judges, and how its server behaves.

    All fields but the last four are probabilities.

    accuracy: of naming the better response, when nothing below sways it. systematic: of a mistake
    being the pair's (the same in every sample and order) and not the sample's. position_bias: of
    naming the first without looking; length_bias: of naming the longer one. unknown: of a pair
    being one that the judge knows nothing about, in every sample. no_preference: of declining in
    one sample. examples_help: of an error undone when all gold examples are of the asked pair's
    task (less, when fewer are): how retrieval can matter to a scripted judge. attribute_accuracy:
    of each closed attribute being right. malformed: of an unreadable answer. rate_limited, broken:
    of a try being answered 429, 500. honours: whether the server follows `response_format` of these
    types, joined by "+"; others are ignored, as servers do, or refused with 400 (`strict`).
    latency, retry_after: seconds.
    """

    accuracy: float = 0.8
    systematic: float = 0.5
    position_bias: float = 0.0
    length_bias: float = 0.0
    unknown: float = 0.0
    no_preference: float = 0.0
    examples_help: float = 0.0
    attribute_accuracy: float = 0.95
    malformed: float = 0.0
    rate_limited: float = 0.0
    broken: float = 0.0
    honours: str = "json_schema"
    strict: bool = False
    latency: float = 0.0
    retry_after: float | None = 0.05

    def follows(self, response_format: Mapping[str, Any] | None) -> bool:
        """Whether the server honors this field of a request."""
        return bool(response_format) and response_format["type"] in self.honours.split("+")


# ------------------------------------------------------------------ the truth


class Facts(NamedTuple):
    """Whether each response of a prompt is right, by its text, and the pair's attributes if any."""

    correct: dict[str, bool]
    attributes: Attributes | None


@dataclasses.dataclass(frozen=True)
class Truth:
    """What all judges of a server know.

    facts: by conversation; it and the responses as prompts.conversation writes them, since that is
    all that a request shows. labels: by pair_id, from files (truth_labels.py); of a pair that both
    speak of, these count.
    """

    facts: Mapping[str, Facts] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, Value] = dataclasses.field(default_factory=dict)


class _Records(list[dict[str, Any]]):
    """Records that nobody has put into a file."""

    name = "records"


def truth_of(*sources: Iterable[dict[str, Any]], columns: Any = None, labels: Any = None) -> Truth:
    """The facts of all sources together. columns, labels: what theirs mean, as for training.

    The world's pairs are judged by its oracle, any other group by its `correct`; what has neither
    is left out, and a judge says "No preference" about it.
    """
    table: dict[str, Facts] = {}
    for source in sources:
        if not hasattr(source, "name"):
            source = _Records(source)
        for _, record, group in formats.groups_of(source, columns, labels):
            if isinstance(group, BadRecord):
                continue
            texts = [prompts.conversation(response) for response in group.responses]
            correct = group.correct
            # Only pairs of the world carry this field. Their labels may be noise, so the oracle is
            # asked, never the label.
            if "label_source" in record:
                oracle = [{"role": "assistant", "content": world.oracle(record["id"])}]
                correct = [text == prompts.conversation(oracle) for text in texts]
            if correct is None:
                continue
            # Two sources may hold the same prompt with different responses: the table then knows
            # all of them.
            new = Facts({}, _attributes(record))
            facts = table.setdefault(prompts.conversation(group.prompt), new)
            facts.correct.update(zip(texts, correct, strict=True))
    return Truth(table)


def knows(shown: prompts.Shown, truth: Truth) -> bool:
    """Whether the table holds both candidates of a pair: else the judge has no preference."""
    if shown.pair_id in truth.labels:
        return True
    facts = truth.facts.get(shown.conversation)
    return facts is not None and all(text in facts.correct for text in shown.candidates)


def _better(shown: prompts.Shown, truth: Truth) -> int | None:
    """Which candidate is better, 0 or 1; None where neither is, or one is unknown."""
    if not knows(shown, truth):
        return None
    label = truth.labels.get(shown.pair_id)
    if label == "tie":
        return None
    if label is not None:
        return shown.order.index(label)
    first, second = (truth.facts[shown.conversation].correct[text] for text in shown.candidates)
    if first == second:
        return None
    return int(second)


def _attributes(record: Mapping[str, Any]) -> Attributes | None:
    if "category" not in record:
        return None
    return Attributes(
        task_category=record["category"],
        objectivity=record["objectivity"],
        controversiality=record["controversiality"],
        desired_attributes="correctness, following the request, brevity",
        annotation_guideline=(
            f"Work the {record['task']} task out yourself and compare the result with both "
            "replies; ignore their manner."
        ),
    )


_UNKNOWN = Attributes(
    task_category="Other",
    objectivity="Objective",
    controversiality="Low",
    desired_attributes="correctness",
    annotation_guideline="The pair is not one this judge knows.",
)


# ------------------------------------------------------------------ the answer


def judge(behavior: Behavior, shown: prompts.Shown, truth: Truth, pair: Draw, sample: Draw) -> str:
    """One of prompts.PREFERRED.

    pair: a random stream of the judge and the pair. sample: one of the request.
    """
    first, second, neither = prompts.PREFERRED
    better = _better(shown, truth)
    # All draws are made in this order whatever comes of them: a bias that is switched on must not
    # change the other draws.
    takes_first = sample.chance(behavior.position_bias)
    takes_longer = sample.chance(behavior.length_bias)
    declines = sample.chance(behavior.no_preference)
    mistaken, is_unknown = pair.unit(), pair.chance(behavior.unknown)
    if not sample.chance(behavior.systematic):
        mistaken = sample.unit()
    if is_unknown:
        better = None
    lengths = [len(text) for text in shown.candidates]
    if takes_first:
        return first
    if takes_longer and lengths[0] != lengths[1]:
        return prompts.PREFERRED[lengths[1] > lengths[0]]
    if declines or better is None:
        return neither
    error = (1 - behavior.accuracy) * (1 - behavior.examples_help * _familiar(shown, truth))
    return (first, second)[better ^ (mistaken < error)]


def _familiar(shown: prompts.Shown, truth: Truth) -> float:
    """The share of gold examples that are of the asked pair's task category."""
    category = _category(shown.conversation, truth)
    if category is None or not shown.examples:
        return 0.0
    same = [_category(example, truth) == category for example in shown.examples]
    return sum(same) / len(same)


def _category(conversation: str, truth: Truth) -> str | None:
    facts = truth.facts.get(conversation)
    if facts is None or facts.attributes is None:
        return None
    return facts.attributes.task_category


def tag(behavior: Behavior, shown: prompts.Shown, truth: Truth, sample: Draw) -> dict[str, str]:
    """The attributes of a pair as the judge describes it; "Other" for an unknown pair.

    Each field with a taxonomy has another value with probability 1 - attribute_accuracy.
    """
    facts = truth.facts.get(shown.conversation)
    attributes = _UNKNOWN
    if facts is not None and facts.attributes is not None:
        attributes = facts.attributes
    values = attributes.model_dump()
    for field, legal in TAXONOMIES.items():
        if not sample.chance(behavior.attribute_accuracy):
            values[field] = sample.pick([value for value in legal if value != values[field]])
    return values


def answer(behavior: Behavior, body: Mapping[str, Any], truth: Truth, seed: int) -> str:
    """The text of the assistant's message for a request's body."""
    request = Draw("answer", seed, fingerprint.of_json(body))
    honored = behavior.follows(body.get("response_format"))
    shown = prompts.read_back(body["messages"])
    # Not a request of ours, such as the client's probe: a server that honors schemas fills in the
    # schema, others chat.
    if shown is None and honored:
        return json.dumps(_instance(_schema(body["response_format"])))
    if shown is None:
        return "Hello there, and welcome!"
    if shown.task == "tag":
        fields = tag(behavior, shown, truth, request)
    else:
        # Of the pair and not of the order shown, so that a systematic mistake stays when the
        # candidates change places.
        about = fingerprint.of_json([shown.conversation, sorted(shown.candidates)])
        preferred = judge(behavior, shown, truth, Draw("pair", seed, body["model"], about), request)
        rationale = f"Both replies were checked against the request. My choice: {preferred}."
        fields = {"rationale": rationale, "preferred": preferred}
    if request.chance(behavior.malformed):
        return _spoil(fields, request.pick(FAULTS))
    if honored:
        return json.dumps(fields)
    return f"Here is my answer.\n```json\n{json.dumps(fields, indent=1)}\n```"


def _spoil(fields: dict[str, str], fault: str) -> str:
    """A text that no reader may take for an answer."""
    text, last = json.dumps(fields), list(fields)[-1]
    if fault == "truncated":
        return text[: len(text) // 2]
    if fault == "two answers":
        other = "Candidate 1"
        if fields[last] == other:
            other = "Candidate 2"
        return text + "\n" + json.dumps(fields | {last: other})
    if fault == "wrong choice":
        return json.dumps({**fields, last: 1})
    if fault == "empty":
        return ""
    return "I would rather talk about it than fill in a form."


def _schema(response_format: Mapping[str, Any]) -> dict[str, Any]:
    # The standard nests the schema; llama.cpp's json_object takes it beside the type.
    if response_format["type"] == "json_schema":
        return response_format["json_schema"]["schema"]
    return response_format.get("schema", {})


def _instance(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Some object of a schema of strings: what constrained decoding would give."""
    return {
        name: (field.get("enum") or [field.get("const", "text")])[0]
        for name, field in schema.get("properties", {}).items()
    }
