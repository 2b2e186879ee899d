"""Benchmarks: their original files in, numbers that reproduce the reference implementations out.

A benchmark is one module of `evaluators/benchmarks`, which says there what a module provides, and
one name in PUBLISHED or NAMES below; or a module anywhere else, named by its file. The records that
all of them share are in `records.py`, what their rules share in `rules.py`, and how files become
examples in `reading.py`.

`python -m rewardjax.evaluate` writes a folder per model:

    results.json             {"model", "contract", "results": {name: a Result as JSON},
                              "missing": {name: how to get it}, ...}
    results.md               the same for reading
    results.csv, results.tex the same as one row per number, and as tables for LaTeX
    mistakes.jsonl           the most confident mistakes of every benchmark, with their texts
    report.html              the same with figures, intervals and audits
    scores/NAME.parquet      one row per item: id, subset, label (JSON text), rewards, tokens and
                             characters (one of each per response), prompt_tokens, prompt (its
                             fingerprint); score contract and fingerprints in the schema's metadata

`stored_rewards.read(path)` gives such a file back, and any rule can be recomputed from it.
"""

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import pathlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from rewardjax import config as config_lib
from rewardjax.command import errors

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
PUBLISHED = (
    *PAPER,
    "llmbar",
    "prior_sets",
    "m_rewardbench",
    "plan_rewardbench",
    "if_rewardbench",
)
# The last two take data of your own.
NAMES = (*PUBLISHED, "pairs", "best_of_n")


# What a benchmark outside of this package need not have, and what is taken in its place.
OPTIONAL = {"HUB": None, "CHANCE": None, "better": lambda item, responses: []}


def get(name: str) -> "Benchmark":
    """The module of a benchmark: a name of NAMES, a Python file (DIR/NAME.py) or a module (a.b).

    Raises ValueError with the names there are for any other, so that nothing is computed by the
    rule of a benchmark that merely looks alike, and for a module that is not a benchmark.
    """
    if name in NAMES:
        return cast("Benchmark", importlib.import_module(f"{__name__}.benchmarks.{name}"))
    position(name)
    return cast("Benchmark", _own(name))


@functools.cache
def _own(name: str) -> ModuleType:
    """A module outside of this package, with what it leaves out of `Benchmark` filled in."""
    if name.endswith(".py"):
        module = _from_file(pathlib.Path(name))
    else:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise ValueError(f"benchmark = {name!r} cannot be imported: {error}") from None
    lacking = [needed for needed in ("load", "summarize") if not hasattr(module, needed)]
    if lacking:
        raise ValueError(
            f"{name} is not a benchmark: it has no function {' and no '.join(lacking)}"
        )
    defaults = {"TITLE": pathlib.PurePath(name).stem, "SOURCE": f"wherever {name} says", **OPTIONAL}
    for attribute, default in defaults.items():
        if not hasattr(module, attribute):
            setattr(module, attribute, default)
    return module


def _from_file(file: pathlib.Path) -> ModuleType:
    if not file.is_file():
        raise ValueError(f"benchmark = {str(file)!r}: there is no such file")
    spec = importlib.util.spec_from_file_location(f"benchmark_file_{file.stem}", file)
    assert spec is not None and spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    # Before it runs: a dataclass looks its module up there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def position(name: str) -> int:
    """The place of a benchmark in NAMES, after all of them for one of your own.

    Raises ValueError with the names there are for any other.
    """
    if name in NAMES:
        return NAMES.index(name)
    # A dot is in no name of ours, but in every file's and in every module's below a package.
    if "." in name:
        return len(NAMES)
    raise ValueError(
        f"no benchmark is called {name!r}; there are {', '.join(NAMES)}, "
        "files (DIR/NAME.py) and modules (PACKAGE.NAME)"
    )


def refuse_other_arguments(benchmark: str, **kwargs: Any) -> None:
    """Raise ValueError unless `kwargs` are those of the benchmark's `load`, before it reads."""
    parameters = inspect.signature(get(benchmark).load).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    complaints = errors.Complaints()
    there = f"it takes {', '.join(parameters)}"
    for name in kwargs.keys() - parameters.keys():
        near = config_lib.suggestion(name, parameters)
        complaints.add([f"benchmark {benchmark} has no field {name!r}{near}; {there}"])
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in kwargs:
            complaints.add([f"benchmark {benchmark} needs a field {name!r}; {there}"])
    complaints.refuse()


def load(benchmark: str, **kwargs: Any) -> "Examples":
    """The examples of a benchmark; `kwargs` as for the `load` of its module."""
    refuse_other_arguments(benchmark, **kwargs)
    examples = get(benchmark).load(**kwargs)
    if benchmark in NAMES:
        return examples
    # By this name stored scores find their rule again, from whatever folder they are read.
    name = benchmark
    if name.endswith(".py"):
        name = str(pathlib.Path(name).resolve())
    return dataclasses.replace(examples, name=name)
