"""The config of an evaluation on pairs of one's own, which `rewardjax.evaluate` reads by itself.

rewardjax evaluate --model runs/mine --data pairs.jsonl
"""

from rewardjax.config import Config
from rewardjax.defaults import evaluation


def get_config(arg: str | None = None) -> Config:
    """The config; `arg` has nothing to say."""
    if arg is not None:
        raise ValueError(f"this config has no argument, and {arg!r} is one")
    config = evaluation()
    config.benchmarks.pairs = dict(benchmark="rewardjax.evaluators.benchmarks.pairs", path="")
    return config
