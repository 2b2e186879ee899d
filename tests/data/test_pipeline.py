"""Steps of exactly N pairs: the same pairs whatever the rows, hosts, threads and restarts."""

import random

import numpy as np
import pytest
import tiny_chat
from tiny_chat import pair_record, write_source

from rewardjax.data import pipeline
from rewardjax.data.pack import plan_rows
from rewardjax.data.plan import step_pairs
from rewardjax.data.prepare import prepare

CHAT = tiny_chat.make_tokenizer()
N, BATCH, SEED, STEPS = 50, 16, 3, 7  # two epochs and a bit; no batch ends where an epoch does
LAYOUT = {"rows": 4, "row_length": 256, "pairs_per_row": 3}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    generator = random.Random(0)
    text = lambda least, most: (
        "".join(generator.choices("abc ", k=generator.randint(least, most))) + "."
    )
    records = [
        pair_record(text(1, 60), text(1, 40), text(1, 40) + "!", margin=i / 10) for i in range(N)
    ]
    folder = tmp_path_factory.mktemp("pipeline")
    return prepare(
        source=write_source(folder / "a.jsonl", records),
        tokenizer=CHAT,
        cache=folder / "cache",
        max_length=256,
    )


def steps_of(data, first_step=0, num_steps=STEPS, **changes) -> list[pipeline.Step]:
    iterator = pipeline.train_steps(
        data,
        pairs=BATCH,
        seed=SEED,
        num_steps=num_steps,
        first_step=first_step,
        **{**LAYOUT, **changes},
    )
    steps = list(iterator)
    iterator.close()
    return steps


def conversations_of(batch) -> list[tuple]:
    """What the two scored slots of each pair see, and its labels, sorted; batch [B, ...]."""
    found = []
    for r, p in np.argwhere(batch["weight"] > 0):
        sides = []
        for name in ("chosen", "rejected"):
            at = batch["score_at"][r, batch[name][r, p]]
            keys = np.arange(batch["see_from"][r, at], batch["see_to"][r, at] + 1)
            sides.append(tuple(batch["tokens"][r, keys[np.argsort(batch["positions"][r, keys])]]))
        labels = (float(batch[name][r, p]) for name in ("target", "margin", "tie"))
        found.append((*sides, *labels))
    return sorted(found)


def rows_of(step) -> dict:
    """The micro-batches of a step, one after another."""
    return {name: array.reshape(-1, array.shape[-1]) for name, array in step.arrays.items()}


def joined(parts) -> list[pipeline.Step]:
    """The steps of several hosts as one host would have them;

    each host knows all units of a step.
    """
    steps = []
    for shares in zip(*parts, strict=True):
        for share in shares:
            np.testing.assert_array_equal(share.units, shares[0].units)
        arrays = {
            name: np.concatenate([share.arrays[name] for share in shares], axis=1)
            for name in shares[0].arrays
        }
        steps.append(pipeline.Step(shares[0].units, arrays))
    return steps


def assert_same(steps, others):
    for step, other in zip(steps, others, strict=True):
        np.testing.assert_array_equal(step.units, other.units)
        assert step.arrays.keys() == other.arrays.keys()
        for name, array in step.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)


@pytest.fixture(scope="module")
def steps(pairs):
    return steps_of(pairs)


@pytest.fixture(scope="module")
def truth(pairs):
    """Every pair as it is stored, in the form of `conversations_of`."""
    sides = [[(*pair.prefix, *suffix) for suffix in pair.suffixes] for pair in pairs.load(range(N))]
    return [
        (*sides[i], *map(float, (pairs.target[i], pairs.margin[i], pairs.tie[i]))) for i in range(N)
    ]


def test_a_step_holds_exactly_the_planned_pairs_whole(steps, truth):
    for k, step in enumerate(steps):
        planned = step_pairs(N, BATCH, SEED, k)
        assert step.units.tolist() == planned.tolist()
        assert step.arrays["weight"].sum() == BATCH
        assert conversations_of(rows_of(step)) == sorted(truth[i] for i in planned)


def test_an_epoch_is_every_pair_once(steps):
    order = np.concatenate([step.units for step in steps])
    assert len(order) == STEPS * BATCH
    assert set(np.bincount(order)) == {2, 3}  # 112 pairs of 50


