"""Benchmarks: their original files in, numbers that reproduce the reference implementations out.

A benchmark is one module here, with

    TITLE, EXPECTED, SOURCE          its name in tables, the published sizes by part, where its files are
    load(path, ...) -> Examples      reads the original files (a file, a folder, `hf://ORG/NAME`, `assets:benchmarks/NAME`)
    summarize(items, rewards) -> Result

and its scoring rules as pure functions over arrays of rewards. `benchmark.py` has the records:

    Item(id, subset, label)          what a rule needs to know of one example, without its text; `label` is plain JSON
    Examples(name, items, groups, fingerprint, left_out)      groups[i] is the prompt and the responses of items[i]
    Part(value, n, ties, expected, unscored)                  one number and what it is made of
    Result(name, headline, rule, chance, parts, subsets, other, notes)

`rewards` is one float array [K] an item, in the order of the group's responses; NaN where a response could not be scored, and then the
item is left out of every number and counted as `unscored`. Equal rewards are treated as the benchmark's reference code does and counted.
`summarize` needs no text and no model, so every number can be recomputed from stored scores.

`python -m rewardjax.evaluate` writes a folder for a model:

    results.json                     {"model", "contract", "results": {name: Result as a dict}, "missing": {name: how to get it}, ...}
    results.md                       the same for reading
    scores/NAME.parquet              one row an item: id, subset, label (JSON text), rewards, tokens, characters (one of each a response),
                                     prompt_tokens, prompt (fingerprint); the score contract and all fingerprints in the schema's
                                     metadata (scores.py)

`scores.read(path) -> Scores` gives it back, `NAMES` lists the benchmarks in the order of the paper's table, `get(name)` is the module.
"""

import importlib
from types import ModuleType
from typing import Any

# Name -> module; the first seven, in this order, are the columns of the paper's table.
PAPER = (
    "rewardbench",
    "rewardbench2",
    "ppe_preference",
    "ppe_correctness",
    "rmb",
    "rm_bench",
    "judgebench",
)
NAMES = (*PAPER, "llmbar", "pairs", "best_of_n")


def get(name: str) -> ModuleType:
    """The module of a benchmark. Raises ValueError naming those there are."""
    return importlib.import_module(f"{__name__}.benchmarks.{NAMES[position(name)]}")


def position(name: str) -> int:
    """The place of a benchmark in NAMES. Raises ValueError naming those there are."""
    if name not in NAMES:
        raise ValueError(f"no benchmark is called {name!r}; there are {', '.join(NAMES)}")
    return NAMES.index(name)


def load(benchmark: str, **kwargs: Any) -> Any:
    """The Examples of a benchmark; `kwargs` as for the `load` of its module."""
    return get(benchmark).load(**kwargs)
