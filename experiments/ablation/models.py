"""Reward models of the curation ablation: many small ones, trained and used in one process and kept on disk by the hash of what made them.

`rewardjax.train` would start, compile, checkpoint and report for every one of them. The step, the packing, the plan of pairs and the
scoring are its own.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.ablation.world import Item
from rewardjax import assets, files, fingerprint
from rewardjax.data import pack
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.pack import TokenGroup
from rewardjax.data.plan import step_pairs, steps_for
from rewardjax.models import hf
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, place
from rewardjax.scoring import rows as scoring
from rewardjax.training import losses, optim
from rewardjax.training.step import make_step, zeros_like

WARMUP = 2  # steps

Labeled = list[
    tuple[Item, str]
]  # the pair, and the response ("a" or "b") that is said to be better


@dataclasses.dataclass(frozen=True, eq=False)
class Lab:
    """What every model starts from, and the folder of finished ones."""

    tokenizer: ChatTokenizer
    graph: nnx.GraphDef
    start: Any  # parameters; the head is 0
    score_rows: scoring.ScoreRows
    backbone: str  # fingerprint of its weights
    folder: pathlib.Path
    row: int = 256  # tokens of a row
    per_row: int = 8  # pairs of a row
    rows: int = 2  # of a micro-batch


@dataclasses.dataclass(frozen=True)
class Model:
    """A finished reward model: its name is the hash of what made it."""

    name: str
    folder: pathlib.Path


def open_lab(folder: pathlib.Path, backbone: str) -> Lab:
    """A lab around a Hugging Face folder. Call it, and everything below, within `jax.set_mesh`."""
    home = assets.resolve(backbone)
    model = hf.load(home, Compute(dtype="float32", remat="none"), Layout(), init_head=True)
    graph, params = nnx.split(model, nnx.Param)
    # A model of some ten steps would mostly show which way its random head happened to point.
    start = jax.tree_util.tree_map_with_path(
        lambda path, x: jnp.zeros_like(x) if optim.path_of(path) == "head" else x, params
    )
    score_rows = scoring.make_score_rows(graph)
    weights = fingerprint.of_file(home / "model.safetensors")
    return Lab(ChatTokenizer.load(home), graph, start, score_rows, weights, folder)


def train(lab: Lab, pairs: Labeled, *, seed: int, epochs: float, batch: int, rate: float) -> Model:
    """The Bradley-Terry reward model of `pairs`, from the lab's folder if it is there: AdamW at a constant rate after WARMUP steps (the
    schedule of the paper's final runs, and one compiled step for sets of every size)."""
    pairs = sorted(pairs, key=lambda pair: pair[0].pair_id)
    said = [[item.pair_id, value] for item, value in pairs]
    name = fingerprint.of_json(
        [lab.backbone, seed, epochs, batch, rate, [lab.row, lab.per_row, lab.rows], said]
    )
    model = Model(name, lab.folder / name)
    if not (model.folder / "params.npz").exists():
        tokens = [towards(item.tokens, value) for item, value in pairs]
        params = fit(lab, tokens, seed=seed, epochs=epochs, batch=batch, rate=rate)
        model.folder.mkdir(parents=True, exist_ok=True)
        _write(
            model.folder / "params.npz",
            lambda file: np.savez(file, *map(np.asarray, jax.tree.leaves(params))),
        )
    return model


def towards(tokens: TokenGroup, value: str) -> TokenGroup:
    """The pair with the better response first, as packing wants it."""
    return tokens if value == "a" else TokenGroup(tokens.prefix, tokens.suffixes[::-1])


def fit(
    lab: Lab, pairs: Sequence[TokenGroup], *, seed: int, epochs: float, batch: int, rate: float
) -> Any:
    """Parameters after `epochs` passes over `pairs`, the chosen response first."""
    params = jax.tree.map(jnp.copy, lab.start)  # the step overwrites its arguments
    initial, accumulate, update = step_functions(lab, batch, rate)
    state = initial(params)
    for step in range(steps_for(len(pairs), batch, epochs)):
        total = zeros_like(params)
        for micro_batch in micro_batches(
            lab, [pairs[i] for i in step_pairs(len(pairs), batch, seed, step)]
        ):
            total = accumulate(total, params, place(micro_batch, Layout()))
        params, state, _ = update(params, state, total)
    return params


@functools.lru_cache(maxsize=4)
def step_functions(lab: Lab, batch: int, rate: float) -> tuple[Callable, Callable, Callable]:
    """`initial(params)`, `accumulate` and `update` of `make_step`: compiled once for all models of a lab."""
    schedule = optim.make_schedule(
        "constant", peak=rate, total_steps=WARMUP + 1, warmup_steps=WARMUP
    )
    optimizer = optim.make_optimizer(schedule, lab.start, clip_norm=1.0)
    return jax.jit(optimizer.init), *make_step(
        lab.graph, losses.get("bradley_terry"), optimizer, batch
    )


def micro_batches(lab: Lab, pairs: Sequence[TokenGroup]) -> list[dict[str, np.ndarray]]:
    """The pairs of one step in packed rows, `lab.rows` at a time."""
    rows = pack.plan_rows(
        [len(pair.prefix) + sum(map(len, pair.suffixes)) for pair in pairs], lab.row, lab.per_row
    )
    rows += [[] for _ in range(-len(rows) % lab.rows)]
    labels = {
        "margin": np.zeros(len(pairs)),
        "target": np.ones(len(pairs)),
        "tie": np.zeros(len(pairs)),
    }
    arrays = pack.pack_pairs(pairs, labels, rows, lab.row, lab.per_row, lab.tokenizer.pad_id)
    return [
        {name: array[i : i + lab.rows] for name, array in arrays.items()}
        for i in range(0, len(rows), lab.rows)
    ]


def rewards(lab: Lab, model: Model, items: Sequence[Item]) -> np.ndarray:
    """Rewards [n, 2] of responses a and b, kept beside the model."""
    path = model.folder / f"rewards-{fingerprint.of_json([item.pair_id for item in items])}.npy"
    if not path.exists():
        params = parameters(lab, model)
        found = scoring.score_groups(
            lab.score_rows,
            params,
            [item.tokens for item in items],
            row_length=lab.row,
            rows=lab.rows,
            pairs_per_row=lab.per_row,
            pad_id=lab.tokenizer.pad_id,
            layout=Layout(),
        )
        _write(path, lambda file: np.save(file, np.stack(found)))
    return np.load(path)


@functools.lru_cache(maxsize=2)
def parameters(lab: Lab, model: Model) -> Any:
    """The model's parameters, read back."""
    like, structure = jax.tree.flatten(lab.start)
    with np.load(model.folder / "params.npz") as saved:
        leaves = [jax.device_put(saved[f"arr_{i}"], one.sharding) for i, one in enumerate(like)]
    return jax.tree.unflatten(structure, leaves)


def _write(path: pathlib.Path, save: Callable[[Any], None]) -> None:
    """A file that is there whole or not at all."""
    with files.replacing(path, many_writers=True) as part, open(part, "wb") as file:
        save(file)
