"""Meshes and batches that the model tests share."""

import jax
import numpy as np
import pytest

from rewardjax.parallel.mesh import AXES


@pytest.fixture
def one_device():
    """A mesh of one device, current during the test."""
    with jax.set_mesh(jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])) as mesh:
        yield mesh


@pytest.fixture(scope="session")
def conversations():
    """8 rows:

    one conversation of its own length each, padding after it; slots 0 and 1 score its middle and
    its last token.
    """
    rng = np.random.default_rng(0)
    B, T = 8, 24
    lengths = rng.integers(5, T + 1, size=B)
    lengths[0] = T
    own = np.tile(np.arange(T), (B, 1))
    valid = own < lengths[:, None]
    batch = dict(
        tokens=np.where(valid, rng.integers(3, 512, size=(B, T)), 1),
        positions=np.where(valid, own, 0),
        see_from=np.where(valid, 0, own),
        see_to=own,
        score_at=np.stack([lengths // 2, lengths - 1], axis=1),
    )
    return {name: array.astype(np.int32) for name, array in batch.items()}
