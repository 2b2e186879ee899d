"""Reward models of the experiments: many small ones, trained in one process, kept on disk.

`rewardjax.training.loop` would start, compile, checkpoint and report for every one of them. The
step, the packing, the plan of pairs and the scoring are its own. `train` and `load` are plug-ins of
the curation loop.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rewardjax import assets, fingerprint
from rewardjax.curation.ledger.rows import PairText
from rewardjax.curation.workspace import RewardModel, Training, Workspace
from rewardjax.data import pack
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import BadRecord, Group
from rewardjax.data.pack import TokenGroup
from rewardjax.data.plan import step_pairs, steps_for
from rewardjax.io import files
from rewardjax.models import hf
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, place
from rewardjax.scoring import rows as scoring
from rewardjax.scoring.prepare import prepare_whole
from rewardjax.training import losses, optim
from rewardjax.training.step import make_step, zeros_like

WARMUP = 2  # steps
CONTRACT = "experiments"  # these models are asked in the process that made them, and nowhere else

Tokens = Mapping[str, TokenGroup]  # by pair_id: prompt, and responses a and b


@dataclasses.dataclass(frozen=True, eq=False)
class Lab:
    """What every model starts from, how it is trained, and the folder of finished ones."""

    tokenizer: ChatTokenizer
    graph: nnx.GraphDef
    start: nnx.State
    score_rows: scoring.ScoreRows
    # Names the start in the names of models.
    backbone: str
    folder: pathlib.Path
    # Tokens of a conversation; longer pairs are refused.
    longest: int = 256
    # Tokens of a row, pairs of a row, rows of a micro-batch.
    row_length: int = 256
    pairs_per_row: int = 8
    rows: int = 2


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained."""

    epochs: float
    batch: int
    rate: float
    seed: int = 0


def open_lab(folder: pathlib.Path, backbone: str) -> Lab:
    """A lab around a Hugging Face folder. Call it, and everything below, within `jax.set_mesh`."""
    home = assets.resolve(backbone)
    model = hf.load(home, Compute(dtype="float32", remat="none"), Layout(), init_head=True)
    graph, params = nnx.split(model, nnx.Param)
    # A model of some ten steps would mostly show which way its random head happened to point.
    start = jax.tree_util.tree_map_with_path(_without_head, params)
    weights = fingerprint.of_file(home / "model.safetensors")
    score_rows = scoring.make_score_rows(graph)
    return Lab(ChatTokenizer.load(home), graph, start, score_rows, weights, folder)


def _without_head(path: tuple, x: jax.Array) -> jax.Array:
    if optim.path_of(path) == "head":
        return jnp.zeros_like(x)
    return x


def tokens_of(lab: Lab, pairs: Sequence[PairText]) -> dict[str, TokenGroup]:
    """The token ids of pairs. Raises BadRecord for one that the lab cannot hold."""
    tokens = {}
    for pair in pairs:
        responses = [pair["response_a"], pair["response_b"]]
        group = Group(pair["pair_id"], pair["prompt"], responses, [], tools=pair["tools"])
        tokens[pair["pair_id"]] = prepare_whole(group, lab.tokenizer, lab.longest, "drop")
    return tokens


# ------------------------------------------------------------------ training


def fit(lab: Lab, recipe: Recipe, labels: Mapping[str, str], tokens: Tokens) -> str:
    """Train on labels ("a" or "b" by pair_id) unless that was done before; returns its name."""
    name = name_of(lab, recipe, labels)
    path = lab.folder / name / "params.npz"
    if not path.exists():
        chosen_first = [towards(tokens[pair_id], labels[pair_id]) for pair_id in sorted(labels)]
        params = parameters_after(lab, recipe, chosen_first)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
        _write(path, lambda file: np.savez(file, *leaves))
    return name


def name_of(lab: Lab, recipe: Recipe, labels: Mapping[str, str]) -> str:
    """The name of the model of these labels: a hash of all that made it."""
    shape = [lab.longest, lab.row_length, lab.pairs_per_row, lab.rows]
    return fingerprint.of_json(
        [lab.backbone, shape, dataclasses.asdict(recipe), sorted(labels.items())]
    )


def towards(tokens: TokenGroup, value: str) -> TokenGroup:
    """The pair with the better response first, as packing wants it."""
    if value == "a":
        return tokens
    return TokenGroup(tokens.prefix, tokens.suffixes[::-1])


