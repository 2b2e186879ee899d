"""How full packed rows are, and what packing and loading cost in CPU seconds of one core.

    python -m benchmarks.packing [--smoke]

Pairs of up to 16,384 tokens, of both distributions of lengths, in rows of 16,384 tokens. `fill`:
share of slots that hold a token, packing windows of 512 pairs. `us_per_pair`: microseconds to plan
the rows of a window and write all arrays of its batch, from token ids in memory.
`loader_tokens_per_cpu_s`: tokens (each prompt once) through the training pipeline: plan, read from
ArrayRecord, decode, pack, hand over by Grain. Both are of short prompts, `..._long` of long ones,
whose pairs have nearly twice the tokens. Prints one JSON line last.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import lengths
from benchmarks.sizes import cost, pin
from rewardjax.data import pack, pipeline
from rewardjax.data.pack import TokenGroup
from rewardjax.data.token_cache import TokenizedPairs

WINDOW = 512  # pairs packed together
ROW_LENGTH = 16_384
PAIRS_PER_ROW = 256
VOCABULARY = 151_669
ROUNDS = 5


def pack_window(window: list[TokenGroup], lengths_n3: np.ndarray) -> dict[str, np.ndarray]:
    """Lengths and tokens to the arrays of a batch."""
    labels = {name: np.zeros(len(window), np.float32) for name in ("target", "margin", "tie")}
    rows = pack.plan_rows(pack.bundle_lengths(lengths_n3), ROW_LENGTH, PAIRS_PER_ROW)
    return pack.pack_pairs(window, labels, rows, ROW_LENGTH, PAIRS_PER_ROW, lengths.PAD)


def packing(pairs: TokenizedPairs) -> dict[str, float]:
    """Fill over all windows, and the median over rounds of what a pair costs."""
    tokens, starts = pairs.load(range(len(pairs))), range(0, len(pairs), WINDOW)
    windows = [
        (tokens[start : start + WINDOW], pairs.lengths[start : start + WINDOW]) for start in starts
    ]
    slots = sum(pack_window(*window)["tokens"].size for window in windows)  # warms up, too
    plan = lambda _, lengths_n3: pack.plan_rows(
        pack.bundle_lengths(lengths_n3), ROW_LENGTH, PAIRS_PER_ROW
    )

    def per_pair(work: Callable) -> float:
        def once() -> None:
            for (
                window
            ) in windows:  # its arrays are dropped before the next one's are made, as in training
                work(*window)

        return 1e6 / len(pairs) * statistics.median(cost(once, "cpu") for _ in range(ROUNDS))

    return {
        "fill": round(int(pairs.lengths.sum()) / slots, 4),
        "us_per_pair": round(per_pair(pack_window), 2),
        "us_per_pair_planned": round(per_pair(plan), 2),
    }


def loading(pairs: TokenizedPairs) -> float:
    """Tokens a CPU second over an epoch, everything from opening the iterator to closing it."""

    def read(steps: int) -> None:
        layout: dict[str, Any] = dict(rows=1, row_length=ROW_LENGTH, pairs_per_row=PAIRS_PER_ROW)
        iterator = pipeline.train_steps(pairs, pairs=WINDOW, seed=0, num_steps=steps, **layout)
        seen = sum(int(np.count_nonzero(step.arrays["weight"])) for step in iterator)
        iterator.close()
        assert seen == steps * WINDOW

    read(1)  # warms up
    return int(pairs.lengths.sum()) / cost(lambda: read(len(pairs) // WINDOW), "cpu")


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.packing",
        description="Fill of rows, cost of packing and loading.",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="few pairs, not pinned to a core: fill counts, times do not",
    )
    args = parser.parse_args(argv)
    if not args.smoke:
        pin()
    many = WINDOW if args.smoke else 20 * WINDOW
    cases = {}
    for name in lengths.DISTRIBUTIONS:
        with tempfile.TemporaryDirectory() as folder:
            pairs = lengths.random_pairs(
                pathlib.Path(folder) / name, name, many, ROW_LENGTH, VOCABULARY
            )
            cases[name] = packing(pairs) | {"loader_tokens_per_cpu_s": round(loading(pairs))}
        print(name, json.dumps(cases[name]), flush=True)
    result = {
        "benchmark": "packing",
        **cases["short"],
        **{f"{field}_long": value for field, value in cases["long"].items()},
    }
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
