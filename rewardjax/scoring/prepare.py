"""From a group of responses to tokens that can be scored, or a reason for each that cannot.

The score command, the curation ledger, the benchmarks and `scoring.model.rewards` all come through
here, so that none of them accepts a response which another would refuse.
"""

from typing import NamedTuple

import numpy as np

from rewardjax.data import groups
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord, Group
from rewardjax.data.pack import TokenGroup
from rewardjax.data.tokenize import shorten, split_prefix


class Prepared(NamedTuple):
    """A group of K responses, ready to be scored as far as it can be.

    tokens: the conversations of `fits`, in that order; None where no response can be scored.
    fits: indices of the responses that can be scored.
    lengths: [K] tokens of each conversation before anything is cut, -1 where it cannot be encoded.
    refused: why each of the other responses cannot be scored, by its index.
    control_example: a control string among the texts, which was read as text; "" where none is.
    """

    tokens: TokenGroup | None
    fits: list[int]
    lengths: np.ndarray
    refused: dict[int, BadRecord]
    control_example: str = ""


@groups.costing_one_record("the record cannot be tokenized")
def prepare(
    group: Group,
    tokenizer: ChatTokenizer,
    max_length: int,
    over_long: str,
    *,
    as_published: bool = False,
) -> Prepared:
    """Check and tokenize one group; a response that cannot be scored does not spoil its siblings.

    max_length, over_long: as for `data.prepare.prepare`, usually those of the score contract.
    as_published: skip `groups.check`, so that an empty response of a benchmark counts like any
    other, as in the reference implementations; text that cannot be encoded is refused all the same.

    Raises BadRecord for what spoils the whole group: its prompt, or all of its responses.
    """
    refused: dict[int, BadRecord] = {}
    if not as_published:
        groups.check_prompt(group)
        refused = groups.response_faults(group)
        if len(refused) == len(group.responses):
            raise refused[0]
    conversations: list[np.ndarray] = []
    fits: list[int] = []
    lengths = np.full(len(group.responses), -1, np.int32)
    # The tokenizer counts over all that it ever encoded.
    before = tokenizer.neutralized
    for k, response in enumerate(group.responses):
        if k in refused:
            continue
        try:
            # Without `groups.check` a NUL or a lone surrogate would reach the tokenizer.
            if as_published:
                groups.check_text(group.prompt, "prompt")
                groups.check_text(response, f"responses[{k}]")
            token_ids = np.asarray(tokenizer.encode(group.prompt + response, group.tools), np.int32)
            # Before `shorten`, which refuses: a response that is too long still has a length.
            lengths[k] = len(token_ids)
            conversations.append(shorten(token_ids, group, k, tokenizer, max_length, over_long))
            fits.append(k)
        except BadRecord as error:
            refused[k] = error
    control_example = ""
    # Looked for only where there is one, since most groups have none.
    if tokenizer.neutralized > before:
        control_example = tokenizer.first_control_string(group) or ""
    tokens = None
    if fits:
        tokens = split_prefix(conversations)
    return Prepared(tokens, fits, lengths, refused, control_example)


def prepare_whole(
    group: Group, tokenizer: ChatTokenizer, max_length: int, over_long: str
) -> TokenGroup:
    """All responses of a group, for callers that can use them only together.

    Raises BadRecord for the first response that cannot be scored, and as `prepare` does.
    """
    prepared = prepare(group, tokenizer, max_length, over_long)
    for error in prepared.refused.values():
        raise error
    assert prepared.tokens is not None  # a checked group has at least one response
    return prepared.tokens