def parameters_after(lab: Lab, recipe: Recipe, pairs: Sequence[TokenGroup]) -> nnx.State:
    """Parameters after the recipe's passes over `pairs`, the chosen response first.

    AdamW at a constant rate after WARMUP steps: the schedule of the paper's final runs, and one
    compiled step for sets of every size.
    """
    # The step overwrites its arguments.
    params = jax.tree.map(jnp.copy, lab.start)
    initial, accumulate, update = step_functions(lab, recipe.batch, recipe.rate)
    state = initial(params)
    for step in range(steps_for(len(pairs), recipe.batch, recipe.epochs)):
        total = zeros_like(params)
        indices = step_pairs(len(pairs), recipe.batch, recipe.seed, step)
        for micro_batch in micro_batches(lab, [pairs[i] for i in indices]):
            total = accumulate(total, params, place(micro_batch, Layout()))
        params, state, _ = update(params, state, total)
    return params


@functools.lru_cache(maxsize=4)
def step_functions(lab: Lab, batch: int, rate: float) -> tuple[Callable, Callable, Callable]:
    """`initial(params)`, and `accumulate` and `update` of `make_step`: compiled once for a lab."""
    schedule = optim.make_schedule(
        "constant", peak=rate, total_steps=WARMUP + 1, warmup_steps=WARMUP
    )
    optimizer = optim.make_optimizer(schedule, lab.start, clip_norm=1.0)
    loss = losses.get("bradley_terry")
    return jax.jit(optimizer.init), *make_step(lab.graph, loss, optimizer, batch)


def micro_batches(lab: Lab, pairs: Sequence[TokenGroup]) -> list[dict[str, np.ndarray]]:
    """The pairs of one step in packed rows, `lab.rows` at a time."""
    lengths = [len(pair.prefix) + sum(map(len, pair.suffixes)) for pair in pairs]
    rows = pack.plan_rows(lengths, lab.row_length, lab.pairs_per_row)
    # Every micro-batch has the same shape, so that one program is compiled.
    rows += [[] for _ in range(-len(rows) % lab.rows)]
    no = np.zeros(len(pairs))
    labels = {"margin": no, "target": no + 1, "tie": no}
    arrays = pack.pack_pairs(
        pairs, labels, rows, lab.row_length, lab.pairs_per_row, lab.tokenizer.pad_id
    )
    batches = []
    for start in range(0, len(rows), lab.rows):
        batches.append({name: x[start : start + lab.rows] for name, x in arrays.items()})
    return batches


# ------------------------------------------------------------------ asking


def rewards(lab: Lab, name: str, tokens: Tokens) -> dict[str, tuple[float, float]]:
    """Rewards of responses a and b by pair_id, kept beside the model."""
    ids = sorted(tokens)
    path = lab.folder / name / f"rewards-{fingerprint.of_json(ids)}.npy"
    if not path.exists():
        scored = scoring.score_groups(
            lab.score_rows,
            parameters(lab, name),
            [tokens[pair_id] for pair_id in ids],
            row_length=lab.row_length,
            rows=lab.rows,
            pairs_per_row=lab.pairs_per_row,
            pad_id=lab.tokenizer.pad_id,
            layout=Layout(),
        )
        _write(path, lambda file: np.save(file, np.stack(scored)))
    rewards_N2 = np.load(path)
    return {pair_id: (float(a), float(b)) for pair_id, (a, b) in zip(ids, rewards_N2, strict=True)}


@functools.lru_cache(maxsize=2)
def parameters(lab: Lab, name: str) -> Any:
    """A model's parameters, read back."""
    like, structure = jax.tree.flatten(lab.start)
    with np.load(lab.folder / name / "params.npz") as saved:
        leaves = []
        for number, leaf in enumerate(like):
            leaves.append(jax.device_put(saved[f"arr_{number}"], leaf.sharding))
    return jax.tree.unflatten(structure, leaves)


def _write(path: pathlib.Path, save: Callable[[Any], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path, many_writers=True) as part, open(part, "wb") as file:
        save(file)


# ------------------------------------------------------------------ plug-ins


class Models:
    """`train` and `load` of the curation loop, in a lab."""

    def __init__(self, lab: Lab, recipe: Recipe):
        self.lab, self.recipe = lab, recipe

    def train(self, ws: Workspace, training: Training) -> None:
        """Train on the labels. There is one checkpoint, so that none is chosen on gold."""
        pairs = ws.store.texts(sorted(training.labels))
        fit(self.lab, self.recipe, training.labels, tokens_of(self.lab, pairs))

    def load(self, ws: Workspace, training: Training) -> RewardModel:
        """The model of these labels."""
        name = name_of(self.lab, self.recipe, training.labels)
        return RewardModel(name, CONTRACT, functools.partial(self._rewards, name))

    def _rewards(
        self, name: str, pairs: Sequence[PairText]
    ) -> list[tuple[float, float] | BadRecord]:
        by_pair = rewards(self.lab, name, tokens_of(self.lab, pairs))
        return [by_pair[pair["pair_id"]] for pair in pairs]
