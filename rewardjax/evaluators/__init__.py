"""Benchmarks: their original files in, numbers that reproduce the reference implementations out.

A benchmark is one module of `evaluators/benchmarks`, which says there what a module provides, and
one name in PUBLISHED or NAMES below. The records that all of them share are in `records.py`.

`python -m rewardjax.evaluate` writes a folder per model:

    results.json             {"model", "contract", "results": {name: a Result as JSON},
                              "missing": {name: how to get it}, ...}
    results.md               the same for reading
    report.html              the same with figures, intervals and audits
    scores/NAME.parquet      one row per item: id, subset, label (JSON text), rewards, tokens and
                             characters (one of each per response), prompt_tokens, prompt (its
                             fingerprint); score contract and fingerprints in the schema's metadata

`stored_rewards.read(path)` gives such a file back, and any rule can be recomputed from it.
"""

import importlib
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:  # configs import this module, and need neither jax nor matplotlib
    from rewardjax.evaluators.benchmarks import Benchmark
    from rewardjax.evaluators.records import Examples

# The columns of the table in arXiv 2507.01352, in its order.
PAPER = (
    "rewardbench",
    "rewardbench2",
    "ppe_preference",
    "ppe_correctness",
    "rmb",
    "rm_bench",
    "judgebench",
)
# Benchmarks with files that somebody published: `configs/eval/all.py` evaluates all of them.
PUBLISHED = (*PAPER, "llmbar")
# The last two take data of your own.
NAMES = (*PUBLISHED, "pairs", "best_of_n")


def get(name: str) -> "Benchmark":
    """The module of a benchmark.

    Raises ValueError with the names there are for any other, so that nothing is computed by the
    rule of a benchmark that merely looks alike.
    """
    module = importlib.import_module(f"{__name__}.benchmarks.{NAMES[position(name)]}")
    return cast("Benchmark", module)


def position(name: str) -> int:
    """The place of a benchmark in NAMES. Raises ValueError with the names there are."""
    if name not in NAMES:
        raise ValueError(f"no benchmark is called {name!r}; there are {', '.join(NAMES)}")
    return NAMES.index(name)


def load(benchmark: str, **kwargs: Any) -> "Examples":
    """The examples of a benchmark; `kwargs` as for the `load` of its module."""
    return get(benchmark).load(**kwargs)
