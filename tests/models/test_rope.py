import jax.numpy as jnp
import numpy as np
import pytest

from rewardjax.models import rope, variants
from rewardjax.models.config import RopeScaling


def test_scores_of_rotated_vectors_depend_on_the_distance_only():
    q, k = np.random.default_rng(0).normal(size=(2, 1, 1, 1, 16)).astype(np.float32)
    frequency = rope.frequencies(16, 100.0, None)

    def score(at_q, at_k):
        turn = lambda x, at: rope.rotate(x, *rope.angles(jnp.array([[at]]), frequency))
        return float(jnp.sum(turn(q, at_q) * turn(k, at_k)))

    assert score(3, 1) == pytest.approx(score(40, 38), abs=1e-5)
    assert abs(score(3, 1) - score(3, 2)) > 1e-2
    assert score(0, 0) == pytest.approx(float(np.sum(q * k)), abs=1e-6)


def test_rotation_is_that_of_complex_numbers():
    x = np.random.default_rng(1).normal(size=(1, 5, 2, 8)).astype(np.float32)
    at = np.array([[4, 0, 2, 9, 1]])
    frequency = rope.frequencies(8, 10.0, None)
    z = (x[..., :4] + 1j * x[..., 4:]) * np.exp(1j * at[..., None, None] * frequency)
    np.testing.assert_allclose(
        rope.rotate(x, *rope.angles(at, frequency)), np.concatenate([z.real, z.imag], -1), atol=1e-6
    )


@pytest.mark.parametrize("name", ["llama3.1-8b", "llama3.2-1b", "tiny-llama"])
def test_llama3_scaling_is_that_of_transformers(name):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = variants.get(name)
    scaling = config.rope_scaling
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](
        transformers.LlamaConfig(
            hidden_size=config.width,
            num_attention_heads=config.heads,
            head_dim=config.head_dim,
            rope_parameters=dict(
                rope_type="llama3",
                rope_theta=config.rope_theta,
                factor=scaling.factor,
                low_freq_factor=scaling.low_freq_factor,
                high_freq_factor=scaling.high_freq_factor,
                original_max_position_embeddings=scaling.original_positions,
            ),
        ),
        "cpu",
    )
    np.testing.assert_allclose(
        rope.frequencies(config.head_dim, config.rope_theta, scaling), theirs.numpy(), rtol=1e-6
    )


def test_scaling_keeps_short_waves_and_stretches_long_ones():
    plain = rope.frequencies(64, 1e4, None)
    scaled = rope.frequencies(64, 1e4, RopeScaling(8.0, 1.0, 4.0, 1024))
    waves = 2 * np.pi / plain
    np.testing.assert_array_equal(scaled[waves < 1024 / 4], plain[waves < 1024 / 4])
    np.testing.assert_allclose(scaled[waves > 1024] * 8, plain[waves > 1024], rtol=1e-6)
    assert np.all(np.diff(scaled) < 0)
