"""The miniatures that ship with the package, and the preference world's held-out split.

The whole evaluation in a minute, offline:

    python -m rewardjax.evaluate --config=configs/eval/mini.py --config.model=runs/world

The miniatures have the benchmarks' formats, not their texts: their numbers cannot be compared with
published ones.
"""

from rewardjax import assets, evaluators
from rewardjax.config import Config, parse_arg
from rewardjax.defaults import evaluation


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, pairs=300, prompts=60)
    config = evaluation()
    for name in evaluators.PUBLISHED:
        path = f"assets:benchmarks/{name}"
        # A benchmark does not need a miniature; one without is evaluated by all.py alone.
        if assets.exists(path):
            config.benchmarks[name] = dict(benchmark=name, path=path)
    config.benchmarks.heldout = dict(
        benchmark="pairs", path=f"world:heldout?num={args.pairs}&seed=1"
    )
    config.benchmarks.best_of_16 = dict(
        benchmark="best_of_n", path=f"world:heldout?num={args.prompts}&responses=16&seed=2"
    )
    config.counterfactual.benchmarks = ("llmbar", "heldout")
    config.overlap.train = dict(path="world:train?num=2000")
    return config
