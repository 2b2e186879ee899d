"""Model, loss and optimizer of pretraining. Letters as in models/: B rows, T tokens, D, V."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import PartitionSpec as P
from optax import contrib as muon

from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import ROWS, Layout
from rewardjax.tools.pretrain_world.tokenizer import VOCAB_SIZE

# The model is small: nothing has to be recomputed to fit in memory.
COMPUTE = Compute(dtype="float32", remat="none", scan=True)


def _data_parallel() -> Layout:
    """Rows over the devices, every weight on each of them: what fits one device needs no more."""
    specs = {}
    for field in dataclasses.fields(Layout):
        axes: list[str | tuple[str, ...] | None] = [None] * len(getattr(Layout, field.name))
        # The first axis of everything that has rows is the rows.
        if field.name.startswith(("act_B", "row_B", "lookup_B")):
            axes[0] = ROWS
        specs[field.name] = P(*axes)
    return Layout(**specs)


LAYOUT = _data_parallel()


def config_of(width: int, layers: int, heads: int, kv_heads: int, mlp_width: int) -> DecoderConfig:
    """A decoder of Qwen3's shape, with the world's vocabulary and a tied embedding."""
    return DecoderConfig(
        family="qwen3",
        vocab_size=VOCAB_SIZE,
        width=width,
        mlp_width=mlp_width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=32,
        rope_theta=10_000.0,
        norm_eps=1e-6,
        tied=True,
        max_positions=4096,
    )


def make_loss(graph: Any, wrong_weight: float) -> Callable[..., tuple[jax.Array, dict]]:
    """loss(params, batch) -> (scalar, its parts "text", "wrong" and "verdict").

    "text" is the weighted mean cross-entropy of the next token through the tied embedding; "wrong"
    the mean cross-entropy of a linear probe that says at each token of an answer whether it has
    gone wrong by then. The loss is text + wrong_weight * wrong. "verdict" is that part of the text
    loss whose tokens say right or wrong: it shows whether comparing is learned.
    """

    def loss(params, batch):
        model = nnx.merge(graph, params["decoder"])
        x_BTD = model(batch["tokens"], batch["positions"], batch["see_from"], batch["see_to"])
        # Position t predicts token t + 1; the last one has none to predict.
        logits_BTV = jnp.einsum("BTD,VD->BTV", x_BTD, model.embed[...])[:, :-1]
        nll_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, batch["tokens"][:, 1:])
        weights_BT = batch["weights"][:, 1:]
        text = _mean(nll_BT, weights_BT)

        probe_BT = jnp.einsum("BTD,D->BT", x_BTD, params["probe"]["w"]) + params["probe"]["b"]
        labels_BT = jnp.maximum(batch["wrong"], 0)
        labeled_BT = (batch["wrong"] >= 0).astype(jnp.float32)
        wrong = _mean(optax.sigmoid_binary_cross_entropy(probe_BT, labels_BT), labeled_BT)

        # Only verdicts have weights above one.
        verdict = _mean(nll_BT, weights_BT > 1)
        parts = {"text": text, "wrong": wrong, "verdict": verdict}
        return text + wrong_weight * wrong, parts

    return loss


def _mean(values: jax.Array, weights: jax.Array) -> jax.Array:
    """Weighted mean; zero where nothing has a weight."""
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1)


# For Muon, which axes of a stacked weight [layers, ...] are rows and columns of the matrix: heads
# and their width together are one side.
_AXES = muon.MuonDimensionNumbers
MATRICES = {
    "q": _AXES(1, (2, 3)),
    "k": _AXES(1, (2, 3)),
    "v": _AXES(1, (2, 3)),
    "o": _AXES((1, 2), 3),
    "gate": _AXES(1, 2),
    "up": _AXES(1, 2),
    "down": _AXES(1, 2),
}


def _matrix_axes(path: Any, leaf: Any) -> muon.MuonDimensionNumbers | None:
    """Axes of a leaf that Muon updates; None for one that AdamW does."""
    for key in path:
        name = getattr(key, "key", None)
        if name in MATRICES:
            return MATRICES[name]
    return None


def make_optimizer(
    learning_rate: float, steps: int, warmup: int, decay: int
) -> optax.GradientTransformation:
    """Muon for the matrices, AdamW for embedding and norms.

    Muon: Jordan 2024, with the update scaled as in arXiv 2502.16982, so that AdamW's rates apply.
    The rate is constant between a warmup and a decay to zero, so that a run can be prolonged from
    any state before the decay.
    """
    schedule = optax.join_schedules(
        [
            optax.linear_schedule(0.0, learning_rate, warmup),
            optax.constant_schedule(learning_rate),
            optax.linear_schedule(learning_rate, 0.0, decay),
        ],
        [warmup, steps - decay],
    )
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        muon.muon(
            schedule,
            muon_weight_dimension_numbers=lambda params: jax.tree_util.tree_map_with_path(
                _matrix_axes, params
            ),
            consistent_rms=0.2,
            weight_decay=0.05,
            adam_b2=0.98,
            adam_learning_rate=schedule,
        ),
    )
