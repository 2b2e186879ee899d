"""One decoder for all families: pre-norm blocks of rotary grouped-query attention and a gated mlp.

Parameters are float32 and cast to the compute dtype before they are gathered, so that what devices
exchange is the smaller type. Only the last layer knows which tokens are scored: they alone need its
queries and its mlp, while every token gives it a key and a value. How families differ inside a
block is written in families/.

Letters: B rows, T tokens, S scored tokens, D width, F mlp width, N query heads, K kv heads, H head
width, V vocabulary, L layers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from rewardjax.kernels.attention import attend
from rewardjax.models import families, rope
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import Layout, for_rows, gathered

_save = jax.checkpoint_policies.save_only_these_names
# What a layer saves for the backward pass besides its input, from least to most memory; the rest is
# recomputed.
REMAT = {
    # Not even its input, which waits in the host's memory.
    "offload": jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=["layer_input"],
        offload_src="device",
        offload_dst="pinned_host",
    ),
    "full": _save(),
    # Attention's output and log-sum-exp: its kernel, the dearest part, does not run twice.
    "attn_out": _save("attn_out"),
    "qkv": _save("attn_out", "qkv"),
    "gate_up": _save("attn_out", "qkv", "gate_up"),
    "none": None,  # no recomputation at all
}


class Queries(NamedTuple):
    """What attention needs to know of the tokens that ask, besides their states."""

    cos: jax.Array  # [B, T, 1, H/2] float32, see rope.angles
    sin: jax.Array
    see_from: jax.Array  # [B, T] int32, the interval of keys each sees
    see_to: jax.Array
    also: tuple[jax.Array, jax.Array] | None = None  # the ends of a second one, see `attend`


def pick(x, at_BS):
    """Tokens at_BS of x [B, T, ...]: [B, S, ...]."""
    # Not x[arange(B), at]: on an explicit mesh an index array over a sharded axis is refused.
    return jnp.take_along_axis(x, at_BS.reshape(*at_BS.shape, *[1] * (x.ndim - 2)), axis=1)


def normal(
    rngs: nnx.Rngs, layout: Layout, name: str, shape: tuple[int, ...], std: float
) -> nnx.Param:
    """A parameter drawn from N(0, std**2), laid out as `layout.<name>` says."""
    return nnx.Param(
        std * jax.random.normal(rngs.params(), shape, out_sharding=layout.spec(name, shape))
    )


def constant(layout: Layout, name: str, shape: tuple[int, ...], value: float) -> nnx.Param:
    """A parameter that starts at the same value everywhere, laid out as `layout.<name>` says."""
    return nnx.Param(jnp.full(shape, value, jnp.float32, out_sharding=layout.spec(name, shape)))


def rms_norm(x, scale_BD, eps: float):
    """Root mean square normalization, x / rms(x) * scale over the last axis (arXiv 1910.07467).

    In float32 whatever x [B, ..., D] is; `scale_BD` has the same scale for every row.
    """
    x = x.astype(jnp.float32)
    scale = jnp.expand_dims(scale_BD, range(1, x.ndim - 1))
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps) * scale


class Attention(nnx.Module):
    """Grouped-query attention (arXiv 2305.13245): N / K query heads share each key and value head.

    Its family decides whether projections have biases and whether queries and keys are normalized.
    """

    def __init__(self, config: DecoderConfig, compute: Compute, layout: Layout, *, rngs: nnx.Rngs):
        self.config, self.compute, self.layout = config, compute, layout
        family = families.get(config.family)
        D, N, K, H = config.width, config.heads, config.kv_heads, config.head_dim
        self.q = normal(rngs, layout, "q_DNH", (D, N, H), D**-0.5)
        self.k = normal(rngs, layout, "kv_DKH", (D, K, H), D**-0.5)
        self.v = normal(rngs, layout, "kv_DKH", (D, K, H), D**-0.5)
        # Each layer adds twice to the residual stream; the factor 2 L keeps the sum of unit size.
        self.o = normal(rngs, layout, "o_NHD", (N, H, D), (N * H * 2 * config.layers) ** -0.5)
        if family.qkv_bias:
            self.q_bias = constant(layout, "q_NH", (N, H), 0.0)
            self.k_bias = constant(layout, "kv_KH", (K, H), 0.0)
            self.v_bias = constant(layout, "kv_KH", (K, H), 0.0)
        if family.qk_norm:
            self.q_norm = constant(layout, "norm_H", (H,), 1.0)
            self.k_norm = constant(layout, "norm_H", (H,), 1.0)

    def __call__(self, x_BTD, queries: Queries, at_BS=None):
        """What attention adds to every token [B, T, D], or to tokens `at_BS` alone [B, S, D]."""
        config, layout, dtype = self.config, self.layout, x_BTD.dtype
        family = families.get(config.family)
        whole = lambda param: gathered(param[...].astype(dtype))
        asking_BSD, asking = x_BTD, queries
        if at_BS is not None:
            asking_BSD, asking = jax.tree.map(lambda x: pick(x, at_BS), (x_BTD, queries))
        q = jnp.einsum("BSD,DNH->BSNH", asking_BSD, whole(self.q), out_sharding=layout.act_BTNH)
        k = jnp.einsum("BTD,DKH->BTKH", x_BTD, whole(self.k), out_sharding=layout.act_BTKH)
        v = jnp.einsum("BTD,DKH->BTKH", x_BTD, whole(self.v), out_sharding=layout.act_BTKH)
        if family.qkv_bias:
            bias = lambda param: param[...].astype(dtype)[:, None]  # [B, 1, N, H]: for all tokens
            q, k, v = q + bias(self.q_bias), k + bias(self.k_bias), v + bias(self.v_bias)
        # Before the rotation, as these models were trained: after it the scale would not commute.
        if family.qk_norm:
            q = rms_norm(q, self.q_norm[...], config.norm_eps).astype(dtype)
            k = rms_norm(k, self.k_norm[...], config.norm_eps).astype(dtype)
        q, k = rope.rotate(q, asking.cos, asking.sin), rope.rotate(k, queries.cos, queries.sin)
        q, k, v = (checkpoint_name(a, "qkv") for a in (q, k, v))
        backend = self.compute.attention
        o = attend(q, k, v, asking.see_from, asking.see_to, backend, asking.also)
        return jnp.einsum("BSNH,NHD->BSD", o, whole(self.o), out_sharding=layout.act_BTD)


class Mlp(nnx.Module):
    """The gated feed-forward layer SwiGLU (arXiv 2002.05202): (silu(x gate) * x up) down."""

    def __init__(self, config: DecoderConfig, layout: Layout, *, rngs: nnx.Rngs):
        self.layout = layout
        D, F = config.width, config.mlp_width
        self.gate = normal(rngs, layout, "up_DF", (D, F), D**-0.5)
        self.up = normal(rngs, layout, "up_DF", (D, F), D**-0.5)
        self.down = normal(rngs, layout, "down_FD", (F, D), (F * 2 * config.layers) ** -0.5)

    def __call__(self, x_BTD):
        """What the layer adds to every token [B, T, D]."""
        layout = self.layout
        whole = lambda param: gathered(param[...].astype(x_BTD.dtype))
        gate = jnp.einsum("BTD,DF->BTF", x_BTD, whole(self.gate), out_sharding=layout.act_BTF)
        up = jnp.einsum("BTD,DF->BTF", x_BTD, whole(self.up), out_sharding=layout.act_BTF)
        # Named before the activation: silu is cheap to repeat, and its input serves its gradient.
        gate, up = checkpoint_name(gate, "gate_up"), checkpoint_name(up, "gate_up")
        gated = jax.nn.silu(gate) * up
        return jnp.einsum("BTF,FD->BTD", gated, whole(self.down), out_sharding=layout.act_BTD)


class Block(nnx.Module):
    """A layer: attention, then the mlp, each on a normalized copy of what it adds to."""

    def __init__(self, config: DecoderConfig, compute: Compute, layout: Layout, *, rngs: nnx.Rngs):
        self.eps = config.norm_eps
        self.attention_norm = constant(layout, "norm_D", (config.width,), 1.0)
        self.attention = Attention(config, compute, layout, rngs=rngs)
        self.mlp_norm = constant(layout, "norm_D", (config.width,), 1.0)
        self.mlp = Mlp(config, layout, rngs=rngs)

    def __call__(self, x_BTD, queries: Queries, at_BS=None):
        """Every token's state after the layer [B, T, D], or that of tokens `at_BS` alone."""
        dtype = x_BTD.dtype
        x_BSD = x_BTD
        if at_BS is not None:
            x_BSD = pick(x_BTD, at_BS)
        with jax.named_scope("attention"):
            # All tokens are normalized, not only those that ask: the others give keys and values.
            y_BTD = rms_norm(x_BTD, self.attention_norm[...], self.eps).astype(dtype)
            x_BSD = x_BSD + self.attention(y_BTD, queries, at_BS)
        with jax.named_scope("mlp"):
            y_BSD = rms_norm(x_BSD, self.mlp_norm[...], self.eps).astype(dtype)
            return x_BSD + self.mlp(y_BSD)


