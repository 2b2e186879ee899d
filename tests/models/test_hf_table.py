import operator

import jax
import numpy as np
import pytest

from rewardjax.models import families, reward, variants
from rewardjax.models.config import Compute
from rewardjax.models.hf_table import (
    names,
    sizes,
    their_shape,
    their_slices,
    to_ours,
    to_theirs,
)
from rewardjax.parallel.mesh import Layout

# The rows of all families, each once: most are shared.
ROWS = sorted(
    {rule for family in families.FAMILIES.values() for rule in family.rules},
    key=lambda rule: rule.path,
)


def row_of(path):
    """The row of our parameter `path`."""
    return next(rule for rule in ROWS if rule.path == path)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_the_table_covers_every_parameter_with_its_shape(name, one_device):
    config = variants.get(f"tiny-{name}")
    model = reward.abstract(config, Compute(), Layout())
    rules, size = families.get(name).rules, sizes(config)
    assert len(rules) == len(jax.tree.leaves(model))
    for rule in rules:
        shape = operator.attrgetter(rule.path)(model).get_value().shape
        assert shape == ((config.layers,) if rule.stacked else ()) + tuple(
            size[letter] for letter in rule.ours
        )
        assert np.prod(their_shape(rule, size)) * len(names(rule, config.layers)) == np.prod(shape)


@pytest.mark.parametrize("rule", ROWS, ids=lambda rule: rule.path)
def test_there_and_back_is_the_same_and_blocks_are_cut_alike(rule):
    """Converting a block read from their tensor = cutting the block out of the converted tensor,
    for every half of the first axes.
    """
    size = {"V": 10, "D": 8, "F": 12, "N": 4, "K": 2, "H": 6, "1": 1}
    theirs = np.random.default_rng(0).normal(size=their_shape(rule, size))
    ours = to_ours(rule, theirs, size)
    assert ours.shape == tuple(size[letter] for letter in rule.ours)
    np.testing.assert_array_equal(to_theirs(rule, ours, size), theirs)
    for axis, letter in enumerate(rule.ours):
        if letter == "H" and rule.ours != "H":
            continue
        for half in (slice(0, size[letter] // 2), slice(size[letter] // 2, None)):
            block = tuple(half if i == axis else slice(None) for i in range(len(rule.ours)))
            np.testing.assert_array_equal(
                to_ours(rule, theirs[their_slices(rule, block, size)], size), ours[block]
            )


def test_projections_multiply_as_torch_does():
    """y = x W^T in theirs is the einsum in ours, head n being outputs n H .. (n + 1) H."""
    size = {"V": 10, "D": 8, "F": 12, "N": 4, "K": 2, "H": 6, "1": 1}
    rule = row_of("decoder.layers.attention.q")
    x, theirs = (
        np.random.default_rng(1).normal(size=8),
        np.random.default_rng(2).normal(size=(24, 8)),
    )
    np.testing.assert_allclose(
        np.einsum("D,DNH->NH", x, to_ours(rule, theirs, size)), (theirs @ x).reshape(4, 6)
    )


def test_a_split_inside_an_axis_of_theirs_is_refused():
    size = {"D": 8, "N": 4, "H": 6, "1": 1}
    rule = row_of("decoder.layers.attention.q")
    with pytest.raises(ValueError, match="attention.q.*H.*q_proj"):
        their_slices(rule, (slice(None), slice(None), slice(0, 3)), size)
