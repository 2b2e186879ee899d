"""One record to token ids: its group's conversations, cut and checked, and the pairs they make."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax import fingerprint
from rewardjax.command import errors
from rewardjax.data import formats, groups, token_cache
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord, Group, Pair
from rewardjax.data.pack import TokenGroup, common_prefix

# Part of the fingerprint of tokenized data: raise it when a change here, in formats or in chat
# gives the same input other records.
FORMAT = 6


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides on a record besides text and tokenizer; the fields are those of `prepare`.

    Raises ValueError that names every one out of range.
    """

    max_length: int
    over_long: str = "drop"
    pairs_per_group: int | None = None
    part: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    max_pair_length: int | None = None

    def __post_init__(self):
        complaints = errors.Complaints()
        if self.over_long not in ("drop", "left"):
            complaints.add([f"over_long = {self.over_long!r}: 'drop' or 'left'"])
        if len(self.part) != 2 or not 0 <= self.part[0] < self.part[1] <= 1:
            complaints.add([f"part = {self.part}: two fractions with 0 <= from < to <= 1"])
        for name in ("max_length", "max_pair_length", "pairs_per_group"):
            value = getattr(self, name)
            if value is not None and value < 1:
                complaints.add([f"{name} = {value}: must be at least 1"])
        complaints.refuse()

    def to_record(self) -> dict[str, Any]:
        """The settings as JSON, for the fingerprint."""
        record = dataclasses.asdict(self)
        # By the name that `part` had when caches and runs were first fingerprinted: under another
        # one all of them would be tokenized again, and no stored run could be resumed.
        record["split"] = list(record.pop("part"))
        # The field is younger than the caches: absent, it leaves their fingerprints as they were.
        if self.max_pair_length is None:
            del record["max_pair_length"]
        return record


class Outcome(NamedTuple):
    """What became of one record; travels between processes."""

    file: int = 0  # the place of its file in the source
    outside_part: bool = False
    encoded: bytes = b""  # of the responses that kept pairs use; nothing where no pair is kept
    # Kept pairs, renumbered to the encoded responses, with lengths as in the index.
    pairs: Sequence[tuple[Pair, tuple[int, int, int]]] = ()
    sampled_out: int = 0
    bad_pairs: Sequence[BadRecord] = ()
    bad_record: BadRecord | None = None
    # Control strings found in its text, each time a conversation was tokenized, and the first.
    neutralized: int = 0
    control_example: str = ""
    unprinted: Sequence[str] = ()  # fields that it has and the chat template does not print
    was_shortened: bool = False  # the prompt of a conversation that is kept
    late_columns: Sequence[str] = ()  # not used, and not among the file's first records


def tokenize_record(
    numbered: tuple[int, int, Any],
    tokenizer: ChatTokenizer,
    readings: Sequence[formats.Reading],
    settings: Settings,
) -> Outcome:
    """What becomes of record number n of a source, given as (n, place of its file, record).

    readings: how each file of the source is read.
    """
    number, file, record = numbered
    try:
        group, bad_pairs = groups.check(readings[file].to_group(record, number))
        late_columns = readings[file].late_columns(record, number)
        with groups.costing_one_record("the record cannot be tokenized"):
            if not in_part(group, settings.part):
                return Outcome(file, outside_part=True)
            outcome = _tokenize(group, number, tokenizer, settings)
    except BadRecord as error:
        return Outcome(file, bad_record=error)
    bad_pairs = [*bad_pairs, *outcome.bad_pairs]
    return outcome._replace(file=file, bad_pairs=bad_pairs, late_columns=late_columns)


def _tokenize(group: Group, number: int, tokenizer: ChatTokenizer, settings: Settings) -> Outcome:
    """What becomes of the group of record `number`, but for what `groups.check` took of it."""
    # Only responses that some pair uses: the others would be tokenized for nothing.
    before = tokenizer.neutralized
    tokens: dict[int, np.ndarray] = {}
    unusable: dict[int, BadRecord] = {}
    shortened: set[int] = set()
    for k in _responses_of(group.pairs):
        try:
            whole = _encode(group, k, tokenizer)
            limits = settings.max_length, settings.over_long
            tokens[k] = shorten(whole, group, k, tokenizer, *limits)
            if len(tokens[k]) < len(whole):
                shortened.add(k)
        except BadRecord as error:
            unusable[k] = error
    neutralized = tokenizer.neutralized - before
    control_example = ""
    if neutralized:
        control_string = tokenizer.first_control_string(group)
        control_example = f"record {number}, {control_string!r}"

    kept = []
    bad_pairs = []
    for pair in group.pairs:
        reason = _why_not(pair, tokens, unusable, settings)
        if reason is None:
            kept.append(pair)
        else:
            bad_pairs.append(reason)
    sample = _sample(kept, settings.pairs_per_group, settings.seed, group.id)
    used = _responses_of(sample)
    encoded = b""
    if used:
        encoded = token_cache.encode(split_prefix([tokens[k] for k in used]))
    return Outcome(
        encoded=encoded,
        pairs=[_indexed(pair, tokens, used) for pair in sample],
        sampled_out=len(kept) - len(sample),
        bad_pairs=bad_pairs,
        neutralized=neutralized,
        control_example=control_example,
        unprinted=tokenizer.unprinted(group),
        was_shortened=not shortened.isdisjoint(used),
    )


def _responses_of(pairs: Sequence[Pair]) -> list[int]:
    """The responses that pairs use, in their order in the group."""
    responses = set()
    for pair in pairs:
        responses |= {pair.chosen, pair.rejected}
    return sorted(responses)


