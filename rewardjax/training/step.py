"""The training step as two jitted functions: add a micro-batch to the running total, and apply the total of N pairs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

Batch = dict[str, jax.Array]
Total = dict[str, Any]  # gradients (as params) and sums over pairs, of the micro-batches so far


def make_step(
    graph: nnx.GraphDef, loss: Callable, optimizer: optax.GradientTransformation, pairs: int
) -> tuple[Callable, Callable]:
    """`accumulate(total, params, micro_batch) -> total` and `update(params, opt, total) -> params, opt, metrics`.

    The loss of a step is the mean over its `pairs` pairs: sums are divided by the global count, never by what a micro-batch or a
    device happens to hold.
    """

    def summed(params: Any, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        model = nnx.merge(graph, params)
        rewards_BS = model(
            batch["tokens"],
            batch["positions"],
            batch["see_from"],
            batch["see_to"],
            batch["score_at"],
        )
        chosen_BP = jnp.take_along_axis(rewards_BS, batch["chosen"], axis=1)
        rejected_BP = jnp.take_along_axis(rewards_BS, batch["rejected"], axis=1)
        per_pair_BP = loss(
            chosen_BP, rejected_BP, margin=batch["margin"], target=batch["target"], tie=batch["tie"]
        )
        weight_BP, delta_BP = batch["weight"], chosen_BP - rejected_BP
        total = lambda x_BP: jnp.sum(weight_BP * x_BP) / pairs
        mean_loss = total(per_pair_BP)
        return mean_loss, {
            "loss": mean_loss,
            "accuracy": total(delta_BP > 0),
            "ties": total(delta_BP == 0),
            "margin": total(delta_BP),
            "reward": total((chosen_BP + rejected_BP) / 2),
        }

    def accumulate(total: Total, params: Any, batch: Batch) -> Total:
        grads, sums = jax.grad(summed, has_aux=True)(params, batch)
        return jax.tree.map(jnp.add, total, {"grads": grads, "sums": sums})

    def update(params: Any, opt: Any, total: Total) -> tuple[Any, Any, dict[str, jax.Array]]:
        updates, opt = optimizer.update(total["grads"], opt, params)
        params = optax.apply_updates(params, updates)
        return params, opt, total["sums"] | {"grad_norm": optax.tree.norm(total["grads"])}

    return jax.jit(accumulate, donate_argnums=0), jax.jit(update, donate_argnums=(0, 1))


@jax.jit
def zeros_like(params: Any) -> Total:
    """The total before the first micro-batch."""
    return {
        "grads": jax.tree.map(jnp.zeros_like, params),
        "sums": {
            name: jnp.zeros((), jnp.float32)
            for name in ("loss", "accuracy", "ties", "margin", "reward")
        },
    }
