"""Attention's backends side by side on packed rows.

    python -m benchmarks.attention [--smoke]

Heads of Qwen3-0.6B in bfloat16, on the backends of this machine's platform: `forward_ms`, and
`both_ms` with the backward pass; `forward_tflops` and `both_tflops` count only the keys that
queries see. The rows are those with the longest conversations. On a GPU `cudnn` is there for scale:
causal attention over the whole row, which would let a response see the pairs before it. Without an
accelerator the sizes are small. Prints one JSON line last.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks import lengths
from rewardjax.data import pack
from rewardjax.kernels import attention

LONGEST = 4096  # tokens of a conversation
ROUNDS = 3
# Scores of longer rows do not fit beside their gradients: T * T float32 for every head and row.
LONGEST_DENSE = 4096


class Case(NamedTuple):
    """Packed rows of one distribution of lengths."""

    distribution: str
    row_length: int
    rows: int
    heads: int
    kv_heads: int
    head_dim: int
    repeats: int  # calls in a row that are timed together, so that the host's part does not count


ACCELERATOR = [
    Case("short", 8192, 4, 16, 8, 128, repeats=20),
    Case("long", 8192, 4, 16, 8, 128, repeats=20),
    Case("short", 4096, 8, 16, 8, 128, repeats=20),
]
CPU = [Case("short", 1024, 1, 16, 8, 128, repeats=2)]
SMOKE = [Case("short", 256, 4, 2, 1, 16, repeats=1)]


def inputs(case: Case) -> tuple[list[jax.Array], int]:
    """q, k, v, the output's cotangent, see_from and see_to, and the keys seen by all queries."""
    longest = min(case.row_length, LONGEST)
    # More pairs than fit. The packer begins with the longest, so the rows that are kept have more
    # to attend to than the average row of this distribution.
    drawn = lengths.draw(case.distribution, 40 * case.rows, 2, longest, seed=0)
    rows = pack.pack_groups(
        lengths.random_groups(drawn, vocab_size=1000, seed=0),
        case.row_length,
        pairs_per_row=case.row_length // 16,
        pad_id=lengths.PAD,
    )
    see_from_BT, see_to_BT = (rows[name][: case.rows] for name in ("see_from", "see_to"))
    generator = np.random.default_rng(0)

    def random(heads: int) -> jax.Array:
        shape = (case.rows, case.row_length, heads, case.head_dim)
        return jnp.asarray(generator.normal(size=shape), jnp.bfloat16)

    arrays = [random(n) for n in (case.heads, case.kv_heads, case.kv_heads, case.heads)]
    seen = int(np.sum(see_to_BT.astype(np.int64) - see_from_BT + 1))
    return [*arrays, jnp.asarray(see_from_BT), jnp.asarray(see_to_BT)], seen


def backends(case: Case, platform: str) -> dict[str, Callable]:
    """Functions of (q, k, v, see_from, see_to) by name."""
    names = ["blocks"]
    if case.row_length <= LONGEST_DENSE:
        names.append("dense")
    if platform in attention.FASTEST:
        names.append(attention.FASTEST[platform])
    found: dict[str, Callable] = {name: attention.BACKENDS[name] for name in names}
    if platform == "gpu":
        found["cudnn"] = lambda q, k, v, see_from, see_to: jax.nn.dot_product_attention(
            q, k, v, is_causal=True, implementation="cudnn"
        )
    return found


def milliseconds(run: Callable, arguments: list[jax.Array], repeats: int) -> float:
    """The best of some rounds of what a call takes, compilation not included."""
    jax.block_until_ready(run(*arguments))
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        out = None
        for _ in range(repeats):
            out = run(*arguments)
        jax.block_until_ready(out)
        rounds.append((time.perf_counter() - start) / repeats)
    return 1e3 * min(rounds)


def measure(case: Case, platform: str) -> dict[str, dict[str, float]]:
    """Times and speeds of every backend."""
    arguments, seen = inputs(case)
    # Two products for each key that a query sees, q.k and p.v; the backward pass has five.
    forward_flops = 4 * case.heads * case.head_dim * seen
    result = {}
    for name, backend in tqdm(backends(case, platform).items(), case.distribution):

        def forward(q, k, v, cotangent, see_from, see_to, backend=backend):
            return backend(q, k, v, see_from, see_to)

        def both(q, k, v, cotangent, see_from, see_to, backend=backend):
            out, pull = jax.vjp(lambda *qkv: backend(*qkv, see_from, see_to), q, k, v)
            return out, pull(cotangent)

        forward_ms, both_ms = (
            milliseconds(jax.jit(run), arguments, case.repeats) for run in (forward, both)
        )
        result[name] = {
            "forward_ms": round(forward_ms, 3),
            "both_ms": round(both_ms, 3),
            "forward_tflops": round(forward_flops / forward_ms / 1e9, 1),
            "both_tflops": round(3.5 * forward_flops / both_ms / 1e9, 1),
        }
    return result


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attention",
        description="Attention's backends side by side on packed rows.",
    )
    parser.add_argument("--smoke", action="store_true", help="a tiny size; times mean nothing")
    args = parser.parse_args(argv)
    platform = jax.default_backend()
    cases = ACCELERATOR
    if args.smoke:
        cases = SMOKE
    elif platform == "cpu":
        cases = CPU
    result: dict[str, Any] = {
        "benchmark": "attention",
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    for case in cases:
        name = f"{case.distribution}, {case.rows} rows of {case.row_length}"
        result[name] = measure(case, platform)
        print(name, json.dumps(result[name]), flush=True)
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
