"""The whole machinery on a model of some 30,000 parameters, from scratch.

    python -m rewardjax.train --config=configs/tiny.py --workdir=runs/tiny    # about 20 seconds

For tests, and to step through with a debugger.
"""

from rewardjax.config import Config, Overrides, parse_arg
from rewardjax.config import sweep as vary
from rewardjax.defaults import WORLD, held_out, training


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, steps=6, loss="bradley_terry", family="qwen3")
    config = training()
    config.tokenizer.folder = WORLD
    config.model.update(folder=None, init_head=False, variant=f"tiny-{args.family}")
    config.model.changes.update(vocab_size=1024, width=16, mlp_width=32)
    config.compute.update(dtype="float32")
    config.data.update(source="world:train?num=160", max_length=256)
    config.batch.update(pairs=32, row_length=256, pairs_per_row=8, rows=8)
    config.steps = args.steps
    config.loss.name = args.loss
    config.schedule.peak = 1e-2
    config.evals = {"heldout": held_out(config, source="world:heldout?num=32")}
    config.eval_every = 2
    config.checkpoint.update(every=2, keep=dict(keep=2, best="heldout/accuracy"))
    config.log.writers.tensorboard = False
    return config


def sweep_lr() -> list[Overrides]:
    """Three learning rates, to see `rewardjax.sweep` at work in a minute."""
    return vary("schedule.peak", (3e-3, 1e-2, 3e-2))
