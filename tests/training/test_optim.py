"""Schedules at their corners, and AdamW whose freezing, factors and decay do exactly what their
regexes say.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from rewardjax.models.trainable import path_of, paths, split
from rewardjax.training import optim


class Tiny(nnx.Module):
    def __init__(self):
        self.embed = nnx.Param(jnp.full((4, 3), 0.5))
        self.norm = nnx.Param(jnp.ones(3))
        self.layers = nnx.Linear(3, 3, rngs=nnx.Rngs(0))
        self.head = nnx.Param(jnp.full((3,), -0.25))


PARAMS = nnx.split(Tiny(), nnx.Param)[1]
PATHS = ["embed", "head", "layers/bias", "layers/kernel", "norm"]
GRADS = jax.tree.map(
    lambda p: jnp.sin(1.0 + jnp.arange(p.size, dtype=jnp.float32)).reshape(p.shape), PARAMS
)
CONSTANT = optim.make_schedule(peak=0.1, total_steps=10)


def named(tree):
    return {
        path_of(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def run(optimizer, steps=3, grads=GRADS, freeze=()):
    """Updates of the last of `steps` steps, by path, and the final optimizer state;

    compiled, as in training.
    """
    params, _ = split(PARAMS, optim.is_trainable(PARAMS, freeze))
    grads, _ = split(grads, optim.is_trainable(PARAMS, freeze))

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, updates

    state = optimizer.init(params)
    for _ in range(steps):
        params, state, updates = step(params, state)
    return named(updates), state


def test_paths_are_the_names_people_write():
    assert sorted(paths(PARAMS)) == PATHS
    assert paths({"decoder": {"layers": {"q": 1}}}) == ["decoder/layers/q"]
    assert paths(jax.eval_shape(lambda: PARAMS)) == paths(PARAMS)


@pytest.mark.parametrize("name, end", [("constant", 1.0), ("linear", 0.2), ("cosine", 0.2)])
def test_schedule_corners(name, end):
    schedule = optim.make_schedule(
        name, peak=2.0, total_steps=110, warmup_steps=10, end_fraction=0.2
    )
    lr = np.array([schedule(step) for step in range(120)])
    np.testing.assert_allclose(
        lr[:10], 2.0 * np.arange(1, 11) / 10, rtol=1e-6
    )  # no update is wasted at zero
    np.testing.assert_allclose(lr[10], 2.0, rtol=1e-6)
    np.testing.assert_allclose(lr[110:], 2.0 * end, rtol=1e-6)
    np.testing.assert_allclose(
        lr[60], 2.0 * (1 + end) / 2, rtol=1e-6
    )  # half way: the middle, for all three
    assert np.all(np.diff(lr[10:]) <= 1e-7)
    assert jax.jit(schedule)(jnp.int32(60)) == lr[60]


@pytest.mark.parametrize("warmup_steps", [0, 1, 7])
@pytest.mark.parametrize(
    "name, decay",
    [
        ("constant", lambda progress: 1.0),
        ("linear", lambda progress: 1 - 0.9 * progress),
        ("cosine", lambda progress: 0.1 + 0.9 * (1 + np.cos(np.pi * progress)) / 2),
    ],
)
def test_schedules_are_their_formulas(name, decay, warmup_steps):
    schedule = optim.make_schedule(
        name, peak=3e-4, total_steps=50, warmup_steps=warmup_steps, end_fraction=0.1
    )
    for count in range(60):
        if count < warmup_steps:
            expected = 3e-4 * (count + 1) / warmup_steps
        else:
            progress = min((count - warmup_steps) / (50 - warmup_steps), 1.0)
            expected = 3e-4 * decay(progress)
        np.testing.assert_allclose(schedule(count), expected, rtol=2e-6)


def test_warmup_fraction_is_warmup_steps():
    by_steps = optim.make_schedule("linear", peak=1.0, total_steps=200, warmup_steps=6)
    by_fraction = optim.make_schedule("linear", peak=1.0, total_steps=200, warmup_fraction=0.03)
    assert [by_steps(k) for k in (0, 5, 6, 100)] == [by_fraction(k) for k in (0, 5, 6, 100)]


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(name="step"), "unknown name 'step'.*constant, linear, cosine"),
        (dict(warmup_steps=1, warmup_fraction=0.1), "both set; set warmup_fraction = 0"),
        (dict(warmup_steps=10), "warmup_steps = 10 .* below the 10 steps"),
        (dict(warmup_fraction=1.0), "warmup_fraction"),
        (dict(end_fraction=1.5), "end_fraction"),
        (dict(peak=-1.0), "peak"),
    ],
)
def test_impossible_schedules_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        optim.make_schedule(**{"peak": 1.0, "total_steps": 10, **kwargs})


def test_plain_case_is_optax_adamw():
    ours, _ = run(
        optim.make_optimizer(
            CONSTANT,
            PARAMS,
            b1=0.8,
            b2=0.95,
            eps=1e-6,
            weight_decay=0.3,
            clip_norm=0.5,
            decay_exclude=(),
        )
    )
    optax_adamw = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(0.1, b1=0.8, b2=0.95, eps=1e-6, weight_decay=0.3),
    )
    theirs, _ = run(optax_adamw)
    for path in PATHS:
        np.testing.assert_allclose(ours[path], theirs[path], rtol=1e-6)


def test_weight_decay_spares_norms_and_biases_only():
    decayed, _ = run(optim.make_optimizer(CONSTANT, PARAMS, weight_decay=0.5), steps=1)
    plain, _ = run(optim.make_optimizer(CONSTANT, PARAMS), steps=1)
    params = named(PARAMS)
    for path in PATHS:
        expected = 0.0 if path in ("norm", "layers/bias") else -0.1 * 0.5 * params[path]
        np.testing.assert_allclose(
            decayed[path] - plain[path], np.broadcast_to(expected, params[path].shape), atol=1e-6
        )


def test_named_exclusions_replace_the_default():
    excluded, _ = run(
        optim.make_optimizer(CONSTANT, PARAMS, weight_decay=0.5, decay_exclude=("^head$",)), steps=1
    )
    plain, _ = run(optim.make_optimizer(CONSTANT, PARAMS), steps=1)
    same = {path for path in PATHS if np.array_equal(excluded[path], plain[path])}
    assert same == {"head", "layers/bias"}  # the bias is zero, so its decay is too


def test_frozen_parameters_get_no_update_and_no_state():
    freeze = ("^embed", "layers/")
    optimizer = optim.make_optimizer(
        CONSTANT, PARAMS, weight_decay=0.1, freeze=freeze, lr_factors=(("head", 3.0),)
    )
    updates, state = run(optimizer, freeze=freeze)
    assert sorted(updates) == ["head", "norm"]
    assert all(np.all(update != 0) for update in updates.values())
    moments = [path for path in paths(state) if "/mu/" in path or "/nu/" in path]
    assert sorted(path.rsplit("/", 1)[-1] for path in moments) == ["head", "head", "norm", "norm"]


def test_gradients_of_frozen_parameters_do_not_clip_the_others():
    huge = jax.tree_util.tree_map_with_path(
        lambda path, g: g * 1e6 if path_of(path) == "embed" else g, GRADS
    )
    # eps >> gradient: the update keeps the gradient's scale.
    sgd_like = dict(b1=0.0, b2=0.0, eps=1e3, clip_norm=1.0, freeze=("embed",))
    optimizer = optim.make_optimizer(CONSTANT, PARAMS, **sgd_like)
    with_huge, _ = run(optimizer, grads=huge, freeze=("embed",))
    without, _ = run(optimizer, freeze=("embed",))
    for path in with_huge:
        np.testing.assert_array_equal(with_huge[path], without[path])


@pytest.mark.parametrize("field", ["lr_factors", "decay_exclude"])
def test_a_regex_that_applies_to_frozen_parameters_only_is_refused(field):
    regexes = {"lr_factors": (("embed", 2.0),), "decay_exclude": ("embed",)}
    with pytest.raises(ValueError, match=f"{field}: 'embed' applies to no parameter"):
        optim.make_optimizer(CONSTANT, PARAMS, freeze=("embed",), **{field: regexes[field]})


def test_factors_scale_the_whole_update_and_the_first_match_decides():
    plain, _ = run(optim.make_optimizer(CONSTANT, PARAMS, weight_decay=0.2), steps=1)
    scaled, _ = run(
        optim.make_optimizer(
            CONSTANT, PARAMS, weight_decay=0.2, lr_factors=(("head", 10.0), (".", 0.5))
        ),
        steps=1,
    )
    for path in PATHS:
        np.testing.assert_allclose(
            scaled[path], plain[path] * (10.0 if path == "head" else 0.5), rtol=1e-6
        )


def test_first_moment_in_bfloat16():
    wide, _ = run(optim.make_optimizer(CONSTANT, PARAMS))
    narrow, state = run(optim.make_optimizer(CONSTANT, PARAMS, mu_dtype="bfloat16"))
    dtypes = {path: leaf.dtype for path, leaf in named(state).items()}
    assert {dtype for path, dtype in dtypes.items() if "/mu/" in path} == {jnp.dtype("bfloat16")}
    assert {dtype for path, dtype in dtypes.items() if "/nu/" in path} == {jnp.dtype("float32")}
    np.testing.assert_allclose(narrow["embed"], wide["embed"], rtol=0.02)


def test_clipping_can_be_turned_off():
    clipped, _ = run(optim.make_optimizer(CONSTANT, PARAMS, clip_norm=1e-3, eps=1e3), steps=1)
    free, _ = run(optim.make_optimizer(CONSTANT, PARAMS, clip_norm=None, eps=1e3), steps=1)
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in named(GRADS).values()))
    np.testing.assert_allclose(clipped["embed"], free["embed"] * 1e-3 / norm, rtol=1e-2)


@pytest.mark.parametrize(
    "field, value",
    [
        ("freeze", ("embd",)),
        ("lr_factors", (("embd", 2.0),)),
        ("decay_exclude", ("embd",)),
        ("lr_factors", ((".", 1.0), ("embed", 2.0))),
    ],
)
def test_a_regex_that_applies_to_nothing_is_an_error_that_lists_paths(field, value):
    with pytest.raises(
        ValueError, match=f"{field}: 'embe?d' applies to no parameter.*layers/kernel"
    ):
        optim.make_optimizer(CONSTANT, PARAMS, **{field: value})


def test_freezing_everything_or_giving_a_string_is_refused():
    with pytest.raises(ValueError, match="every parameter"):
        optim.make_optimizer(CONSTANT, PARAMS, freeze=(".",))
    with pytest.raises(ValueError, match="freeze: expected a sequence"):
        optim.make_optimizer(CONSTANT, PARAMS, freeze="embed")
