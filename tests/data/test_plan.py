"""The batch plan:

epochs are permutations, steps are slices of them, and the numbers never change.
"""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardjax.data import plan


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 300), batch=st.integers(1, 50), seed=st.integers(0, 2**63))
def test_steps_are_slices_of_one_sequence_of_permutations(n, batch, seed):
    epochs = [plan.step_pairs(n, n, seed, epoch) for epoch in range(3)]  # one step = one epoch
    for epoch in epochs:
        assert sorted(epoch) == list(range(n))
    sequence = np.concatenate(epochs)
    for step in range(len(sequence) // batch):
        np.testing.assert_array_equal(
            plan.step_pairs(n, batch, seed, step), sequence[step * batch : (step + 1) * batch]
        )


def test_one_epoch_covers_a_large_set_exactly_once():
    n = 100_003  # prime: no batch divides it
    steps = [plan.step_pairs(n, 1024, 5, step) for step in range(plan.steps_for(n, 1024, 1))]
    assert np.array_equal(np.sort(np.concatenate(steps)[:n]), np.arange(n))


def test_forty_million_pairs_cost_no_more_than_the_batch():
    a, b = (plan.step_pairs(40_000_000, 4096, 0, step) for step in (7, 1_000_000))
    assert (
        a.dtype == np.int64 and len(set(a) | set(b)) > 8000 and max(a.max(), b.max()) < 40_000_000
    )


def test_seeds_and_epochs_give_unrelated_orders():
    orders = [
        plan.step_pairs(2000, 2000, seed, epoch)
        for seed, epoch in itertools.product(range(4), range(4))
    ]
    for a, b in itertools.combinations([np.arange(2000), *orders], 2):
        assert (a == b).sum() < 12  # one fixed point is expected by chance
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.12  # about 5 standard deviations
    # Neighbors in the order are unrelated too, which a linear scramble would not manage.
    assert abs(np.corrcoef(orders[0][1:], orders[0][:-1])[0, 1]) < 0.12


def test_all_orders_of_four_are_equally_likely():
    epochs = plan.step_pairs(4, 4 * 24 * 100, 0, 0).reshape(-1, 4)
    counts = collections.Counter(map(tuple, epochs.tolist()))
    assert len(counts) == 24
    assert (
        sum((count - 100) ** 2 / 100 for count in counts.values()) < 50
    )  # chi square, 23 degrees of freedom: p = 0.001


def test_the_order_is_pinned():
    """Other numbers here would change the data order of every run that is resumed, and make
    results impossible to reproduce.
    """
    assert plan.step_pairs(10, 10, 0, 0).tolist() == [2, 0, 5, 1, 4, 6, 7, 8, 3, 9]
    assert plan.step_pairs(1_000_000, 4, 42, 1000).tolist() == [717676, 178943, 946005, 741539]


def test_epochs_to_steps():
    assert plan.steps_for(100, 10, 1) == 10
    assert plan.steps_for(101, 10, 1) == 11
    assert plan.steps_for(100, 10, 0.5) == 5


@pytest.mark.parametrize("arguments", [(0, 1, 0, 0), (1, 0, 0, 0), (1, 1, -1, 0), (1, 1, 0, -1)])
def test_senseless_arguments_are_refused(arguments):
    with pytest.raises(ValueError):
        plan.step_pairs(*arguments)
