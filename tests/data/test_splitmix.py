"""One generator, in integers and in arrays, that never changes."""

import numpy as np

from rewardjax.data import splitmix
from rewardjax.data.world.draw import Draw

# The first outputs for seed 1234567, as published with the reference implementation in C
# (https://prng.di.unimi.it/splitmix64.c).
REFERENCE = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def test_integers_and_arrays_give_the_published_numbers():
    counters = [(1234567 + i * splitmix.STEP) % 2**64 for i in range(5)]
    assert [splitmix.splitmix64(counter) for counter in counters] == REFERENCE
    mixed = splitmix.splitmix64(np.array(counters, np.uint64))
    assert mixed.dtype == np.uint64 and mixed.tolist() == REFERENCE


def test_a_stream_is_the_generator_from_its_name():
    draw = Draw("a", 1)
    draw._state = 1234567
    assert [draw.bits() for _ in range(5)] == REFERENCE
    # Pinned: the text of the preference world is made of such draws.
    assert Draw("problem", "world-train-0-0-add").bits() == 15424949457359447075