class Decoder(nnx.Module):
    """Token ids to hidden states.

    Raises ValueError for an unknown remat policy or family, or sizes that the current mesh cannot
    split.
    """

    def __init__(self, config: DecoderConfig, compute: Compute, layout: Layout, *, rngs: nnx.Rngs):
        if compute.remat not in REMAT:
            raise ValueError(f"remat={compute.remat!r}; choose one of {tuple(REMAT)}")
        self.config, self.compute, self.layout = config, compute, layout
        self.embed = normal(
            rngs, layout, "embed_VD", (config.vocab_size, config.width), config.width**-0.5
        )
        # One stack instead of L modules: every leaf gets a leading [L], a scan compiles one layer.
        self.layers = jax.vmap(lambda r: Block(config, compute, layout, rngs=r))(
            rngs.split(config.layers)
        )
        self.norm = constant(layout, "norm_D", (config.width,), 1.0)

    def __call__(self, tokens_BT, positions_BT, see_from_BT, see_to_BT):
        """x_BTD after the final norm, in compute dtype.

        All arguments are int32; docs/architecture.md says what they mean.
        """
        x_BTD = self.hidden(tokens_BT, positions_BT, see_from_BT, see_to_BT)
        return self.normalized(x_BTD).astype(x_BTD.dtype)

    def normalized(self, x):
        """The final norm of states x [B, ..., D], in float32."""
        (norm_BD,) = for_rows(self.norm[...][None], x.shape[0])
        return rms_norm(x, norm_BD, self.config.norm_eps)

    def hidden(self, tokens_BT, positions_BT, see_from_BT, see_to_BT, at_BS=None, also=None):
        """x_BTD before the final norm, in compute dtype.

        Given `at_BS`, only x_BSD of those tokens, for less work. `also`: the ends [B, T] of a
        second interval that each token sees.
        """
        # On TPU and GPU a float32 product is by default rounded to fewer bits, which would make a
        # model in float32 no more exact than one in bfloat16.
        precision = "default"
        if self.compute.dtype == "float32":
            precision = "highest"
        with jax.default_matmul_precision(precision):
            frequency_H2 = rope.frequencies(
                self.config.head_dim, self.config.rope_theta, self.config.rope_scaling
            )
            angles = rope.angles(positions_BT, frequency_H2)
            queries = Queries(*angles, see_from_BT, see_to_BT, also)
            x_BTD, layers = self._look_up(tokens_BT), self._cast_layers(tokens_BT.shape[0])
            if at_BS is None:
                return self._run(layers, x_BTD, queries)
            x_BTD = self._run(jax.tree.map(lambda leaf: leaf[:-1], layers), x_BTD, queries)
            # The last layer, for the scored tokens alone. Its backward pass comes next, so there is
            # nothing to gain from recomputing it.
            return jax.tree.map(lambda leaf: leaf[-1], layers)(x_BTD, queries, at_BS)

    def _run(self, layers, x_BTD, queries):
        layer = self._remat(lambda x, block: block(checkpoint_name(x, "layer_input"), queries))
        if self.compute.scan:
            return jax.lax.scan(lambda x, block: (layer(x, block), None), x_BTD, layers)[0]
        # The depth of this stack, which may lack the last layer.
        for i in range(jax.tree.leaves(layers)[0].shape[0]):
            x_BTD = layer(x_BTD, jax.tree.map(lambda leaf, i=i: leaf[i], layers))
        return x_BTD

    def _cast_layers(self, rows: int):
        """The layers in compute dtype, with norms, which stay float32, and biases for each row."""

        # All at once: a slice of the stacked weights is a copy, and this makes it one of the
        # smaller type.
        def cast(path, leaf):
            name = jax.tree_util.keystr(path)
            if "norm" in name:
                return for_rows(leaf, rows)
            leaf = leaf.astype(self.compute.dtype)
            if "bias" in name:
                return for_rows(leaf, rows)
            return leaf

        return jax.tree_util.tree_map_with_path(cast, self.layers)

    def _look_up(self, tokens_BT):
        # Each device reads its columns of the table for the rows of its whole fsdp group; then rows
        # are exchanged for columns, in compute dtype. The read itself stays float32: its gradient
        # adds up many uses of a token.
        tokens_BT = jax.reshard(tokens_BT, self.layout.lookup_BT)
        x_BTD = self.embed[...].at[tokens_BT].get(out_sharding=self.layout.lookup_BTD)
        return jax.reshard(x_BTD.astype(self.compute.dtype), self.layout.act_BTD)

    def _remat(self, layer):
        policy = REMAT[self.compute.remat]
        if policy is None:
            return layer
        # Inside a scan the compiler cannot merge the recomputation with the first pass anyway, so
        # the barriers that prevent it would only cost.
        return jax.checkpoint(layer, policy=policy, prevent_cse=not self.compute.scan)
