"""The smallest training config, as tests use it."""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]


def tiny_config(cache, **overrides):
    """configs/tiny.py, its tokenized data in `cache`, with `overrides` of dotted keys."""
    from rewardjax import config as config_lib

    config = config_lib.load(ROOT / "configs/tiny.py", overrides)
    with config.unlocked():
        for section in (config.data, *config.evals.values()):
            section.cache = str(cache)
    return config


def logged(workdir, name) -> dict[int, float]:
    """Values of a metric by step, where it was logged: step 0 has figures and no loss."""
    from rewardjax.training.metrics import read_metrics

    return {row["step"]: row[name] for row in read_metrics(workdir) if name in row}
