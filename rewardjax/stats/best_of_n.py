"""Best-of-N: how good is the response that a scorer picks out of K?

Exact expectations over all draws of K, no sampling.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def expected_best(rewards: Any, correct: Any, ks: Sequence[int]) -> np.ndarray:
    """Expected label [len(ks)] of the highest-reward response among K drawn without replacement.

    rewards, correct: [N], of one prompt's responses; equal rewards share. With responses sorted by
    reward, a run of equal rewards at places i..j-1 holds the maximum with probability
    (C(N-i,K) - C(N-j,K)) / C(N,K) and then contributes its mean label (the best-of-K score of PPE,
    arXiv 2410.14872, computed exactly).

    Raises ValueError for shapes that differ, values that are not finite and a K out of range.
    """
    rewards, correct = np.asarray(rewards, np.float64), np.asarray(correct, np.float64)
    if rewards.ndim != 1 or rewards.shape != correct.shape:
        raise ValueError(
            "expected one reward and one label a response, "
            f"got shapes {list(rewards.shape)} and {list(correct.shape)}"
        )
    bad = int(np.sum(~np.isfinite(rewards)) + np.sum(~np.isfinite(correct)))
    if bad:
        raise ValueError(f"{bad} rewards or labels are not finite")
    N = len(rewards)
    if len(ks) and not 1 <= min(ks) <= max(ks) <= N:
        raise ValueError(f"K must lie between 1 and the {N} responses there are, got {list(ks)}")
    order = np.argsort(-rewards, kind="stable")
    # Runs of equal rewards: run r is at places starts[r]..ends[r]-1, and shares its labels.
    starts = np.flatnonzero(np.r_[True, np.diff(rewards[order]) != 0])
    ends = np.r_[starts[1:], N]
    labels = np.add.reduceat(correct[order], starts) / (ends - starts)
    expected = np.empty(len(ks))
    for k, K in enumerate(ks):
        all_below = _all_below(N, K)
        expected[k] = (all_below[starts] - all_below[ends]) @ labels
    return expected


# The same two numbers come back for every prompt of a data set, and the binomials are large.
@functools.lru_cache(maxsize=4096)
def _all_below(N: int, K: int) -> np.ndarray:
    """[N + 1]: the chance that K drawn of N without replacement avoid the best i, for each i.

    Entry i is C(N - i, K) / C(N, K).
    """
    return np.array([math.comb(N - i, K) / math.comb(N, K) for i in range(N + 1)])


def curve(
    rewards: Sequence[Any],
    correct: Sequence[Any],
    ks: Sequence[int] | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Best-of-K curve of a scorer over P prompts: lists of rewards [N_i] and labels [N_i].

    Labels are 0/1 or graded. Any scorer goes in as `rewards`: lengths for a length-only baseline,
    vote shares for majority voting. Returns lists over `ks` (1, 2, 4, ... up to the smallest N_i,
    which is included, if not given):

    score     mean over prompts of `expected_best`
    low, high  percentile bootstrap over prompts
    oracle    the same with the labels as rewards
    random    a random pick, for which K makes no difference

    and "prompts". Raises ValueError naming the prompt.
    """
    if len(rewards) != len(correct) or not len(rewards):
        raise ValueError(
            "best_of_n: needs as many lists of rewards as of labels and at least one, "
            f"got {len(rewards)} and {len(correct)}"
        )
    if ks is None:
        ks = _powers_of_two(min(len(labels) for labels in correct))
    ks = [int(K) for K in ks]
    prompts = len(rewards)
    score, oracle = np.empty((prompts, len(ks))), np.empty((prompts, len(ks)))
    for i, (rewards_of_prompt, labels) in enumerate(zip(rewards, correct, strict=True)):
        try:
            score[i] = expected_best(rewards_of_prompt, labels, ks)
            oracle[i] = expected_best(labels, labels, ks)
        except ValueError as error:
            raise ValueError(f"best_of_n: prompt {i}: {error}") from error
    # [resamples, P]: how often each prompt is in a draw of P prompts with replacement.
    times_drawn = np.random.default_rng(seed).multinomial(
        prompts, np.full(prompts, 1 / prompts), size=resamples
    )
    quantiles = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(times_drawn @ score / prompts, quantiles, axis=0)
    # A mean of means: prompts count alike, however many responses they have.
    random = float(np.mean([np.mean(labels) for labels in correct]))
    return {
        "ks": ks,
        "prompts": prompts,
        "score": score.mean(0).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "oracle": oracle.mean(0).tolist(),
        "random": [random] * len(ks),
    }


def _powers_of_two(largest: int) -> list[int]:
    """1, 2, 4, ... and `largest` itself."""
    ks = [2**i for i in range(largest.bit_length())]
    if largest and ks[-1] != largest:
        ks.append(largest)
    return ks
