"""However a model is run - scanned, rematerialized, in blocks, on any mesh - it is the same
function.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rewardjax.models import decoder, reward, variants
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import AXES, Layout, make_mesh, place

CONFIG = variants.get("tiny-qwen3")
QUICK = {"xla_backend_optimization_level": 0}  # these run for milliseconds: compiling is what costs
EXACT = dict(dtype="float32", remat="none", attention="dense")


def rewards_and_grads(compute, mesh, weights, batch):
    """Rewards [B, S] and the gradient of a Bradley-Terry loss that prefers slot 1, as numpy on
    the host.
    """
    with jax.set_mesh(mesh):
        layout = Layout()
        graph, abstract = nnx.split(reward.abstract(CONFIG, compute, layout), nnx.Param)
        params = jax.tree.map(
            lambda leaf, weight: jax.device_put(weight, leaf.sharding), abstract, weights
        )

        @functools.partial(jax.jit, compiler_options=QUICK)
        def run(params, batch):
            def loss(params):
                rewards_BS = nnx.merge(graph, params)(**batch)
                return jnp.mean(jax.nn.softplus(rewards_BS[:, 0] - rewards_BS[:, 1])), rewards_BS

            (_, rewards_BS), grads = jax.value_and_grad(loss, has_aux=True)(params)
            return rewards_BS, grads

        rewards_BS, grads = run(params, place(batch, layout))
        assert rewards_BS.dtype == jnp.float32
        for grad, param in zip(jax.tree.leaves(grads), jax.tree.leaves(params), strict=True):
            assert (
                grad.sharding == param.sharding
            )  # a gradient is split like its parameter, never whole
        return jax.device_get(rewards_BS), [np.asarray(leaf) for leaf in jax.tree.leaves(grads)]


@pytest.fixture(scope="module")
def single():
    return jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def weights(single):
    with jax.set_mesh(single):
        return jax.device_get(
            nnx.split(reward.init(CONFIG, Compute(), Layout(), seed=0), nnx.Param)[1]
        )


@pytest.fixture(scope="module")
def run(weights, conversations):
    return lambda compute, mesh: rewards_and_grads(compute, mesh, weights, conversations)


@pytest.fixture(scope="module")
def reference(run, single):
    return run(Compute(**EXACT), single)


def assert_same(got, wanted, tolerance=5e-6):
    """Largest difference relative to the largest entry, tensor by tensor."""
    for ours, theirs in zip([got[0], *got[1]], [wanted[0], *wanted[1]], strict=True):
        assert np.max(np.abs(ours - theirs)) <= tolerance * np.max(np.abs(theirs))


def test_the_reference_is_alive(reference):
    rewards, grads = reference
    assert np.std(rewards) > 0.1
    assert all(np.max(np.abs(grad)) > 1e-6 for grad in grads)


@pytest.mark.parametrize("remat", [name for name in decoder.REMAT if name != "none"])
def test_every_remat_policy_gives_the_same(remat, run, single, reference):
    assert_same(run(Compute(**EXACT | dict(remat=remat)), single), reference)


def test_remat_policies_save_what_they_say(single):
    """The fewer names a policy saves, the fewer numbers the forward pass hands to the backward
    pass.
    """
    shape = jax.ShapeDtypeStruct((4, 64), jnp.int32)
    with jax.set_mesh(single):

        def saved(remat):
            graph, params = nnx.split(
                reward.abstract(variants.get("tiny-qwen3"), Compute(remat=remat), Layout()),
                nnx.Param,
            )
            forward = lambda params, where: jnp.sum(
                nnx.merge(graph, params).decoder(where, where, where, where)
            )
            pull = jax.eval_shape(
                lambda params, where: jax.vjp(lambda p: forward(p, where), params)[1], params, shape
            )
            return sum(leaf.size for leaf in jax.tree.leaves(pull))

        sizes = [saved(remat) for remat in decoder.REMAT if remat != "offload"]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    "attention, kernel, backward", [("blocks", "while[", 1), ("splash", "pallas_call[", 2)]
)
def test_saving_attention_saves_running_its_kernel_again(attention, kernel, backward, single):
    """How many kernels the program of a gradient has:

    the forward one, again before the `backward` ones unless its output is saved.
    """
    shape = jax.ShapeDtypeStruct((2, 256), jnp.int32)

    def count(remat):
        with jax.set_mesh(single):
            compute = Compute(remat=remat, attention=attention)
            graph, params = nnx.split(
                reward.abstract(variants.get("tiny-qwen3", head_dim=64), compute, Layout()),
                nnx.Param,
            )
            loss = lambda params, where: jnp.sum(
                nnx.merge(graph, params).decoder(where, where, where, where)
            )
            return str(jax.make_jaxpr(jax.grad(loss))(params, shape)).count(kernel)

    forward = {remat: count(remat) - backward for remat in ("full", "attn_out", "none")}
    assert forward == {"full": 2, "attn_out": 1, "none": 1}


def test_the_last_layer_at_scored_tokens_is_the_whole_layer_there(single, weights, conversations):
    """`hidden` with and without scored tokens, for one layer and for more."""
    at = conversations["score_at"]
    for layers in (1, 2):
        with jax.set_mesh(single):
            config = dataclasses.replace(CONFIG, layers=layers)
            model = reward.init(config, Compute(**EXACT), Layout(), seed=1).decoder
            where = [conversations[name] for name in ("tokens", "positions", "see_from", "see_to")]
            some, every = jax.jit(
                lambda model, where, at: (model.hidden(*where, at), model.hidden(*where))
            )(model, where, at)
        np.testing.assert_allclose(
            some, np.take_along_axis(np.asarray(every), at[..., None], axis=1), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(
    "change", [dict(scan=False, remat="qkv"), dict(attention="blocks", remat="attn_out")], ids=str
)
def test_unrolled_and_in_blocks_give_the_same(change, run, single, reference):
    assert_same(run(Compute(**EXACT | change), single), reference)


@pytest.mark.parametrize("shape", [(8, 1, 1), (1, 8, 1), (2, 2, 2)], ids=str)
def test_one_device_equals_eight(shape, run, reference):
    assert_same(
        run(Compute(**EXACT | dict(remat="full")), make_mesh(*shape)), reference, tolerance=1e-5
    )


def test_bfloat16_is_close(run, single, reference):
    rewards, grads = run(Compute(), single)
    assert 0 < np.max(np.abs(rewards - reference[0])) < 0.05 * np.std(reference[0])
    for ours, exact in zip(grads, reference[1], strict=True):
        assert ours.dtype == np.float32
        assert np.linalg.norm(ours - exact) < 0.1 * np.linalg.norm(exact)


def test_unknown_policy_and_sizes_that_cannot_be_split_are_refused():
    with jax.set_mesh(make_mesh(data=1, fsdp=2, tensor=4)):
        with pytest.raises(ValueError, match="'everything'.*gate_up"):
            reward.abstract(variants.get("tiny-qwen3"), Compute(remat="everything"), Layout())
        with pytest.raises(ValueError, match="2 kv heads .*tensor=4"):
            reward.abstract(variants.get("tiny-qwen3"), Compute(), Layout())
