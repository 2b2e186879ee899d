"""Rotary position embedding from explicit positions, so that tokens may lie in any order in a row.

Source: RoFormer (arXiv 2104.09864). Number i of a head is paired with number i + H/2, as in the
Hugging Face weights of Llama and Qwen; the paper pairs neighbors.
"""

import jax.numpy as jnp
import numpy as np

from rewardjax.models.config import RopeScaling


def frequencies(head_dim: int, theta: float, scaling: RopeScaling | None) -> np.ndarray:
    """Radians per position, [H/2] float32: theta ** (-2 i / H) for pair i.

    With `scaling` (Llama 3.1): wavelengths longer than original_positions / low_freq_factor are
    stretched by `factor`, those shorter than original_positions / high_freq_factor kept, those
    between interpolated linearly in 1 / wavelength.
    """
    # Exponent, power and reciprocal are each rounded to float32, as in the transformers code that
    # these models were trained with: at position 10,000 a last bit of difference is visible.
    exponent = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequency = 1 / (theta ** exponent.astype(np.float64)).astype(np.float32)
    if scaling is None:
        return frequency
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    turns_in_context = scaling.original_positions * frequency / (2 * np.pi)
    # 1 for a pair that turned often within the original context and so knows its neighborhood well,
    # 0 for one that never completed a turn and would meet angles that it has not been trained on.
    kept = np.clip((turns_in_context - low) / (high - low), 0, 1)
    return (kept * frequency + (1 - kept) * frequency / scaling.factor).astype(np.float32)


def angles(positions_BT, frequency_H2):
    """Cosine and sine [B, T, 1, H/2] float32; the axis of size 1 stands for the heads."""
    # In bfloat16 positions beyond 256 would no longer be whole numbers.
    position_BT11 = positions_BT[..., None, None].astype(jnp.float32)
    angle = position_BT11 * jnp.asarray(frequency_H2)[None, None, None, :]
    return jnp.cos(angle), jnp.sin(angle)


def rotate(x_BTNH, cos, sin):
    """Turns pair i of every head by its angle, in float32; x's dtype out."""
    a, b = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BTNH.dtype)
