"""Frozen weights are constants of the step:

no gradient and no optimizer state, and the whole model stays the whole model.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rewardjax.models import reward, variants
from rewardjax.models.checkpoints import tree_fingerprint
from rewardjax.models.config import Compute
from rewardjax.models.trainable import join, paths, split
from rewardjax.parallel.mesh import Layout, place


def only_head_and_mlp(path):
    return path == "head" or "/mlp/" in path


@pytest.fixture
def model(one_device):
    return nnx.split(
        reward.init(
            variants.get("tiny-qwen3"), Compute(dtype="float32", remat="full"), Layout(), seed=0
        ),
        nnx.Param,
    )


def mean_reward(graph, params, batch):
    return jnp.mean(nnx.merge(graph, params)(**batch))


def test_the_parts_are_chosen_by_path_and_join_to_the_whole_in_its_order(model):
    _, params = model
    trainable, frozen = split(params, only_head_and_mlp)
    assert paths(trainable) == [
        "decoder/layers/mlp/down",
        "decoder/layers/mlp/gate",
        "decoder/layers/mlp/up",
        "head",
    ]
    assert sorted(paths(trainable) + paths(frozen)) == paths(params)
    whole = join(trainable, frozen)
    assert jax.tree.structure(whole) == jax.tree.structure(params)
    assert tree_fingerprint.of_tree(whole) == tree_fingerprint.of_tree(params)


def test_gradients_of_the_trainable_part_are_those_of_the_whole(model, conversations):
    graph, params = model
    batch = place(conversations, Layout())
    trainable, frozen = split(params, only_head_and_mlp)
    part = jax.jit(jax.grad(lambda part, rest, batch: mean_reward(graph, join(part, rest), batch)))(
        trainable, frozen, batch
    )
    whole = jax.jit(jax.grad(lambda params, batch: mean_reward(graph, params, batch)))(
        params, batch
    )
    assert paths(part) == paths(trainable)
    expected, _ = split(whole, only_head_and_mlp)
    for a, b in zip(jax.tree.leaves(part), jax.tree.leaves(expected), strict=True):
        assert np.linalg.norm(b) > 0
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_backward_pass_of_a_frozen_stack_accumulates_nothing_for_it(model, conversations):
    """In the whole traced program, scans included, no sum has the shape of a frozen weight's
    gradient.
    """
    graph, params = model
    trainable, frozen = split(params, only_head_and_mlp)
    batch = place(conversations, Layout())

    def carried_or_stacked_by_scans(is_trainable):
        part, rest = split(params, is_trainable)
        jaxpr = jax.make_jaxpr(jax.grad(lambda part: mean_reward(graph, join(part, rest), batch)))(
            part
        )
        return [
            out.aval.shape
            for equation in jaxpr.eqns
            if equation.primitive.name == "scan"
            for out in equation.outvars
        ]

    # The scan of the first L - 1 of 2 layers stacks the gradients of their weights: q is [1, D, N,
    # H].
    config = variants.get("tiny-qwen3")
    gradient_of_q = (1, config.width, config.heads, config.head_dim)
    assert gradient_of_q in carried_or_stacked_by_scans(lambda path: True)
    assert gradient_of_q not in carried_or_stacked_by_scans(only_head_and_mlp)


def test_the_optimizer_keeps_no_state_for_a_frozen_weight(model):
    _, params = model
    trainable, _ = split(params, lambda path: path == "head")
    numbers = sum(leaf.size for leaf in jax.tree.leaves(optax.adamw(1e-3).init(trainable)))
    # First and second moment of the head, and the count of steps.
    assert numbers == 2 * params["head"].get_value().size + 1


def test_a_predicate_that_trains_nothing_is_refused(model):
    _, params = model
    with pytest.raises(ValueError, match="every parameter is frozen.*decoder/layers/attention/q"):
        split(params, lambda path: False)
