"""Checkpoints in a bucket: saved, read back, passed over where they are damaged."""

import jax
import jax.numpy as jnp
import pytest

from rewardjax.io import storage
from rewardjax.models.checkpoints.checkpoints import (
    COMMITTED,
    NoUsableCheckpoint,
    SaveFailed,
    abstract,
    open_checkpoints,
    reading,
    steps_of,
)

TREE = {"a": jnp.arange(8.0), "b": {"c": jnp.ones((2, 3))}}


def save(folder, steps, keep=3):
    with open_checkpoints(folder, keep=keep) as checkpoints:
        for step in steps:
            tree = jax.tree.map(lambda x, step=step: x + step, TREE)
            checkpoints.save(step, {"params": tree}, {"next_step": step})
            assert checkpoints.settle() == step


def test_steps_are_saved_restored_and_replaced(bucket_folder):
    folder = storage.path_of(bucket_folder) / "checkpoints"
    assert steps_of(folder) == []
    save(folder, (1, 2, 3), keep=2)
    assert steps_of(folder) == [2, 3]
    assert (folder.parent / "last_saved.json").read_text() == '{"step": 3}\n'
    with reading(folder) as saved:
        step, trees, meta = saved.restore({"params": abstract(TREE)})
    assert step == meta["next_step"] == 3
    assert jnp.array_equal(trees["params"]["a"], TREE["a"] + 3)


def test_a_damaged_step_is_set_aside_and_the_run_goes_on(bucket_folder):
    folder = storage.path_of(bucket_folder) / "checkpoints"
    save(folder, (1, 2))
    for file in storage.files_below(folder / "2" / "params"):
        if "/d/" in str(file):
            file.write_bytes(b"\0" * 100)
    with open_checkpoints(folder) as checkpoints:
        step, _, _ = checkpoints.restore({"params": abstract(TREE)})
        assert step == 1
        checkpoints.save(3, {"params": TREE}, {"next_step": 3})
        assert checkpoints.settle() == 3
    assert steps_of(folder) == [1, 3]
    assert "2.damaged" in storage.names_in(folder)


def test_a_save_that_was_cut_off_is_no_step(bucket_folder):
    folder = storage.path_of(bucket_folder) / "checkpoints"
    save(folder, (1, 2))
    # As if the process were killed before Orbax had made the last object of the step.
    (folder / "2" / COMMITTED).unlink()
    assert steps_of(folder) == [1]
    with open_checkpoints(folder) as checkpoints:
        assert checkpoints.restore({"params": abstract(TREE)})[0] == 1
        checkpoints.save(2, {"params": TREE}, {"next_step": 2})
        assert checkpoints.settle() == 2


def test_an_emptied_folder_of_a_run_is_not_a_new_one(bucket_folder):
    folder = storage.path_of(bucket_folder) / "checkpoints"
    save(folder, (1,))
    storage.remove(folder)
    with (
        pytest.raises(NoUsableCheckpoint, match="step 1 was saved here"),
        open_checkpoints(folder) as checkpoints,
    ):
        checkpoints.newest_meta()


def test_a_save_that_fails_is_told_with_its_address(bucket_folder, monkeypatch):
    folder = storage.path_of(bucket_folder) / "checkpoints"
    with open_checkpoints(folder) as checkpoints:
        monkeypatch.setattr(checkpoints, "_read_back", lambda saving: 1 / 0)
        checkpoints.save(1, {"params": TREE}, {"next_step": 1})
        with pytest.raises(SaveFailed, match=rf"{folder}/1 could not be saved: ZeroDivision"):
            checkpoints.settle()
