"""Rotary position embedding from explicit positions, so that tokens may lie in a row in any order.

Source: RoFormer (arXiv 2104.09864); number i of a head is paired with number i + H/2, as in the Hugging Face weights of Llama and Qwen.
"""

import jax.numpy as jnp
import numpy as np

from rewardjax.models.config import RopeScaling


def frequencies(head_dim: int, theta: float, scaling: RopeScaling | None) -> np.ndarray:
    """[H/2] float32, radians a position.

    With `scaling` (Llama 3.1): wavelengths longer than original_positions / low_freq_factor are stretched by `factor`, those shorter than
    original_positions / high_freq_factor kept, those between interpolated linearly in 1 / wavelength.
    Exponent, power and reciprocal are each rounded to float32, as in the transformers code that these models were trained with.
    """
    exponent = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequency = 1 / (theta ** exponent.astype(np.float64)).astype(np.float32)
    if scaling is None:
        return frequency
    turns = (
        scaling.original_positions * frequency / (2 * np.pi)
    )  # full turns within the original context
    kept = np.clip(
        (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor),
        0,
        1,
    )
    return (kept * frequency + (1 - kept) * frequency / scaling.factor).astype(np.float32)


def angles(positions_BT, frequency_H2):
    """cos, sin [B, T, 1, H/2] float32; the axis of size 1 stands for the heads."""
    angle = positions_BT[..., None, None].astype(jnp.float32) * frequency_H2
    return jnp.cos(angle), jnp.sin(angle)


def rotate(x_BTNH, cos, sin):
    """Turns pair i of every head by its angle, in float32; x's dtype out."""
    a, b = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BTNH.dtype)
