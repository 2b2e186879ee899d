"""The rows of the ledgers: one class per ledger, from which its columns on disk follow.

A field that is `NotRequired` may be left out and is null then; every other field must have a value.
A `Literal` lists the only legal values. When a row is read back, it also has `iteration`, `stage`
and `unit`, which `Store.append` fills in.

`a` and `b` are the two responses of a pair in their canonical order (`groups.pair_id`): labels,
votes and rewards speak of them, so that a flip is another label and never another text.
"""

import json
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    TypedDict,
    get_args,
    get_origin,
    get_type_hints,
)

import pyarrow as pa

from rewardjax.data.groups import Message

# Text of few different values, such as a name: a shard stores each value once (a dictionary).
Word = Annotated[str, "word"]

# Of a pair: which response is better.
Label = Literal["a", "b"]
# Of a vote. "undecided": a person who cannot decide; the pair is then dropped.
Value = Literal["a", "b", "tie", "undecided"]
# The label that a pair came with, a person, a person's answer to a check (it measures the person
# and decides nothing), a person's answer that does not count because checks found the person wrong
# too often, one sample of a judge, the judges merged, a reward model.
Kind = Literal["original", "human", "check", "suspended", "judge", "panel", "rm"]
# The pool that a pair enters: people made its label, they did not, or people of the team's own
# labeled it with care.
Entry = Literal["unverified", "wild", "gold"]
# The order of the responses on the screen or in the prompt.
Shown = Literal["ab", "ba"]
Action = Literal["keep", "flip", "annotate", "discard"]
# Of a voter about the original label.
Opinion = Literal["for", "against", "even", "undecided", "none"]
# Of a gate; "nothing to judge": nothing of what it is about occurs.
Verdict = Literal["passed", "failed", "off", "nothing to judge"]
# Of a finding: out until reviewed; only noted; a review lets the pair in again, or keeps it out.
FindingAction = Literal["hold", "flag", "restore", "drop"]

VALUES: tuple[str, ...] = get_args(Value)
ENTRIES: tuple[str, ...] = get_args(Entry)
ACTIONS: tuple[str, ...] = get_args(Action)
OPINIONS: tuple[str, ...] = get_args(Opinion)


class PairRow(TypedDict):
    """The text of a pair, once."""

    pair_id: str
    # Message lists as JSON: the texts are never searched by message, and JSON keeps every field.
    prompt: str
    response_a: str
    response_b: str
    # Schemas of the functions that both may call, as JSON. Earlier versions did not keep them.
    tools: NotRequired[str | None]
    # Where it came from: `name` of the import, and the row there.
    source: Word
    entry: Entry
    row: int
    record_id: NotRequired[str | None]
    # The record's other fields, as JSON.
    info: NotRequired[str | None]


class VoteRow(TypedDict):
    """One opinion about a pair."""

    pair_id: str
    # "original:SOURCE", "human:NAME", "judge:MODEL", "panel" or "rm:NAME".
    voter: Word
    kind: Kind
    value: Value
    # Which of several votes by one voter: a judge's sample, or the source's row of a label.
    sample: int
    # P(value is right) as the voter sees it.
    confidence: NotRequired[float | None]
    shown: NotRequired[Shown | None]
    # JSON: whatever explains the vote.
    evidence: NotRequired[str | None]


class ScoreRow(TypedDict):
    """Rewards of a pair by a reward model; refused where `training` says that it saw the pair."""

    pair_id: str
    # The seat that the model has in decisions: "gold" or "best". The column keeps the name that
    # stored workspaces have.
    scorer: Word
    # Fingerprints of the model's weights and of its score contract.
    model: Word
    contract: Word
    reward_a: float
    reward_b: float


class TrainingRow(TypedDict):
    """A pair, with its label, that a model was trained on: cross-fitting is checked by it."""

    pair_id: str
    model: Word
    value: Label


class AttributesRow(TypedDict):
    """The paper's 5-tuple (`judges.attributes.Attributes`), by a judge or, edited, by a person."""

    pair_id: str
    voter: Word
    kind: Literal["judge", "human"]
    # Legal by the taxonomies of `judges.attributes`: who writes a row has checked it.
    task_category: Word
    objectivity: Word
    controversiality: Word
    desired_attributes: str
    annotation_guideline: str
    # JSON.
    evidence: NotRequired[str | None]


class EmbeddingRow(TypedDict):
    """A vector of prompt and attributes."""

    pair_id: str
    # Fingerprint of model and text rule; all vectors of an embedder have one length.
    embedder: Word
    vector: list[float]


class FindingRow(TypedDict):
    """What cleaning found about a pair, or what a reviewer said about that."""

    pair_id: str
    # "near_duplicate", "contaminated", "pii", ...
    finding: Word
    action: FindingAction
    # JSON.
    evidence: NotRequired[str | None]


class PickRow(TypedDict):
    """A pair that was chosen to be labeled."""

    pair_id: str
    labeller: Literal["people", "judges"]
    # In which order.
    place: int
    # JSON: what pulled it.
    evidence: NotRequired[str | None]


