"""Checkpoints: what is restored is what was saved, on any mesh, and damage is noticed."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rewardjax.models import checkpoint


def make_state(mesh, spec, seed=0):
    rng = np.random.default_rng(seed)
    put = lambda x, s: jax.device_put(x, NamedSharding(mesh, s))
    return {
        "params": {
            "w": put(rng.normal(size=(256, 64)).astype(np.float32), spec),
            "b": put(jnp.arange(8, dtype=jnp.bfloat16), P()),
        },
        "opt": {"count": put(np.int32(7), P())},
    }


@pytest.fixture
def mesh():
    return jax.make_mesh((2, 4), ("data", "fsdp"))


def test_round_trip_onto_another_sharding(tmp_path, mesh):
    state = make_state(mesh, P("fsdp", None))
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 7, state, {"data": {"next": 7}})
    target = make_state(mesh, P(None, ("data", "fsdp")), seed=1)
    with checkpoint.open_manager(tmp_path) as manager:
        step, restored, meta = checkpoint.restore(manager, checkpoint.abstract(target))
    assert step == 7 and meta["data"] == {"next": 7}
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b), state, restored)
    assert restored["params"]["w"].sharding == target["params"]["w"].sharding


def test_fingerprint_ignores_layout_and_sees_every_bit(mesh):
    state = make_state(mesh, P("fsdp", None))
    host = jax.device_get(state)
    assert checkpoint.fingerprint(state) == checkpoint.fingerprint(
        make_state(mesh, P(None, "data"))
    )
    assert checkpoint.fingerprint(state) == checkpoint.fingerprint(jax.tree.map(jnp.asarray, host))
    rng, seen = np.random.default_rng(0), {checkpoint.fingerprint(state)}
    for flip in rng.choice(host["params"]["w"].size * 32, 30, replace=False):
        damaged = host["params"]["w"].copy()
        damaged.view(np.uint32).reshape(-1)[flip // 32] ^= np.uint32(1) << np.uint32(flip % 32)
        seen.add(
            checkpoint.fingerprint(
                jax.tree.map(jnp.asarray, host | {"params": host["params"] | {"w": damaged}})
            )
        )
    assert len(seen) == 31
    swapped = host["params"]["w"][::-1].copy()
    assert (
        checkpoint.fingerprint(
            jax.tree.map(jnp.asarray, host | {"params": host["params"] | {"w": swapped}})
        )
        not in seen
    )


def test_latest_and_best_are_kept(tmp_path, mesh):
    with checkpoint.open_manager(tmp_path, keep=1, best="accuracy") as manager:
        for step, accuracy in [(1, 0.5), (2, 0.9), (3, 0.6), (4, 0.7)]:
            checkpoint.save(manager, step, make_state(mesh, P()), {}, {"accuracy": accuracy})
        manager.wait_until_finished()
        assert sorted(manager.all_steps()) == [2, 4]


def damage(folder: pathlib.Path, step: int) -> None:
    """Flip one bit in the middle of the step's largest file, where the arrays are."""
    largest = max(
        (p for p in (folder / str(step) / "params").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 4
    largest.write_bytes(bytes(data))


def test_a_damaged_step_is_not_used(tmp_path, mesh):
    first, second = make_state(mesh, P("data"), seed=1), make_state(mesh, P("data"), seed=2)
    with checkpoint.open_manager(tmp_path) as manager:
        checkpoint.save(manager, 1, first, {})
        checkpoint.save(manager, 2, second, {})
    damage(tmp_path, 2)
    with checkpoint.open_manager(tmp_path) as manager:
        step, restored, _ = checkpoint.restore(manager, checkpoint.abstract(first))
        assert step == 1
        np.testing.assert_array_equal(restored["params"]["w"], first["params"]["w"])
        with pytest.raises(checkpoint.DamagedCheckpoint, match="step 2"):
            checkpoint.restore(manager, checkpoint.abstract(first), step=2)


def test_a_damaged_record_is_passed_over(tmp_path, mesh):
    state = make_state(mesh, P("data"))
    with checkpoint.open_manager(tmp_path) as manager:
        assert checkpoint.newest_meta(manager) is None
        for step in (1, 2):
            checkpoint.save(manager, step, state, {"bound": step})
    (record,) = [
        p
        for p in (tmp_path / "2" / "meta").rglob("*")
        if p.is_file() and '"bound"' in p.read_text(errors="ignore")
    ]
    record.write_text(record.read_text()[:20])
    with checkpoint.open_manager(tmp_path) as manager:
        assert checkpoint.newest_meta(manager)["bound"] == 1
        step, _, meta = checkpoint.restore(manager, checkpoint.abstract(state))
        assert step == 1 and meta["bound"] == 1
