"""Which parameters a run trains, chosen by a predicate on their paths.

The base for frozen layers and adapters. A frozen weight costs its own memory and nothing else: no
gradient is accumulated for it and the optimizer keeps no state for it, because neither of them ever
sees it. The parts are joined again wherever the whole model is needed: to run it, save it or score.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

IsTrainable = Callable[[str], bool]  # takes a path as `path_of` spells it


def path_of(key_path: Sequence[Any]) -> str:
    """Name of a leaf, such as `decoder/layers/attention/q`.

    Regular expressions in configs are matched against it.
    """
    # A parameter is a node of its own in the tree, whose one child is called `value`.
    return jax.tree_util.keystr(tuple(key_path), simple=True, separator="/").removesuffix("/value")


def paths(params: Any) -> list[str]:
    """Names of all leaves of a parameter tree, in tree order. A stack of layers is one leaf."""
    return [path_of(key_path) for key_path, _ in jax.tree_util.tree_leaves_with_path(params)]


def split(params: nnx.State, is_trainable: IsTrainable) -> tuple[nnx.State, nnx.State]:
    """The trainable and the frozen part of a parameter tree.

    Two trees that lack each other's leaves. A step differentiates only the first; the second is a
    constant to it:

        trainable, frozen = split(params, is_trainable)
        opt = optimizer.init(trainable)

        def loss(trainable, frozen, batch):
            model = nnx.merge(graph, join(trainable, frozen))
            ...

        grads = jax.grad(loss)(trainable, frozen, batch)  # a tree like `trainable`

    Raises ValueError when the predicate holds for no parameter.
    """
    trainable, frozen = nnx.split_state(
        params, lambda path, _: is_trainable("/".join(map(str, path))), ...
    )
    if not jax.tree.leaves(trainable):
        raise ValueError(
            f"every parameter is frozen; leave at least one of {', '.join(paths(params))} trainable"
        )
    return trainable, frozen


def join(trainable: nnx.State, frozen: nnx.State) -> nnx.State:
    """The whole tree again, in the order that it had.

    This is what is saved, scored and merged with the graph.
    """
    return nnx.merge_state(trainable, frozen)