def _why_not(
    pair: Pair, tokens: dict[int, np.ndarray], unusable: dict[int, BadRecord], settings: Settings
) -> BadRecord | None:
    """Why a pair cannot be trained on, or None. `tokens`, `unusable`: of the group's responses."""
    # One reason per pair, so that the manifest's counts add up.
    for k in (pair.chosen, pair.rejected):
        if k in unusable:
            return unusable[k]
    chosen, rejected = tokens[pair.chosen], tokens[pair.rejected]
    names = f"responses[{pair.chosen}] and responses[{pair.rejected}]"
    if np.array_equal(chosen, rejected):
        was_cut = settings.over_long == "left" and len(chosen) == settings.max_length
        if was_cut:
            return BadRecord("equal_after_truncation", f"{names} are the same tokens")
        return BadRecord("equal", f"{names} are the same tokens")
    # In a row the two lie around what they share, which is there once.
    length = len(chosen) + len(rejected) - common_prefix(chosen, rejected)
    if settings.max_pair_length is not None and length > settings.max_pair_length:
        detail = f"{names} take {length} tokens, max_pair_length = {settings.max_pair_length}"
        return BadRecord("over_long", detail)
    return None


def _indexed(
    pair: Pair, tokens: dict[int, np.ndarray], used: list[int]
) -> tuple[Pair, tuple[int, int, int]]:
    """The pair over places in `used`, and its lengths: what the two share, and the rest of each."""
    chosen, rejected = tokens[pair.chosen], tokens[pair.rejected]
    shared = common_prefix(chosen, rejected)
    renumbered = dataclasses.replace(
        pair, chosen=used.index(pair.chosen), rejected=used.index(pair.rejected)
    )
    return renumbered, (shared, len(chosen) - shared, len(rejected) - shared)


def _sample(pairs: list[Pair], count: int | None, seed: int, group_id: str) -> list[Pair]:
    """`count` of the pairs, in their order: those with the smallest hashes."""
    if count is None or len(pairs) <= count:
        return pairs
    # A hash of what a pair is, and no generator: the choice is the same whichever process makes
    # it, and a larger count keeps what a smaller one kept.
    order = sorted(
        range(len(pairs)),
        key=lambda i: fingerprint.of_json([seed, group_id, pairs[i].chosen, pairs[i].rejected]),
    )
    return [pairs[i] for i in sorted(order[:count])]


# ------------------------------------------------------------------ conversations


def tokenize_group(
    group: Group, tokenizer: ChatTokenizer, max_length: int, over_long: str
) -> TokenGroup:
    """Token ids of all K conversations, their longest common prefix split off.

    Raises BadRecord("over_long") where one does not fit.
    """
    conversations = [
        shorten(_encode(group, k, tokenizer), group, k, tokenizer, max_length, over_long)
        for k in range(len(group.responses))
    ]
    return split_prefix(conversations)


def split_prefix(conversations: list[np.ndarray]) -> TokenGroup:
    """Conversations as their longest common prefix and what follows it in each."""
    first = conversations[0]
    shared = min((common_prefix(first, other) for other in conversations[1:]), default=len(first))
    return TokenGroup(first[:shared], [tokens[shared:] for tokens in conversations])


def in_part(group: Group, part: Sequence[float]) -> bool:
    """Whether the hash of the group's prompt, as a fraction, lies in [part[0], part[1])."""
    # By prompt, so that two pairs about one prompt never lie in two parts.
    # 13 hexadecimal digits are 52 bits: exact as a float, and below 1.
    place = int(fingerprint.of_json(group.prompt)[:13], 16) / 16**13
    return part[0] <= place < part[1]


def _encode(group: Group, k: int, tokenizer: ChatTokenizer) -> np.ndarray:
    """Token ids of conversation k, all of them."""
    return np.asarray(tokenizer.encode(group.prompt + group.responses[k], group.tools), np.int32)


def shorten(
    tokens: np.ndarray,
    group: Group,
    k: int,
    tokenizer: ChatTokenizer,
    max_length: int,
    over_long: str,
) -> np.ndarray:
    """The token ids of conversation k, cut to `max_length` by the rule `over_long`.

    "left" takes the oldest tokens of the prompt and never any of the response. "cut_left" and
    "cut_right" take tokens wherever they are, as a tokenizer of that `truncation_side` does: rules
    for reproducing what others measured, which no score contract has.

    What is cut depends on this conversation alone, so that its score does not depend on its
    siblings. Raises BadRecord("over_long") where the rule does not make it fit.
    """
    excess = len(tokens) - max_length
    if excess <= 0:
        return tokens
    if over_long == "drop":
        raise BadRecord(
            "over_long",
            f"responses[{k}]: the conversation is {len(tokens)} tokens long, "
            f"max_length = {max_length}",
        )
    if over_long == "cut_right":
        return tokens[:max_length]
    # A model has never seen a conversation without its BOS: the oldest tokens go from behind it.
    keep = int(tokens[0] == tokenizer.bos_id)
    if over_long == "cut_left":
        return np.concatenate([tokens[:keep], tokens[keep + excess :]])
    # The prompt rendered alone ends where the template begins to print the response.
    prompt = common_prefix(
        tokens, np.asarray(tokenizer.encode(group.prompt, group.tools), np.int32)
    )
    if keep + excess > prompt:
        raise BadRecord(
            "over_long",
            f"responses[{k}]: {len(tokens) - prompt} tokens without the prompt, "
            f"max_length = {max_length}",
        )
    return np.concatenate([tokens[:keep], tokens[keep + excess :]])
