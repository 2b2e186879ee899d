"""The pairs that speed is measured on: two distributions of lengths with random tokens, and real
text, all as tokenized folders.

"short": prompts of about 220 tokens and responses of about 370, as in UltraFeedback; "long":
multi-turn prompts of about 950. Lognormal, with spreads chosen so that padding costs what it costs
on such data: batches of 8 (64) pairs of up to 16,384 tokens, padded to the longest response, hold
2.9 (4.6) slots for each token that is needed when short, 3.6 (6.5) when long.
"""

import pathlib

import numpy as np

from rewardjax.aot.assumed_lengths import DISTRIBUTIONS
from rewardjax.data import token_cache
from rewardjax.data.cache import shards
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Pair
from rewardjax.data.pack import TokenGroup, take_pair
from rewardjax.data.prepare import prepare
from rewardjax.data.sources import open_source
from rewardjax.data.token_cache import TokenizedPairs

PAD = 0
REAL = {"hh": "hh_harmless/test.jsonl.gz", "gsm": "zeroeval/gsm_responses.jsonl.gz"}


def draw(name: str, groups: int, responses: int, max_length: int, seed: int) -> np.ndarray:
    """[groups, 1 + responses] int: tokens of each prompt and of its responses. Groups with a
    conversation over `max_length` are drawn anew, as TRL and our own "drop" leave them out.
    """
    prompt, response, prompt_spread, response_spread = DISTRIBUTIONS[name]
    means = np.array([prompt] + [response] * responses)
    spreads = np.array([prompt_spread] + [response_spread] * responses)
    generator = np.random.default_rng(seed)
    found = np.zeros((0, 1 + responses), np.int64)
    while len(found) < groups:
        normal = generator.standard_normal((groups, 1 + responses))
        lengths = (
            np.rint(means * np.exp(spreads * normal - spreads**2 / 2)).astype(np.int64).clip(1)
        )
        found = np.concatenate(
            [found, lengths[lengths[:, 0] + lengths[:, 1:].max(1) <= max_length]]
        )
    return found[:groups]


def random_groups(lengths: np.ndarray, vocab_size: int, seed: int) -> list[TokenGroup]:
    """Groups of these lengths ([n, 1 + K]) with random tokens, PAD not among them;

    responses differ from their first token on.
    """
    generator = np.random.default_rng(seed)
    groups = []
    for prompt, *responses in lengths.tolist():
        prefix, *suffixes = (
            generator.integers(PAD + 1, vocab_size, n, dtype=np.int32) for n in (prompt, *responses)
        )
        # Drawn without the whole vocabulary being shuffled for every group.
        first = PAD + 1 + generator.choice(vocab_size - PAD - 1, len(suffixes), replace=False)
        for suffix, token in zip(suffixes, first, strict=True):
            suffix[0] = token
        groups.append(TokenGroup(prefix, suffixes))
    return groups


def write_pairs(folder: pathlib.Path, pairs: list[TokenGroup]) -> TokenizedPairs:
    """The pairs (two suffixes each:

    chosen, rejected) as the folder that `prepare.prepare` would have made of them.
    """
    shard = shards.Shard(folder, 0, 1)
    with token_cache.owning(folder):
        with shards.writing(shard, {}) as writer:
            for number, pair in enumerate(pairs):
                prefix, (chosen, rejected) = len(pair.prefix), map(len, pair.suffixes)
                labeled = Pair(chosen=0, rejected=1), (prefix, chosen, rejected)
                writer.add(number, token_cache.encode(pair), [labeled])
        names = [shard.groups.name, shard.index.name, shard.record.name]
        origin = {"inputs": {}, "source": "random tokens", "pad_id": PAD}
        token_cache.finish(folder, names, {}, {"fingerprint": folder.name} | origin)
    return TokenizedPairs.open(folder)


def random_pairs(
    folder: pathlib.Path, name: str, pairs: int, max_length: int, vocab_size: int, seed: int = 0
) -> TokenizedPairs:
    """`pairs` pairs of one of DISTRIBUTIONS."""
    return write_pairs(
        folder, random_groups(draw(name, pairs, 2, max_length, seed), vocab_size, seed)
    )


def real_pairs(
    folder: pathlib.Path,
    shared: pathlib.Path,
    name: str,
    pairs: int,
    max_length: int,
    vocab_size: int,
    seed: int = 0,
) -> TokenizedPairs:
    """`pairs` pairs of one of REAL in the Qwen3 tokenizer's tokens, folded into `vocab_size` where
    a measured model is smaller than that.

    Folding keeps all lengths and what is shared; it only makes different words look alike.
    """
    tokenizer = ChatTokenizer.load(shared / "tokenizers" / "qwen3")
    source = open_source(str(shared / REAL[name]))
    enough = (0.0, min(1.0, 2 * pairs / len(source)))  # half of the prompts may turn out too long
    whole = prepare(
        source=source,
        tokenizer=tokenizer,
        cache=folder / "whole",
        max_length=max_length,
        pairs_per_group=1,
        part=enough,
    )
    chosen = np.random.default_rng(seed).permutation(len(whole))[:pairs]
    fold = lambda tokens: (
        tokens if vocab_size > tokenizer.vocab_size else PAD + 1 + tokens % (vocab_size - PAD - 1)
    )
    folded = [
        TokenGroup(fold(pair.prefix), [fold(suffix) for suffix in pair.suffixes])
        for pair in whole.load(chosen)
    ]
    return write_pairs(folder / "folded", [take_pair(pair, 0, 1) for pair in folded])
