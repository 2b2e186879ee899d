"""Fine-tune the shipped backbone on the preference world.

    python -m rewardjax.train --config=configs/quickstart.py --workdir=runs/world

`labels` names the label source, e.g. `configs/quickstart.py:labels=random:0.3`; held-out labels are
always honest, so held-out accuracy is accuracy against the oracle. The sweep compares label
sources. `tiny` is a few steps, for tests and the notebook.
"""

from rewardjax.config import Config, parse_arg, product
from rewardjax.config import sweep as vary
from rewardjax.defaults import held_out, training


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, tiny=False, labels="honest", num=12_000, seed=0)
    config = training()
    config.seed = args.seed
    config.compute.update(dtype="float32", remat="none")
    num = 256 if args.tiny else args.num
    config.data.update(
        source=f"world:train?num={num}&labels={args.labels}&seed={args.seed}", max_length=256
    )
    config.batch.update(pairs=32 if args.tiny else 96, row_length=256, pairs_per_row=8, rows=8)
    config.schedule.peak = 1e-3
    config.evals = {
        "heldout": held_out(config, source=f"world:heldout?num={64 if args.tiny else 1000}")
    }
    config.eval_every = 4 if args.tiny else 40
    config.checkpoint.update(
        every=4 if args.tiny else 40, keep=dict(keep=2, best="heldout/accuracy")
    )
    return config


def sweep():
    sources = ("honest", "random:0.3", "style:0.6")
    return product(
        vary(
            "data.source", [f"world:train?num=12000&labels={labels}&seed=0" for labels in sources]
        ),
        vary("seed", [0, 1]),
    )
