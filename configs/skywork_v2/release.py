"""The eight reward models of the paper (arXiv 2507.01352) and its two recipes.

Each is spread over the slices that it is meant for:

    python -m rewardjax.train --workdir=/gcs/BUCKET/runs/qwen3_8b \
        --config=configs/skywork_v2/qwen3_8b.py:slice=v5p:4x4x4,data=runs/curated
    python -m rewardjax.compile --config=configs/skywork_v2/qwen3_8b.py --topology=v5p:4x4x4

The first trains; the workdir is a folder that every host sees, such as a mounted bucket. The
second says what that needs, without the slice. With `slices=2` (and `--slices=2`) it is two such
slices, connected by the data-center network.

`recipe=final` is the paper's last run: 10,240 pairs per step, constant 3e-6.
`recipe=development` is what it compared data with: 256 pairs, linear decay from 1e-6 (8B) or 4e-6.
Both take conversations of up to 16,384 tokens. What the paper leaves open - weight decay, warm-up -
is as in its authors' published training script. `models` is the folder that holds the backbones
under their names on the Hugging Face hub, `data` the curated pairs.
"""

from collections.abc import Callable
from typing import NamedTuple

from rewardjax.config import Config, parse_arg
from rewardjax.defaults import held_out, training

# Prompts whose hash falls beyond this fraction are held out: some 13,000 of 26 million.
HELD_OUT = 0.9995


class Spread(NamedTuple):
    """A model on a slice.

    `data` x `fsdp` chips, each axis along whole dimensions of the torus, `rows` per chip, and what
    the backward pass finds saved.
    """

    data: int
    fsdp: int
    remat: str
    rows: int = 1


# Which spread a slice gets was chosen by compiling for it (python -m rewardjax.compile): the least
# recomputation whose program fits the chips. The `v5p:2x2x4` of the larger models has just enough
# chips for the 15 to 30 rows of a development step.
SMALL = {  # up to 2B parameters
    "v5e:4x4": Spread(4, 4, "attn_out"),
    "v5p:2x2x2": Spread(2, 4, "gate_up"),
    "v6e:4x4": Spread(4, 4, "gate_up"),
    "h100:8": Spread(1, 8, "attn_out"),
    "h200:8": Spread(1, 8, "qkv"),
}
MIDDLE = {  # 3B and 4B
    "v5e:8x16": Spread(8, 16, "attn_out"),
    "v5p:2x4x4": Spread(2, 16, "gate_up"),
    "v6e:8x8": Spread(8, 8, "qkv"),
    "v5p:2x2x4": Spread(2, 8, "gate_up"),
    "h100:8": Spread(1, 8, "full"),
    "h200:8": Spread(1, 8, "attn_out"),
}
LARGE = {  # 8B
    "v5e:16x16": Spread(16, 16, "full"),
    "v5p:4x4x4": Spread(4, 16, "gate_up"),
    "v6e:8x16": Spread(8, 16, "qkv"),
    "v5p:2x2x4": Spread(4, 4, "gate_up"),
    "h100:8": Spread(1, 8, "full"),
    "h200:8": Spread(1, 8, "attn_out"),
}


class Release(NamedTuple):
    """One of the eight models.

    Its decoder, the backbone it starts from, a token for padding that no conversation holds, its
    slices and its data.
    """

    variant: str
    backbone: str
    pad_token: str
    slices: dict[str, Spread]
    data: str = "data/curated_26m"

    @property
    def development_rate(self) -> float:
        """The paper's learning rate for comparing data: smaller for the 8B models."""
        if self.slices is LARGE:
            return 1e-6
        return 4e-6


