"""A benchmark of your own, without a change of this package.

    python -m rewardjax.evaluate --config=configs/eval/own.py:module=BENCH.py,data=DATA \\
        --config.model=MODEL

`module` is a Python file or the dotted name of a module; docs/evaluation.md says what is in it.
"""

import pathlib

from rewardjax.config import Config, parse_arg
from rewardjax.defaults import evaluation


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(
        arg, module="rewardjax.evaluators.benchmarks.llmbar", data="assets:benchmarks/llmbar"
    )
    config = evaluation()
    # Tables and files of scores are named after the module.
    name = pathlib.PurePath(args.module.removesuffix(".py")).name.rpartition(".")[-1]
    config.benchmarks[name] = dict(benchmark=args.module, path=args.data)
    return config