def test_shapes_and_padding(steps):
    for arrays in (step.arrays for step in steps):
        count = len(arrays["tokens"])
        assert count >= 1
        for name in ("tokens", "positions", "see_from", "see_to"):
            assert arrays[name].shape == (count, 4, 256) and arrays[name].dtype == np.int32
        assert arrays["score_at"].shape == (count, 4, 6)
        assert arrays["chosen"].shape == arrays["weight"].shape == (count, 4, 3)
        assert (arrays["weight"].sum(axis=(1, 2)) > 0).all()  # no micro-batch is all padding
        empty = arrays["weight"].sum(axis=2) == 0
        assert (arrays["tokens"][empty] == CHAT.pad_id).all()


def test_a_step_has_as_many_micro_batches_as_its_tokens_fill(pairs):
    counts = []
    for step in steps_of(pairs, rows=1, pairs_per_row=BATCH):
        rows = plan_rows(pairs.lengths[step.units].sum(axis=1), 256, BATCH)
        assert len(step.arrays["tokens"]) == len(rows)
        counts.append(len(rows))
    assert len(set(counts)) > 1, "these steps shall differ, or the test shows nothing"


LAYOUTS = [
    {"rows": 1},
    {"rows": 32},
    {"row_length": 1024, "pairs_per_row": 16},
    {"pairs_per_row": 1},
    {"share": False, "row_length": 512},
]


@pytest.mark.parametrize("changes", LAYOUTS)
def test_the_layout_does_not_change_the_pairs(pairs, truth, changes):
    for k, step in enumerate(steps_of(pairs, **changes)):
        assert conversations_of(rows_of(step)) == sorted(
            truth[i] for i in step_pairs(N, BATCH, SEED, k)
        )


@pytest.mark.parametrize("hosts", [2, 4])
def test_hosts_together_hold_what_one_would(pairs, steps, hosts):
    parts = [steps_of(pairs, shard=(host, hosts)) for host in range(hosts)]
    assert_same(joined(parts), steps)


def test_a_host_reads_only_its_own_records(pairs, monkeypatch):
    read, load = [], type(pairs).load
    monkeypatch.setattr(
        type(pairs), "load", lambda self, indices: read.extend(indices) or load(self, indices)
    )
    (step,) = steps_of(pairs, num_steps=1, shard=(1, 2), threads=0)
    assert set(read) <= set(step.units)
    assert len(read) == step.arrays["weight"].sum() and 0 < len(read) < BATCH


def test_threads_change_nothing(pairs, steps):
    assert_same(steps_of(pairs, threads=0), steps)
    assert_same(steps_of(pairs, threads=4, prefetch=5), steps)


def test_a_step_number_is_the_whole_position(pairs, steps):
    iterator = pipeline.train_steps(pairs, pairs=BATCH, seed=SEED, num_steps=STEPS, **LAYOUT)
    for k in range(3):
        assert iterator.get_state() == {"next_index": k}
        next(iterator)
    state = iterator.get_state()
    assert_same(list(iterator), steps[3:])
    iterator.set_state(state)  # also backwards, with steps prefetched
    assert_same([next(iterator)], steps[3:4])
    iterator.close()
    resumed = steps_of(pairs, first_step=3)
    assert_same(resumed, steps[3:])
    halves = []
    for host in range(2):  # one host went, two came back
        iterator = pipeline.train_steps(
            pairs, pairs=BATCH, seed=SEED, num_steps=STEPS, shard=(host, 2), **LAYOUT
        )
        iterator.set_state(state)
        halves.append(list(iterator))
        iterator.close()
    assert_same(joined(halves), steps[3:])
    assert steps_of(pairs, first_step=STEPS) == []


def test_another_seed_is_another_order(pairs, steps):
    iterator = pipeline.train_steps(pairs, pairs=BATCH, seed=SEED + 1, num_steps=1, **LAYOUT)
    assert set(next(iterator).units) != set(steps[0].units)
    iterator.close()


def test_what_cannot_be_is_refused(pairs):
    with pytest.raises(ValueError, match=r"rows = 4, shard = \(0, 3\)"):
        steps_of(pairs, shard=(0, 3))
    with pytest.raises(ValueError, match=r"shard = \(2, 2\)"):
        steps_of(pairs, shard=(2, 2))
    longest, tokens = int(pairs.lengths.sum(1).argmax()), pairs.lengths.sum(1).max()
    with pytest.raises(
        ValueError,
        match=rf"row_length = 64: 48 of 50 .* pair {longest} \(record {longest} of a\).* {tokens} tokens",
    ):
        steps_of(pairs, row_length=64)
    with pytest.raises(IndexError):
        steps_of(pairs, first_step=STEPS + 1)