class DecisionRow(TypedDict):
    """What became of a pair, looked up in a decision table, and the opinions that the table saw."""

    pair_id: str
    # Of the decisions about a pair the one of the highest (iteration, round) counts.
    round: int
    action: Action
    rule: Word
    original: Opinion
    gold: Opinion
    best: Opinion
    judges: Opinion
    humans: Opinion
    # The label that the pair goes on with.
    value: NotRequired[Label | None]


class GateRow(TypedDict):
    """What a gate measured before decisions were made, and whether it let them through."""

    # The field of the config's section `gates`.
    gate: Word
    # Of `pairs`, those that say what the gate is about; their share, and its Wilson interval.
    hits: int
    pairs: int
    share: NotRequired[float | None]
    low: NotRequired[float | None]
    high: NotRequired[float | None]
    # None: the gate was off.
    threshold: NotRequired[float | None]
    verdict: Verdict


class RejectRow(TypedDict):
    """A row of a source that never became a pair."""

    source: Word
    row: int
    # A key of groups.REASONS, or intake.NO_PAIR.
    reason: Word
    detail: str


ROWS: dict[str, type] = {
    "pairs": PairRow,
    "votes": VoteRow,
    "scores": ScoreRow,
    "training": TrainingRow,
    "attributes": AttributesRow,
    "embeddings": EmbeddingRow,
    "findings": FindingRow,
    "picks": PickRow,
    "decisions": DecisionRow,
    "gates": GateRow,
    "rejects": RejectRow,
}

# Unique within a shard, and the order of its rows.
KEYS: dict[str, tuple[str, ...]] = {
    "pairs": ("pair_id",),
    "votes": ("pair_id", "voter", "sample"),
    "scores": ("pair_id", "scorer"),
    "training": ("pair_id", "model"),
    "attributes": ("pair_id", "voter"),
    "embeddings": ("pair_id", "embedder"),
    "findings": ("pair_id", "finding", "action"),
    "picks": ("pair_id",),
    "decisions": ("pair_id",),
    "gates": ("gate",),
    "rejects": ("source", "row", "reason", "detail"),
}


class PairText(TypedDict):
    """A row of `pairs` as `Store.texts` gives it: JSON decoded."""

    pair_id: str
    prompt: list[Message]
    response_a: list[Message]
    response_b: list[Message]
    tools: list[dict[str, Any]] | None
    source: str
    entry: str
    row: int
    record_id: str | None
    info: dict[str, Any]


# ------------------------------------------------------------------ columns


class Column(NamedTuple):
    """A column of a ledger."""

    name: str
    type: pa.DataType
    required: bool
    # The only values that it may have; empty: any.
    legal: tuple[str, ...]
    is_word: bool


# Rewards, confidences and vectors are float32, as models compute them.
_ARROW = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float32(),
    list[float]: pa.list_(pa.float32()),
}


def _column(name: str, hint: Any) -> Column:
    """The column of a field with this type hint."""
    required = get_origin(hint) is not NotRequired
    if not required:
        (optional,) = get_args(hint)
        hint, _ = get_args(optional)  # X | None
    if get_origin(hint) is Literal:
        return Column(name, pa.string(), required, get_args(hint), is_word=True)
    if get_origin(hint) is Annotated:
        return Column(name, pa.string(), required, (), is_word=True)
    return Column(name, _ARROW[hint], required, (), is_word=False)


def _columns(row: type) -> list[Column]:
    hints = get_type_hints(row, include_extras=True)
    return [_column(name, hint) for name, hint in hints.items()]


COLUMNS: dict[str, list[Column]] = {ledger: _columns(row) for ledger, row in ROWS.items()}

# What `Store.append` adds to every row.
STAMP: list[Column] = [
    Column("iteration", pa.int32(), required=True, legal=(), is_word=False),
    Column("stage", pa.string(), required=True, legal=(), is_word=True),
    Column("unit", pa.string(), required=True, legal=(), is_word=True),
]


def _schema(columns: list[Column]) -> pa.Schema:
    fields = [pa.field(name, type, nullable=not required) for name, type, required, *_ in columns]
    return pa.schema(fields)


# Of the rows as callers give them, and as readers see them.
SCHEMAS: dict[str, pa.Schema] = {ledger: _schema(columns) for ledger, columns in COLUMNS.items()}
FULL_SCHEMAS: dict[str, pa.Schema] = {
    ledger: _schema(columns + STAMP) for ledger, columns in COLUMNS.items()
}


# ------------------------------------------------------------------ the two sides


def canonical(
    response_1: list[Message], response_2: list[Message]
) -> tuple[list[Message], list[Message], bool]:
    """Return (a, b, whether a is `response_1`): the order in which `groups.pair_id` hashes them."""
    if json.dumps(response_1, sort_keys=True) <= json.dumps(response_2, sort_keys=True):
        return response_1, response_2, True
    return response_2, response_1, False


def other(value: Value) -> Value:
    """The flipped label. Ties and undecided votes have no other side and stay what they are."""
    if value == "a":
        return "b"
    if value == "b":
        return "a"
    return value
