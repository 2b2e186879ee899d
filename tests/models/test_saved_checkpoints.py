"""Checkpoints: what is restored is what was saved, on any mesh, damage costs a step at most."""

import json
import os
import pathlib
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rewardjax.models.checkpoints import checkpoints, record, tree_fingerprint
from rewardjax.models.checkpoints.checkpoints import (
    NoUsableCheckpoint,
    SaveFailed,
    abstract,
    open_checkpoints,
    reading,
)
from rewardjax.models.checkpoints.retention import Saved, superseded


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


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def save_steps(folder, mesh, *steps, keep=9):
    """Steps on disk, each with a state of its own; the states."""
    states = {step: make_state(mesh, P("data"), seed=step) for step in steps}
    with open_checkpoints(folder, keep=keep) as saving:
        for step, state in states.items():
            saving.save(step, state, {"bound": step})
        saving.settle()
    return states


def assert_restores(folder, states, step):
    with reading(folder) as saved:
        found, trees, meta = saved.restore(abstract(states[step]))
    assert found == meta["step"] == meta["bound"] == step
    jax.tree.map(np.testing.assert_array_equal, states[step], trees)


def test_round_trip_onto_another_sharding(folder, mesh):
    state = make_state(mesh, P("fsdp", None))
    with open_checkpoints(folder) as saving:
        saving.save(7, state, {"data": {"next": 7}})
        assert saving.settle() == 7 and saving.settle() is None
    target = make_state(mesh, P(None, ("data", "fsdp")), seed=1)
    with reading(folder) as saved:
        step, restored, meta = saved.restore(abstract(target))
    assert step == 7 and meta["data"] == {"next": 7}
    jax.tree.map(np.testing.assert_array_equal, state, restored)
    assert restored["params"]["w"].sharding == target["params"]["w"].sharding


