"""A step that gives other bits when it is computed again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import logged, tiny_config

from rewardjax.command.exit_codes import ExitCode
from rewardjax.models.checkpoints import checkpoints
from rewardjax.training import loop
from rewardjax.training.faults import silent_corruption


def flipped_on(device, array):
    """`array` with one bit flipped in the copy, or the part, that lies on `device`."""
    parts = []
    for shard in array.addressable_shards:
        part = np.asarray(shard.data).copy()
        if shard.device == device:
            part.reshape(-1).view(np.uint32)[0] ^= 1
        parts.append(jax.device_put(part, shard.device))
    return jax.make_array_from_single_device_arrays(array.shape, array.sharding, parts)


@pytest.mark.parametrize("spec", [jax.P("data"), jax.P()], ids=["sharded", "replicated"])
def test_a_flipped_bit_is_found_on_its_device(spec):
    mesh = jax.make_mesh((8,), ("data",))
    healthy = jax.device_put(jnp.arange(16.0), jax.NamedSharding(mesh, spec))
    culprit = jax.devices()[5]
    results = [{"w": healthy, "b": healthy}, {"w": healthy, "b": flipped_on(culprit, healthy)}]
    message = rf"step 7 .* on 1 of the 8 devices of process 0 differ \({culprit}\)"
    with pytest.raises(silent_corruption.Corrupted, match=message):
        silent_corruption.computed_twice(lambda: results.pop(0), 7)


def test_equal_results_are_passed_on():
    sharding = jax.NamedSharding(jax.make_mesh((8,), ("data",)), jax.P("data"))
    results = [{"w": jax.device_put(jnp.arange(16.0), sharding)} for _ in range(2)]
    second = results[1]
    assert silent_corruption.computed_twice(lambda: results.pop(0), 7) is second


def test_it_is_off_unless_asked_for():
    assert not any(silent_corruption.is_due(step) for step in range(100))
    assert [step for step in range(10) if step and silent_corruption.is_due(step, every=3)] == [
        3,
        6,
        9,
    ]


def test_a_run_is_the_same_with_it_and_ends_at_a_step_that_differs(tiny_run, tmp_path, monkeypatch):
    workdir, _, cache = tiny_run
    real, calls = loop.total_of, []

    def wrong_the_last_time(*args):
        total = real(*args)
        calls.append(total)
        # Steps 1 to 5 make 6 calls, since step 3 has two; then come the two of step 6.
        if len(calls) == 8:
            total["sums"]["loss"] = flipped_on(jax.devices()[0], total["sums"]["loss"])
        return total

    monkeypatch.setattr(loop, "total_of", wrong_the_last_time)
    with pytest.raises(silent_corruption.Corrupted, match="step 6 was computed twice") as ended:
        loop.run(tiny_config(cache, **{"recheck.every": 3}), tmp_path)
    assert ended.value.code == ExitCode.HANG
    whole = logged(workdir, "loss")
    # The metrics of step 5 were still to be fetched.
    assert logged(tmp_path, "loss") == {step: whole[step] for step in (1, 2, 3, 4)}
    assert checkpoints.steps_of(tmp_path / "checkpoints") == [2, 4]
