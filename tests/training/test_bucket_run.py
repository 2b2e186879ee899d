"""A run whose workdir is an address: the same run as on a disk, killed or not."""

import json
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from tiny import ROOT, logged, tiny_config

from rewardjax import export
from rewardjax.command import owner
from rewardjax.io import storage
from rewardjax.models.checkpoints import checkpoints
from rewardjax.scoring import model as scorer
from rewardjax.training import loop
from rewardjax.training import records as records_of


@pytest.fixture
def workdir(bucket_folder):
    return storage.path_of(bucket_folder) / "run"


def losses(workdir):
    """The loss of every step of a run, wherever it is."""
    with storage.copied(workdir) as folder:
        return logged(folder, "loss")


def fingerprints(workdir):
    """The fingerprints of the last step's parameters and optimizer state."""
    folder = storage.path_of(workdir) / "checkpoints"
    with checkpoints.reading(folder) as saved:
        return saved.read_meta(checkpoints.steps_of(folder)[-1])["fingerprints"]


def test_a_run_in_a_bucket_is_the_run_on_a_disk(tiny_run, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    local, summary, _ = tiny_run
    cache = f"{workdir.parent}/cache"
    there = loop.run(tiny_config(cache), str(workdir))
    assert {**there, "seconds": 0} == {**summary, "seconds": 0}
    assert losses(workdir) == losses(local)
    assert fingerprints(workdir) == fingerprints(local)
    on_disk = {str(path.relative_to(local)) for path in local.rglob("*") if path.is_file()}
    in_bucket = {str(path).removeprefix(f"{workdir}/") for path in storage.files_below(workdir)}
    # A lock of the kernel's is a file; what Orbax and TensorBoard write has other names each time.
    own = lambda names: {name for name in names if not name.startswith(("checkpoints", "tensor"))}
    assert own(in_bucket) == own(on_disk) - {owner.LOCK}

    # The model is read from the bucket, and its export goes there.
    exported = storage.path_of(f"{workdir}-exported")
    export.export(str(workdir), str(exported))
    with pytest.raises(FileExistsError, match="export to another folder"):
        export.export(str(workdir), str(exported))
    models = [scorer.load(place) for place in (str(workdir), str(exported), local)]
    rewards = [scorer.rewards(model, "What is 2 + 3?", ["5", "6"]) for model in models]
    assert np.array_equal(rewards[0], rewards[2])
    np.testing.assert_allclose(rewards[1], rewards[2], atol=1e-6)

    # A second owner is refused, and another config too.
    with pytest.raises(owner.Owned, match="works in this folder"), owner.owning(workdir):
        loop.run(tiny_config(cache), str(workdir))
    with pytest.raises(ValueError, match="holds a run that differs"):
        loop.run(tiny_config(cache, seed=5), str(workdir))


def test_records_are_copied_when_they_change_and_fetched_again(workdir):
    with records_of.kept(workdir) as records:
        (records.folder / "metrics.jsonl").write_text("1\n")
        (records.folder / "plots").mkdir()
        (records.folder / "plots" / "x.png").write_text("picture")
        (records.folder / "half.part").touch()
        records.copy()
        first = storage.version(workdir / "plots" / "x.png")
        (records.folder / "metrics.jsonl").write_text("1\n2\n")
        records.copy()
        assert storage.version(workdir / "plots" / "x.png") == first, "it had not changed"
        assert (workdir / "metrics.jsonl").read_text() == "1\n2\n"
        (records.folder / "DONE").touch()
    assert storage.names_in(workdir) == ["DONE", "metrics.jsonl", "plots"]
    before = storage.version(workdir / "metrics.jsonl")
    with records_of.kept(workdir) as records:
        assert (records.folder / "metrics.jsonl").read_text() == "1\n2\n"
        assert records.folder.name == "run"
    assert storage.version(workdir / "metrics.jsonl") == before


def test_records_of_a_run_that_fails_are_copied_and_a_failed_copy_is_told(
    workdir, monkeypatch, capsys
):
    with pytest.raises(KeyError), records_of.kept(workdir) as records:
        (records.folder / "metrics.jsonl").write_text("1\n")
        raise KeyError
    assert (workdir / "metrics.jsonl").read_text() == "1\n"

    def fail(path, address):
        raise OSError("Forbidden")

    monkeypatch.setattr(storage, "upload", fail)
    with pytest.raises(KeyError), records_of.kept(workdir) as records:
        (records.folder / "metrics.jsonl").write_text("2\n")
        raise KeyError
    assert f"{workdir}: the records were not copied (Forbidden)" in capsys.readouterr().err
    with pytest.raises(OSError), records_of.kept(workdir) as records:
        (records.folder / "metrics.jsonl").write_text("2\n")


def test_a_workdir_that_cannot_be_is_refused_in_one_line(object_server, tmp_path):
    for place, message in {
        "gs://no-such-bucket/run": "there is no bucket no-such-bucket",
        "s3://bucket/run": "only gs://BUCKET/FOLDER",
        "gs://rewardjax/run[1]": "clients see a pattern",
    }.items():
        with pytest.raises(ValueError, match=rf"--workdir: .*{message}"):
            loop.run(tiny_config(tmp_path / "cache"), place)


FLAGS = ["--config.steps=40", "--config.checkpoint.every=5", "--config.eval_every=20"]


def command(workdir, cache):
    """The tiny run as a command."""
    words = [sys.executable, "-m", "rewardjax.train", f"--config={ROOT}/configs/tiny.py"]
    words += [f"--workdir={workdir}", f"--config.data.cache={cache}"]
    return [*words, f"--config.evals.heldout.cache={cache}", *FLAGS]


def train(workdir, cache):
    return subprocess.Popen(
        command(workdir, cache),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_run_in_a_bucket_that_is_killed_goes_on_as_if_nothing_had_been(workdir, tmp_path):
    local = tmp_path / "run"
    out, told = train(local, tmp_path / "cache").communicate()
    assert json.loads(out)["steps"] == 40, told
    for after in (1, 4, 6):
        process = train(workdir, tmp_path / "cache")
        folder = workdir / "checkpoints"
        while len(storage.names_in(folder)) == 0 or checkpoints.steps_of(folder)[-1:] < [5 * after]:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = train(workdir, tmp_path / "cache")
    out, told = process.communicate()
    assert process.returncode == 0, told
    assert "continuing" in told
    assert losses(workdir) == losses(local)
    assert fingerprints(workdir) == fingerprints(local)
    figures = json.loads((local / "summary.json").read_text())
    assert {**json.loads(out), "seconds": 0} == {**figures, "seconds": 0}
    assert json.loads((workdir / "goodput.json").read_text())["repeated_steps"] >= 0
    assert storage.names_in(workdir).count("DONE") == 1
    assert not any(name.startswith(owner.LEASE) for name in storage.names_in(workdir))


@pytest.mark.slow
def test_two_processes_share_a_workdir_in_a_bucket(workdir, tmp_path):
    """Two hosts, killed once: the run of two hosts on a disk."""
    launch = [sys.executable, "-m", "launch.local", "--processes", "2", "--devices", "4", "--"]

    def start(place):
        words = launch + command(place, tmp_path / "cache")
        return subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    local = tmp_path / "run"
    _, told = (process := start(local)).communicate(timeout=600)
    assert process.returncode == 0, told
    process = start(workdir)
    folder = workdir / "checkpoints"
    while len(storage.names_in(folder)) == 0 or checkpoints.steps_of(folder)[-1:] < [10]:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=120)
    _, told = (process := start(workdir)).communicate(timeout=600)
    assert process.returncode == 0 and "continuing" in told, told
    assert losses(workdir) == losses(local)
    assert fingerprints(workdir) == fingerprints(local)
    assert not any(name.startswith(owner.LEASE) for name in storage.names_in(workdir))