QWEN_PAD, LLAMA_PAD = "<|vision_pad|>", "<|finetune_right_pad_id|>"
RELEASES = {
    "qwen3-0.6b": Release("qwen3-0.6b", "Qwen3-0.6B", QWEN_PAD, SMALL),
    "qwen3-1.7b": Release("qwen3-1.7b", "Qwen3-1.7B", QWEN_PAD, SMALL),
    "qwen3-4b": Release("qwen3-4b", "Qwen3-4B", QWEN_PAD, MIDDLE),
    "qwen3-8b": Release("qwen3-8b", "Qwen3-8B", QWEN_PAD, LARGE),
    "llama3.2-1b": Release("llama3.2-1b", "Llama-3.2-1B-Instruct", LLAMA_PAD, SMALL),
    # A width of 3072 split by 8 is three tiles of 128, and the compiler reduces such gradients
    # whole.
    "llama3.2-3b": Release(
        "llama3.2-3b",
        "Llama-3.2-3B-Instruct",
        LLAMA_PAD,
        MIDDLE | {"v5p:2x2x4": Spread(4, 4, "gate_up")},
    ),
    "llama3.1-8b": Release("llama3.1-8b", "Llama-3.1-8B-Instruct", LLAMA_PAD, LARGE),
    "llama3.1-8b-40m": Release(
        "llama3.1-8b",
        "Llama-3.1-8B-Instruct",
        LLAMA_PAD,
        LARGE,
        data="data/curated_26m_and_flipped_14m",
    ),
}


def slices(arg: str | None = None) -> tuple[str, ...]:
    """The slices and hosts that the model of a config argument is meant for."""
    return tuple(_parse(arg)[1].slices)


def _parse(arg: str | None) -> tuple[Config, Release]:
    args = parse_arg(
        arg,
        model="qwen3-0.6b",
        recipe="final",
        slice="",
        slices=1,
        models="models",
        data="",
        cache="runs/cache",
    )
    if args.model not in RELEASES:
        raise ValueError(
            f"config argument model={args.model!r}: choose one of {', '.join(RELEASES)}"
        )
    return args, RELEASES[args.model]


def get_config(arg: str | None = None) -> Config:
    """The training config that `arg` names; see the head of this file."""
    args, release = _parse(arg)
    # Without a slice the first of the table, so that a config can be read and checked anywhere.
    where = args.slice or next(iter(release.slices))
    if where not in release.slices:
        raise ValueError(
            f"config argument slice={where!r}: {args.model} is spread over "
            f"{', '.join(release.slices)}; for another slice take one of these and change "
            "--config.mesh.data, --config.mesh.fsdp, --config.batch.rows (rewardjax.compile "
            "--search ranks what fits)"
        )
    spread = release.slices[where]
    config = training()
    backbone = f"{args.models}/{release.backbone}"
    config.tokenizer.update(folder=backbone, pad_token=release.pad_token)
    config.model.update(folder=backbone, init_head=True, variant=release.variant)
    config.compute.remat = spread.remat
    # Slices repeat the model: the network between them would be too slow to gather weights.
    data = args.slices * spread.data
    config.mesh.update(data=data, fsdp=spread.fsdp)
    config.data.update(
        source=args.data or release.data, max_length=16_384, part=(0.0, HELD_OUT), cache=args.cache
    )
    config.data.max_pair_length = 16_384  # both responses lie in one row
    config.batch.update(row_length=16_384, pairs_per_row=64, rows=data * spread.fsdp * spread.rows)
    config.optimizer.update(weight_decay=1e-3)
    if args.recipe == "final":
        config.batch.pairs = 10_240
        config.schedule.update(name="constant", peak=3e-6, warmup_fraction=0.0)
    elif args.recipe == "development":
        config.batch.pairs = 256
        config.schedule.update(name="linear", peak=release.development_rate, warmup_fraction=0.03)
    else:
        raise ValueError(f"config argument recipe={args.recipe!r}: choose final or development")
    config.evals = {"heldout": held_out(config, part=(HELD_OUT, 1.0))}
    # About every million pairs, whatever the recipe: a preempted run loses no more than that.
    config.eval_every = config.checkpoint.every = 1_024_000 // config.batch.pairs
    return config


def of(model: str) -> tuple[Callable[..., Config], Callable[..., tuple[str, ...]]]:
    """`get_config` and `slices` of one model: what its own config file consists of."""
    with_model = lambda arg: ",".join(filter(None, (f"model={model}", arg)))
    return lambda arg=None: get_config(with_model(arg)), lambda arg=None: slices(with_model(arg))
