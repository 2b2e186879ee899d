"""All seven benchmarks, and LLMBar.

    python -m rewardjax.evaluate --config=configs/eval/all.py:data=DIR --config.model=MODEL

`data` is a folder with what has been downloaded, a folder a benchmark, named as below; what is not there is read from the hub, where it is
(pip install 'rewardjax[hub]'). docs/evaluation.md says how to get each. One alone elsewhere: --config.benchmarks.rmb.path=DIR.
"""

import pathlib

from rewardjax.config import Config, parse_arg
from rewardjax.defaults import evaluation

HUB = {
    "rewardbench": "hf://allenai/reward-bench",
    "rewardbench2": "hf://allenai/reward-bench-2",
    "ppe_preference": "hf://lmarena-ai/PPE-Human-Preference-V1",
    "ppe_correctness": "hf://lmarena-ai",
    "rmb": None,
    "rm_bench": "hf://THU-KEG/RM-Bench",
    "judgebench": "hf://ScalerLab/JudgeBench",
    "llmbar": None,
}


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, data="../shared/data")
    config = evaluation()
    for name, hub in HUB.items():
        local = pathlib.Path(args.data, name)
        config.benchmarks[name] = dict(
            benchmark=name, path=hub if hub and not local.exists() else str(local)
        )
    config.counterfactual.benchmarks = ("llmbar", "rewardbench")
    return config