def test_fingerprint_ignores_layout_and_sees_every_bit(mesh):
    of_tree = tree_fingerprint.of_tree
    state = make_state(mesh, P("fsdp", None))
    host = jax.device_get(state)
    assert of_tree(state) == of_tree(make_state(mesh, P(None, "data")))
    assert of_tree(state) == of_tree(jax.tree.map(jnp.asarray, host))

    def with_w(w):
        changed = host | {"params": host["params"] | {"w": w}}
        return of_tree(jax.tree.map(jnp.asarray, changed))

    rng, seen = np.random.default_rng(0), {of_tree(state)}
    for flip in rng.choice(host["params"]["w"].size * 32, 30, replace=False):
        damaged = host["params"]["w"].copy()
        damaged.view(np.uint32).reshape(-1)[flip // 32] ^= np.uint32(1) << np.uint32(flip % 32)
        seen.add(with_w(damaged))
    assert len(seen) == 31
    assert with_w(host["params"]["w"][::-1].copy()) not in seen


def test_latest_and_best_are_kept(folder, mesh):
    with open_checkpoints(folder, keep=1, best="accuracy") as saving:
        for step, accuracy in [(1, 0.5), (2, 0.9), (3, 0.6), (4, 0.7)]:
            saving.save(step, make_state(mesh, P()), {}, {"accuracy": accuracy})
        saving.settle()
    assert checkpoints.steps_of(folder) == [2, 4]


@pytest.mark.parametrize(
    "saved, keep, replaced",
    [
        ([Saved(1, True), Saved(2, True), Saved(3, True)], 2, [1]),
        ([Saved(1, True), Saved(2, False), Saved(3, False)], 1, []),
        ([Saved(1, False), Saved(2, True), Saved(3, False)], 1, [1]),
        ([Saved(1, True, 0.9), Saved(2, True, 0.1), Saved(3, True, 0.2)], 1, [2]),
        ([Saved(1, True, 0.9), Saved(2, True, 0.9), Saved(3, True, 0.2)], 1, [1]),
        ([Saved(1, True, 0.9), Saved(2, True), Saved(3, True)], 1, [2]),
        ([], 1, []),
    ],
)
def test_only_verified_steps_replace_others(saved, keep, replaced):
    assert sorted(superseded(saved, keep)) == replaced


# ------------------------------------------------------------------ damage


def largest_file(folder: pathlib.Path) -> pathlib.Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip_a_bit_of_the_arrays(folder, step):
    path = largest_file(folder / str(step) / "params")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def record_of(folder, step):
    (path,) = [
        p
        for p in (folder / str(step) / "meta").rglob("*")
        if p.is_file() and '"bound"' in p.read_text(errors="ignore")
    ]
    return path


def change_the_record(folder, step):
    path = record_of(folder, step)
    path.write_text(path.read_text().replace(f'"bound": {step}', '"bound": 77'))


def cut_the_record(folder, step):
    path = record_of(folder, step)
    path.write_text(path.read_text()[:20])


def remove_the_arrays(folder, step):
    shutil.rmtree(folder / str(step) / "params")


def empty_a_file(folder, step):
    largest_file(folder / str(step) / "params").write_bytes(b"")


def replace_by_a_copy_of_the_one_before(folder, step):
    shutil.rmtree(folder / str(step))
    shutil.copytree(folder / "2", folder / str(step))


def take_the_arrays_of_the_one_before(folder, step):
    shutil.rmtree(folder / str(step) / "params")
    shutil.copytree(folder / "2" / "params", folder / str(step) / "params")


DAMAGES = [
    flip_a_bit_of_the_arrays,
    change_the_record,
    cut_the_record,
    remove_the_arrays,
    empty_a_file,
    replace_by_a_copy_of_the_one_before,
    take_the_arrays_of_the_one_before,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_step_is_set_aside_and_the_run_goes_on(folder, mesh, damage, capsys):
    """What a run did before: it went on from step 2, and saved nothing more, because Orbax takes
    no step that is not above its latest; then it deleted step 2 and kept the damaged one.
    """
    states = save_steps(folder, mesh, 1, 2, 3)
    damage(folder, 3)
    assert_restores(folder, states, 2)
    assert checkpoints.steps_of(folder) == [1, 2, 3], "a reader changes nothing"
    capsys.readouterr()

    with open_checkpoints(folder, keep=1) as saved:
        assert saved.newest_meta()["bound"] in (2, 3)
        assert saved.restore(abstract(states[2]))[0] == 2
        assert "step 3 is damaged" in capsys.readouterr().err
        assert checkpoints.steps_of(folder) == [1, 2]
        saved.save(3, states[3], {"bound": 3})
        assert saved.settle() == 3
    assert checkpoints.steps_of(folder) == [3]
    assert (folder / "3.damaged").is_dir()
    assert_restores(folder, states, 3)


def test_a_reader_leaves_a_save_in_flight_alone(folder, mesh):
    """Opened as the trainer opens it, the folder was cleaned of what was being written."""
    states = save_steps(folder, mesh, 1)
    (folder / "2.orbax-checkpoint-tmp").mkdir()
    assert_restores(folder, states, 1)
    assert (folder / "2.orbax-checkpoint-tmp").is_dir()


def test_where_no_step_can_be_used_all_stay_where_they_are(folder, mesh):
    states = save_steps(folder, mesh, 1, 2)
    for step in (1, 2):
        flip_a_bit_of_the_arrays(folder, step)
    reasons = "step 2: `params` is not.*; step 1: "
    with open_checkpoints(folder) as saved, pytest.raises(NoUsableCheckpoint, match=reasons):
        saved.restore(abstract(states[1]))
    assert checkpoints.steps_of(folder) == [1, 2]


def test_a_step_that_is_named_has_no_other_in_its_place(folder, mesh):
    states = save_steps(folder, mesh, 1, 2)
    flip_a_bit_of_the_arrays(folder, 2)
    with reading(folder) as saved, pytest.raises(NoUsableCheckpoint, match="step 2: "):
        saved.restore(abstract(states[1]), step=2)


def test_an_emptied_folder_is_not_a_new_run(folder, mesh):
    save_steps(folder, mesh, 4)
    shutil.rmtree(folder / "4")
    reason = "step 4 was saved here and no checkpoint is"
    with open_checkpoints(folder) as saved, pytest.raises(NoUsableCheckpoint, match=reason):
        saved.newest_meta()
    folder.with_name(checkpoints.LAST_SAVED).unlink()
    with open_checkpoints(folder) as saved:
        assert saved.newest_meta() is None


@pytest.mark.parametrize("name", ["notes", "7.damaged", "8.orbax-checkpoint-tmp"])
def test_a_stray_folder_is_no_step(folder, mesh, name):
    states = save_steps(folder, mesh, 1)
    (folder / name).mkdir()
    assert_restores(folder, states, 1)


def test_a_pipe_in_a_step_is_damage_and_nobody_waits_for_it(folder, mesh):
    states = save_steps(folder, mesh, 1, 2)
    # Orbax reads it of every step when it opens the folder.
    (folder / "2" / "_CHECKPOINT_METADATA").unlink()
    os.mkfifo(folder / "2" / "_CHECKPOINT_METADATA")
    with pytest.raises(ValueError, match="a pipe, not a file"), reading(folder):
        pass
    with open_checkpoints(folder) as saved:
        assert saved.restore(abstract(states[1]))[0] == 1
    assert checkpoints.steps_of(folder) == [1] and (folder / "2.damaged").is_dir()


@pytest.mark.parametrize("text", ["[]", "NaN", "[" * 100_000])
def test_a_record_that_orbax_stumbles_over_is_damage_of_its_step(folder, mesh, text):
    states = save_steps(folder, mesh, 1, 2)
    (folder / "2" / "_CHECKPOINT_METADATA").write_text(text)
    with pytest.raises(ValueError, match="_CHECKPOINT_METADATA is not what was"), reading(folder):
        pass
    with open_checkpoints(folder) as saved:
        assert saved.restore(abstract(states[1]))[0] == 1
    assert checkpoints.steps_of(folder) == [1] and (folder / "2.damaged").is_dir()


def test_another_dtype_is_refused_in_a_sentence_and_is_no_damage(folder, mesh):
    """Orbax casts without a word, and the fingerprint then differs."""
    states = save_steps(folder, mesh, 1, 2)
    other = abstract(states[2])
    leaf = other["params"]["w"]
    narrow = jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16, sharding=leaf.sharding)
    other["params"]["w"] = narrow
    reason = r"\['w'\] was saved in float32 and would be restored in bfloat16"
    with open_checkpoints(folder) as saved, pytest.raises(record.OtherDtype, match=reason):
        saved.restore(other)
    assert checkpoints.steps_of(folder) == [1, 2]
    assert_restores(folder, states, 2)


# ------------------------------------------------------------------ saves that fail


def test_a_full_disk_is_one_sentence_and_the_next_save_is_made(folder, mesh, capfd):
    """It was 1,058 lines, most of them from threads of Orbax."""
    states = save_steps(folder, mesh, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_checkpoints(folder, keep=1) as saving:
        saving.restore(abstract(states[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
        try:
            with pytest.raises(SaveFailed) as failed:
                saving.save(2, states[1], {"bound": 2})
                saving.settle()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert f"{folder / '2'} could not be saved" in str(failed.value)
        assert "\n" not in str(failed.value)
        assert checkpoints.steps_of(folder) == [1], "the last one that was verified stays"
        saving.save(3, states[1], {"bound": 3})
        assert saving.settle() == 3
    assert "Traceback" not in capfd.readouterr().err


def test_a_step_that_is_there_already_is_not_said_to_be_saved(folder, mesh):
    states = save_steps(folder, mesh, 2)
    with open_checkpoints(folder) as saving:
        with pytest.raises(SaveFailed, match="step 2 is there already"):
            saving.save(2, states[2], {})
        assert saving.settle() is None


def test_what_is_read_back_otherwise_is_not_saved(folder, mesh, monkeypatch):
    """A disk that lies: the step is written, and then holds something else."""
    states = save_steps(folder, mesh, 1)
    with open_checkpoints(folder, keep=1) as saving:
        real = saving._manager.wait_until_finished
        saving.save(2, states[1], {"bound": 2})

        def written_wrongly():
            real()
            flip_a_bit_of_the_arrays(folder, 2)

        with monkeypatch.context() as patched:
            patched.setattr(saving._manager, "wait_until_finished", written_wrongly)
            with pytest.raises(SaveFailed, match="`params` was read back other than|could not be"):
                saving.settle()
    assert 1 in checkpoints.steps_of(folder)
    assert json.loads(folder.with_name(checkpoints.LAST_SAVED).read_text()) == {"step": 1}
    assert_restores(folder, states, 1)
