"""The training step as two jitted functions: add a micro-batch to the total, apply the total.

A unit is what the loss gives one value for: a labeled pair, or a ranked group (`losses.Reads`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from rewardjax.models.trainable import join
from rewardjax.parallel.mesh import (
    added_up,
    own_of_data,
    weighted_sum,
    zero_to_add,
    zeros_to_add,
)
from rewardjax.training.faults.not_finite import SKIPPED
from rewardjax.training.losses import Loss

Batch = dict[str, jax.Array]
# Gradients, as the trainable part, and sums over units, of the micro-batches so far.
Total = dict[str, Any]
NOTHING = nnx.State({})  # the frozen part where everything is trained


class Outcomes(NamedTuple):
    """What loss and metrics of a micro-batch are made of: U units per row, each of C comparisons.

    A pair is one comparison; a ranked group has one for every two responses of different rank.
    """

    loss_BU: jax.Array
    delta_BUC: jax.Array  # reward of the better response minus that of the worse one
    share_BUC: jax.Array  # what part of its unit a comparison is: 0 for padding, else they sum to 1
    reward_BU: jax.Array  # mean over the unit's responses


def _mean_over_comparisons(outcomes: Outcomes, x_BUC: jax.Array) -> jax.Array:
    return jnp.sum(outcomes.share_BUC * x_BUC.astype(jnp.float32), axis=-1)


# The metrics of a step by name, each a value [B, U] per unit. A metric added here is averaged,
# summed over micro-batches and hosts, and written with the others.
METRICS: dict[str, Callable[[Outcomes], jax.Array]] = {
    "loss": lambda outcomes: outcomes.loss_BU,
    "accuracy": lambda outcomes: _mean_over_comparisons(outcomes, outcomes.delta_BUC > 0),
    "ties": lambda outcomes: _mean_over_comparisons(outcomes, outcomes.delta_BUC == 0),
    "margin": lambda outcomes: _mean_over_comparisons(outcomes, outcomes.delta_BUC),
    "reward": lambda outcomes: outcomes.reward_BU,
}


def _pairs(loss: Loss, rewards_BS: jax.Array, batch: Batch) -> Outcomes:
    """Outcomes of the labeled pairs in `batch`; U = P."""
    chosen_BP = jnp.take_along_axis(rewards_BS, batch["chosen"], axis=1)
    rejected_BP = jnp.take_along_axis(rewards_BS, batch["rejected"], axis=1)
    loss_BP = loss(chosen_BP, rejected_BP, **{name: batch[name] for name in loss.reads.labels})
    delta_BPC = (chosen_BP - rejected_BP)[..., None]
    return Outcomes(loss_BP, delta_BPC, jnp.ones_like(delta_BPC), (chosen_BP + rejected_BP) / 2)


def _groups(loss: Loss, rewards_BS: jax.Array, batch: Batch) -> Outcomes:
    """Outcomes of the ranked groups in `batch`; U = R, C = K * K, of which under half is real."""
    rows, groups = batch["weight"].shape
    # Arrays of a batch have two axes, so that sharding them needs one rule; here the groups come
    # apart.
    rewards_BRK = jnp.take_along_axis(rewards_BS, batch["ranked"], axis=1).reshape(rows, groups, -1)
    ranks_BRK = batch["ranks"].reshape(rows, groups, -1)
    loss_BR = loss(rewards_BRK, ranks=ranks_BRK)

    valid_BRK = ranks_BRK >= 0
    responses_BR = jnp.sum(valid_BRK, axis=-1)
    total_BR = jnp.sum(jnp.where(valid_BRK, rewards_BRK, 0), axis=-1)

    # [..., k, j]: response k is ranked above response j.
    better_BRKK = ranks_BRK[..., :, None] < ranks_BRK[..., None, :]
    better_BRKK &= valid_BRK[..., :, None]
    delta_BRKK = rewards_BRK[..., :, None] - rewards_BRK[..., None, :]
    better_BRC = better_BRKK.reshape(rows, groups, -1)
    comparisons_BR = jnp.sum(better_BRC, axis=-1, keepdims=True)
    return Outcomes(
        loss_BR,
        delta_BRKK.reshape(rows, groups, -1),
        # An empty place of a row has no comparison and no response: 0 / 1, not 0 / 0.
        better_BRC / jnp.maximum(comparisons_BR, 1).astype(jnp.float32),
        total_BR / jnp.maximum(responses_BR, 1).astype(jnp.float32),
    )


OUTCOMES: dict[str, Callable[[Loss, jax.Array, Batch], Outcomes]] = {
    "pairs": _pairs,
    "groups": _groups,
}


def make_step(
    graph: nnx.GraphDef, loss: Loss, optimizer: optax.GradientTransformation, units: int
) -> tuple[Callable, Callable]:
    """The two functions of a step, jitted.

    `accumulate(total, trainable, micro_batch, frozen) -> total` and
    `update(trainable, opt, total) -> trainable, opt, metrics`, over the parts that
    `trainable.split` makes of the parameters. `frozen` may be left out where everything is trained.
    An update that is not finite changes nothing but counts of steps (`faults/not_finite.py`).

    The loss of a step is the mean over its `units` pairs (ranked groups, where the loss reads
    those): sums are divided by the global count, never by what a micro-batch or a device happens to
    hold.
    """

    def summed(
        trainable: nnx.State, frozen: nnx.State, batch: Batch
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        model = nnx.merge(graph, join(trainable, frozen))
        rewards_BS = model(
            batch["tokens"],
            batch["positions"],
            batch["see_from"],
            batch["see_to"],
            batch["score_at"],
        )
        outcomes = OUTCOMES[loss.reads.unit](loss, rewards_BS, batch)
        # The weight is 0 for padding, whose rewards are those of whatever its slots point at.
        weight_BU = batch["weight"] / units
        sums = {name: weighted_sum(weight_BU, metric(outcomes)) for name, metric in METRICS.items()}
        return jnp.sum(weight_BU * outcomes.loss_BU), sums

    def accumulate(
        total: Total, trainable: nnx.State, batch: Batch, frozen: nnx.State = NOTHING
    ) -> Total:
        # With respect to the trainable part alone: the backward pass of a frozen weight is never
        # traced.
        own = jax.tree.map(own_of_data, trainable)
        grads, sums = jax.grad(summed, has_aux=True)(own, frozen, batch)
        return jax.tree.map(jnp.add, total, {"grads": grads, "sums": sums})

    def update(trainable: Any, opt: Any, total: Total) -> tuple[Any, Any, dict[str, jax.Array]]:
        total = over_all_devices(total)
        grads, sums = total["grads"], total["sums"]
        updates, next_opt = optimizer.update(grads, opt, trainable)
        grad_norm = optax.tree.norm(grads)
        # The update as well: moments that are finite may make one that is not.
        checked = jnp.stack([sums["loss"], grad_norm, optax.tree.norm(updates)])
        is_finite = jnp.all(jnp.isfinite(checked))
        trainable = _where(is_finite, optax.apply_updates(trainable, updates), trainable)
        metrics = {"grad_norm": grad_norm, SKIPPED: jnp.where(is_finite, 0.0, 1.0)}
        return trainable, _where(is_finite, next_opt, opt), sums | metrics

    # The total and the state are updated in place: a second copy of either would not fit beside
    # them.
    return jax.jit(accumulate, donate_argnums=0), jax.jit(update, donate_argnums=(0, 1))


def _where(is_finite: jax.Array, after: Any, before: Any) -> Any:
    """The state after an update where that is finite, else the one before it."""

    def choose(after: jax.Array, before: jax.Array) -> jax.Array:
        # Counts of steps go on, so that a schedule ends where the run does.
        if not jnp.issubdtype(after.dtype, jnp.floating):
            return after
        return jnp.where(is_finite, after, before)

    return jax.tree.map(choose, after, before)


@jax.jit
def zeros_like(trainable: nnx.State) -> Total:
    """The total before the first micro-batch, sharded as the parameters are."""
    return {
        "grads": jax.tree.map(zeros_to_add, trainable),
        "sums": {name: zero_to_add() for name in METRICS},
    }


@jax.jit
def over_all_devices(total: Total) -> Total:
    """A total in which each member of `data` has the gradients of its own rows, added up."""
    return jax.tree.map(added_up, total)
