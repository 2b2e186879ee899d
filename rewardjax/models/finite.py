"""Weights that are no numbers are refused when they are loaded, by whoever loads them."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from rewardjax.models import trainable


def refuse_not_finite(params: Any, folder: pathlib.Path) -> None:
    """Raise ValueError for a weight that is not finite: a token that is rare may hide it.

    In training it would be the loss of a later step that is not finite, and point at the data or at
    the learning rate.
    """
    finite = jax.jit(lambda tree: jax.tree.map(lambda x: jnp.all(jnp.isfinite(x)), tree))(params)
    for path, is_finite in jax.tree_util.tree_leaves_with_path(finite):
        if not is_finite:
            raise ValueError(
                f"{folder}: the weight {trainable.path_of(path)} is not finite everywhere, so "
                "some rewards would be no numbers; fetch the model again"
            )
