"""A reward model: a decoder and one linear head, read at the last token of every response."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.models.decoder import Decoder, normal
from rewardjax.parallel.mesh import Layout, gathered


class RewardModel(nnx.Module):
    """The reward of a response: a scalar head on the hidden state of its last token.

    Which token that is comes from the lengths that were packed, never from looking for a special
    token: rewards are the same with any padding and packing.
    """

    def __init__(self, config: DecoderConfig, compute: Compute, layout: Layout, *, rngs: nnx.Rngs):
        self.decoder = Decoder(config, compute, layout, rngs=rngs)
        self.head = new_head(config, layout, rngs)

    def __call__(self, tokens, positions, see_from, see_to, score_at, also_from=None, also_to=None):
        """rewards_BS float32, one for every slot of `score_at` [B, S] (indices into the row).

        The other arguments are [B, T], and all are int32. The last two are of rows of trees alone.
        """
        also = None
        if also_from is not None:
            also = also_from, also_to
        x_BSD = self.decoder.hidden(tokens, positions, see_from, see_to, score_at, also)
        # The final norm and the head stay float32: in bfloat16 rewards that differ by less than one
        # part in 256 would become ties.
        z_BSD = self.decoder.normalized(x_BSD)
        return jnp.einsum("BSD,D->BS", z_BSD, gathered(self.head[...]), precision="highest")


def new_head(config: DecoderConfig, layout: Layout, rngs: nnx.Rngs) -> nnx.Param:
    """head_D ~ N(0, 1 / (D + 1)): first rewards of unit size (as in arXiv 2009.01325)."""
    return normal(rngs, layout, "head_D", (config.width,), (config.width + 1) ** -0.5)


def init(config: DecoderConfig, compute: Compute, layout: Layout, seed: int) -> RewardModel:
    """A model with random weights on the current mesh, the same weights on every mesh.

    No device ever holds more than its part.
    """
    return _init(config, compute, layout, jax.random.key(seed))


# Compiled, so that each weight is drawn where it will lie instead of whole on one device.
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _init(config, compute, layout, key):
    return RewardModel(config, compute, layout, rngs=nnx.Rngs(params=key))


def abstract(config: DecoderConfig, compute: Compute, layout: Layout) -> RewardModel:
    """The same model with jax.ShapeDtypeStruct leaves that carry shardings.

    It costs nothing, and serves restoring and checks.
    """
    model = jax.eval_shape(lambda: RewardModel(config, compute, layout, rngs=nnx.Rngs(params=0)))
    # eval_shape leaves shardings over the abstract mesh, onto which nothing can be restored.
    mesh = jax.sharding.get_mesh()
    concrete = lambda leaf: jax.ShapeDtypeStruct(
        leaf.shape, leaf.dtype, sharding=jax.sharding.NamedSharding(mesh, leaf.sharding.spec)
    )
    return jax.tree.map(concrete, model)


def count_parameters(params: Any) -> int:
    """How many numbers a model holds, head included, or a part of its parameters.

    The parameters may be abstract.
    """
    return sum(leaf.size for leaf in jax.tree.leaves(params))
