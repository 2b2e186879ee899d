"""Fine-tune the shipped backbone on the preference world.

    python -m rewardjax.train --config=configs/quickstart.py --workdir=runs/world

`labels` names the label source, e.g. `configs/quickstart.py:labels=random:0.3`; held-out labels are
always honest, so held-out accuracy is accuracy against the oracle. The sweeps compare label
sources, amounts of data, losses, and learning rates by batch. `tiny` is a few steps, for tests and
the notebook.
"""

from rewardjax.config import Config, Overrides, parse_arg, product
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


def sweep() -> list[Overrides]:
    """Label sources: what noise and a taste for style in the labels cost."""
    sources = ("honest", "random:0.3", "style:0.6")
    return product(
        vary(
            "data.source", [f"world:train?num=12000&labels={labels}&seed=0" for labels in sources]
        ),
        vary("seed", [0, 1]),
    )


# Two seeds have an interval of 12.7 standard errors, three one of 4.3.
SEEDS = (0, 1, 2)


def sweep_data() -> list[Overrides]:
    """Fractions of the prompts, each within the next, in one epoch: less data is fewer steps."""
    parts = [(0.0, fraction) for fraction in (0.125, 0.25, 0.5, 1.0)]
    return product(vary("data.part", parts), vary("seed", SEEDS))


def sweep_loss() -> list[Overrides]:
    """The losses of pairs, each with its default options."""
    losses = (
        *("bradley_terry", "focal", "focal_with_penalty", "hinge"),
        *("tempered_log", "margin_mse", "cross_entropy", "length_regularized"),
    )
    return product(vary("loss.name", losses), vary("seed", SEEDS))


def sweep_rate_batch() -> list[Overrides]:
    """Learning rate by batch: the best rate grows with the batch, so both vary at once."""
    return product(
        vary("schedule.peak", (3e-4, 1e-3, 3e-3)),
        vary("batch.pairs", (48, 96, 192)),
        vary("seed", SEEDS),
    )
