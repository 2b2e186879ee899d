"""All published benchmarks: the paper's seven and five more.

    python -m rewardjax.evaluate --config=configs/eval/all.py:data=DIR --config.model=MODEL

`data` is a folder with what has been downloaded, one folder per benchmark, named as in
`evaluators.PUBLISHED`. A benchmark that is not there is read from the hub if it is on the hub
(pip install 'rewardjax[hub]'). docs/evaluation.md says how to get each. For one that lies
elsewhere: --config.benchmarks.rmb.path=DIR.
"""

import pathlib

from rewardjax import evaluators
from rewardjax.config import Config, parse_arg
from rewardjax.defaults import evaluation


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, data="../shared/data")
    config = evaluation()
    for name in evaluators.PUBLISHED:
        path = str(pathlib.Path(args.data, name))
        hub = evaluators.get(name).HUB
        # A benchmark that is neither here nor on the hub keeps its local path, which the report
        # names beside where to get the files.
        if hub is not None and not pathlib.Path(path).exists():
            path = hub
        config.benchmarks[name] = dict(benchmark=name, path=path)
    config.counterfactual.benchmarks = ("llmbar", "rewardbench")
    return config
