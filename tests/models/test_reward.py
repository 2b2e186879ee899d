import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import reward, variants
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import AXES, Layout, make_mesh

CONFIG, EXACT = variants.get("tiny-llama"), Compute(dtype="float32")


@pytest.fixture(scope="module")
def model_and_score():
    """A model and its compiled function of a batch, on one device."""
    mesh = jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        model = reward.init(CONFIG, EXACT, Layout(), seed=0)
    run = jax.jit(
        lambda model, batch: (
            model(**batch),
            model.decoder(*(batch[k] for k in ("tokens", "positions", "see_from", "see_to"))),
        )
    )

    def score(batch):
        with jax.set_mesh(mesh):
            return jax.device_get(run(model, batch))

    return model, score


def test_the_reward_is_the_head_on_the_normalized_last_state(model_and_score, conversations):
    model, score = model_and_score
    rewards_BS, x_BTD = score(conversations)
    z_BSD = np.take_along_axis(x_BTD, conversations["score_at"][..., None], axis=1)
    np.testing.assert_allclose(
        rewards_BS, z_BSD @ np.asarray(model.head[...]), rtol=1e-5, atol=1e-6
    )


def test_a_mirrored_row_scores_like_its_conversations_apart(model_and_score, conversations):
    """Two responses around the prefix they share, and a row for each:

    contract 2 of docs/architecture.md, built by hand.
    """
    B, T = conversations["tokens"].shape
    rng = np.random.default_rng(3)
    n, m, k = 7, 9, 5
    c, p, r = (rng.integers(3, 512, size=length) for length in (n, m, k))
    own = np.arange(T)
    together = dict(
        tokens=np.concatenate([c[::-1], p, r, np.ones(T - n - m - k)]),
        positions=np.concatenate(
            [
                np.arange(m + n - 1, m - 1, -1),
                np.arange(m),
                np.arange(m, m + k),
                np.zeros(T - n - m - k),
            ]
        ),
        see_from=np.where(own < n, own, np.where(own < n + m + k, n, own)),
        see_to=np.where(own < n, n + m - 1, own),
        score_at=np.array([0, n + m + k - 1]),
    )

    def apart(tokens):
        valid = own < len(tokens)
        return dict(
            tokens=np.concatenate([tokens, np.ones(T - len(tokens))]),
            positions=own * valid,
            see_from=np.where(valid, 0, own),
            see_to=own,
            score_at=np.array([len(tokens) - 1] * 2),
        )

    rows = [together, apart(np.concatenate([p, c])), apart(np.concatenate([p, r]))] + [apart(p)] * (
        B - 3
    )
    rewards_BS, _ = score_rows(model_and_score[1], rows)
    np.testing.assert_allclose(
        rewards_BS[0], [rewards_BS[1, 0], rewards_BS[2, 0]], rtol=2e-6, atol=2e-6
    )
    assert abs(rewards_BS[0, 0] - rewards_BS[0, 1]) > 0.01


def score_rows(score, rows):
    return score({name: np.stack([row[name] for row in rows]).astype(np.int32) for name in rows[0]})


def test_init_is_the_same_on_every_mesh_and_nowhere_whole(model_and_score):
    with jax.set_mesh(make_mesh(data=1, fsdp=4, tensor=2)):
        split = reward.init(CONFIG, EXACT, Layout(), seed=0)
        other = reward.init(CONFIG, EXACT, Layout(), seed=1)
        abstract = reward.abstract(CONFIG, EXACT, Layout())
    for a, b, wanted in zip(
        *(jax.tree.leaves(tree) for tree in (model_and_score[0], split, abstract)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert (b.sharding, b.shape, b.dtype) == (wanted.sharding, wanted.shape, jnp.float32)
    gate = split.decoder.layers.mlp.gate[...]
    assert gate.addressable_shards[0].data.size * 8 == gate.size
    assert np.any(np.asarray(other.head[...]) != np.asarray(split.head[...]))


def test_layers_are_drawn_independently(model_and_score):
    gate_LDF = np.asarray(model_and_score[0].decoder.layers.mlp.gate[...])
    assert np.all(gate_LDF[0] != gate_LDF[1])
    assert np.std(gate_LDF) == pytest.approx(CONFIG.width**-0.5, rel=0.05)


def test_counting_needs_no_weights(one_device):
    assert (
        reward.count_parameters(reward.abstract(variants.get("llama3.1-8b"), EXACT, Layout())) > 7e9
    )
