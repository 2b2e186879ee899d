"""The state of a pretraining run: one safetensors file that holds all that the next step needs.

Not the package's checkpoints: there is one process and one device's worth of weights, and a file
that numpy reads is what the export needs.
"""

import pathlib
from typing import Any

import jax
import numpy as np
from safetensors.numpy import load_file

from rewardjax.io import files
from rewardjax.models.hf_folder import write_tensors

STATE = "state.safetensors"


def _named(state: Any) -> dict[str, Any]:
    """{path: leaf} of a tree; the name that flax gives a variable's own array is left out."""
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        named[jax.tree_util.keystr(path).removesuffix(".value")] = leaf
    return named


def save_state(folder: pathlib.Path, state: Any, step: int) -> None:
    """Write parameters, optimizer state and the number of steps; whole or not at all."""
    arrays = {name: np.asarray(leaf) for name, leaf in _named(state).items()}
    with files.replacing(folder / STATE) as part:
        write_tensors(arrays | {"step": np.asarray(step)}, part)


def load_state(folder: pathlib.Path, state: Any) -> tuple[Any, int]:
    """(state, step) of the newest save, in the shape and on the devices of `state`.

    Raises ValueError when it was saved by a run of other sizes.
    """
    path = folder / STATE
    arrays, expected = load_file(path), _named(state)
    step = int(arrays.pop("step"))
    shapes = {name: array.shape for name, array in arrays.items()}
    if shapes != {name: leaf.shape for name, leaf in expected.items()}:
        raise ValueError(
            f"{path} was saved with other sizes or another optimizer; start in a new folder"
        )
    leaves = [jax.device_put(arrays[name], leaf.sharding) for name, leaf in expected.items()]
    return jax.tree.unflatten(jax.tree.structure(state), leaves), step


def decoder_weights(arrays: dict[str, np.ndarray], path: str) -> np.ndarray:
    """The array of the decoder's parameter `path` (decoder.a.b) in a file of `save_state`."""
    # The state is the pair (parameters, optimizer state), and parameters have decoder and probe.
    keys = "".join(f"['{key}']" for key in path.split(".")[1:])
    return arrays[f"[0]['decoder']{keys}"]
