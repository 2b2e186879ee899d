"""Our side of the comparisons:

the path that `train.py` and `score.py` take, from the folder of tokens to updated weights or
rewards.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import load_file

from benchmarks import peer
from benchmarks.lengths import PAD
from benchmarks.sizes import Size
from rewardjax.data import pipeline
from rewardjax.data.pack import TokenGroup
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.models import hf, reward
from rewardjax.models.config import Compute
from rewardjax.models.hf_config import write_config
from rewardjax.parallel.mesh import Layout, place
from rewardjax.scoring import rows, shapes
from rewardjax.training import losses, optim
from rewardjax.training.step import make_step, over_all_devices, zeros_like

SEED = 0
LEARNING_RATE = 1e-4  # TRL's default
LAYOUT = Layout()


def init(size: Size, folder: pathlib.Path) -> Any:
    """Weights that the peer draws for a new model and leaves in `folder`, loaded as ours."""
    folder.mkdir(parents=True)
    text = write_config(
        size.model,
        dtype="float32",
        pad_token_id=PAD,
        eos_token_id=size.model.vocab_size - 1,
        bos_token_id=None,
    )
    (folder / "config.json").write_text(text)
    peer.draw(folder, SEED)
    return load(size, folder)


def load(size: Size, folder: pathlib.Path) -> Any:
    """The parameters in a Hugging Face folder."""
    return nnx.split(hf.load(folder, Compute(dtype=size.dtype), LAYOUT), nnx.Param)[1]


def split(size: Size, remat: str) -> tuple[nnx.GraphDef, Any]:
    """The model's description and the shapes of its parameters."""
    return nnx.split(
        reward.abstract(size.model, Compute(dtype=size.dtype, remat=remat), LAYOUT), nnx.Param
    )


@functools.cache
def compiled(size: Size, remat: str) -> tuple[Callable, Callable, Callable]:
    """init of the optimizer state, accumulate and update, as `train.py` makes them:

    compiled once for all the data they are run on.
    """
    graph, params = split(size, remat)
    optimizer = optim.make_optimizer(
        optim.make_schedule(peak=LEARNING_RATE, total_steps=size.steps + 1), params, clip_norm=1.0
    )
    return jax.jit(optimizer.init), *make_step(
        graph, losses.get("bradley_terry"), optimizer, size.pairs
    )


def trainer(size: Size, params: Any, pairs: TokenizedPairs, remat: str) -> Callable[[], None]:
    """A function that takes the next optimizer step over the pairs that `plan.step_pairs` names,
    each time it is called.
    """
    init_optimizer, accumulate, update = compiled(size, remat)
    params, opt = jax.tree.map(jnp.copy, params), init_optimizer(params)
    steps = batches(size, pairs)

    def step() -> None:
        nonlocal params, opt
        params, opt, metrics = update(
            params, opt, _accumulated(accumulate, params, next(steps).arrays)
        )
        jax.block_until_ready((params, metrics))

    return step


def batches(size: Size, pairs: TokenizedPairs) -> Any:
    """The packed micro-batches of each step, packed in the caller's thread, where the peer's
    batches are made too.
    """
    return pipeline.train_steps(
        pairs,
        pairs=size.pairs,
        seed=SEED,
        rows=size.rows * jax.sharding.get_mesh().size,
        row_length=size.row_length,
        pairs_per_row=size.pairs_per_row,
        num_steps=size.steps + 1,
        threads=0,
    )


def gradients(
    size: Size, params: Any, pairs: TokenizedPairs, folder: pathlib.Path
) -> dict[str, np.ndarray]:
    """Gradients of the first step's loss under the names that Hugging Face gives the weights
    (written to `folder` on the way).
    """
    total = _accumulated(compiled(size, size.remat)[1], params, next(batches(size, pairs)).arrays)
    hf.save(
        nnx.merge(split(size, size.remat)[0], over_all_devices(total)["grads"]),
        folder,
        pad_token_id=PAD,
        eos_token_id=size.model.vocab_size - 1,
    )
    return {
        name: tensor
        for file in folder.glob("model*.safetensors")
        for name, tensor in load_file(file).items()
    }


def row_shape(size: Size) -> shapes.RowShape:
    """The rows that a size is trained in, over all devices."""
    return shapes.RowShape(
        size.row_length, size.rows * jax.sharding.get_mesh().size, size.pairs_per_row
    )


def scorer(
    size: Size, params: Any, shape: shapes.RowShape
) -> Callable[[Sequence[TokenGroup]], list[np.ndarray]]:
    """A function from token groups to the rewards [K] of each."""
    score_rows = rows.make_score_rows(split(size, "none")[0])

    def score(groups: Sequence[TokenGroup]) -> list[np.ndarray]:
        return rows.score_groups(
            score_rows,
            params,
            groups,
            **shape._asdict(),
            pad_id=PAD,
            layout=LAYOUT,
        )

    return score


def _accumulated(
    accumulate: Callable, params: Any, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    total = zeros_like(params)
    for m in range(len(arrays["tokens"])):
        total = accumulate(total, params, place({name: x[m] for name, x in arrays.items()}, LAYOUT))
    return total
