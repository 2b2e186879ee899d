"""How often a job is started again, by real processes that end as they are told."""

import json
import pathlib
import subprocess
import sys

import pytest

from launch import local, restarts, supervise
from launch.restarts import Spent
from rewardjax.command.exit_codes import ExitCode

ROOT = pathlib.Path(__file__).parents[2]
# Ends with the next code of a list, after it has "saved" the step beside it, if there is one.
JOB = """
import json, os, pathlib, sys
workdir = pathlib.Path(sys.argv[1].removeprefix("--workdir="))
ends = json.loads((workdir / "ends.json").read_text())
code, saved = ends.pop(0)
(workdir / "ends.json").write_text(json.dumps(ends))
if saved is not None:
    (workdir / "last_saved.json").write_text(json.dumps({"step": saved}))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@pytest.fixture
def job(tmp_path):
    """A function that makes the argv of a job which ends so, one start after another."""

    def make(*ends):
        (tmp_path / "ends.json").write_text(json.dumps(ends))
        return [sys.executable, "-c", JOB, f"--workdir={tmp_path}"]

    return make


def starts_left(tmp_path):
    return len(json.loads((tmp_path / "ends.json").read_text()))


def test_a_restart_counts_where_no_checkpoint_was_made():
    spent = Spent(0, None)
    for code, newest, count in [
        (137, None, 1),
        (134, None, 2),
        (137, 10, 0),
        (43, 10, 1),
        (42, 10, 1),  # it saved nothing new, and was told to leave
        (42, 20, 0),
        (137, 15, 0),  # new, after a fallback from step 20
    ]:
        spent = spent.after(code, newest)
        assert spent == Spent(count, newest)


def test_the_local_launcher_starts_again_while_checkpoints_are_made(job, tmp_path, capfd):
    command = job((-9, 1), (43, None), (134, 2), (43, None), (42, None), (0, None), (1, None))
    assert local.run(command, 1, 1, restarts=1) == 0
    assert starts_left(tmp_path) == 1
    assert "the job ended with 137 and is started again: 0 of 1 restarts" in capfd.readouterr().err


@pytest.mark.parametrize(
    "ends, code, left",
    [
        ([(137, None), (137, None), (0, None)], 137, 1),  # one restart and no more
        ([(2, None), (0, None)], 2, 1),
        ([(44, 1), (0, None)], 44, 1),
        ([(0, None), (0, None)], 0, 1),
    ],
)
def test_the_local_launcher_ends_with_the_last_code(job, tmp_path, ends, code, left):
    assert local.run(job(*ends), 1, 1, restarts=1) == code
    assert starts_left(tmp_path) == left


def test_without_restarts_a_preempted_job_is_left_to_who_preempted_it(job, tmp_path):
    assert local.run(job((42, 1), (0, None)), 1, 1) == 42
    assert starts_left(tmp_path) == 1


def pod(command, tmp_path, counts=True, budget=1):
    return supervise.supervise(command, tmp_path, budget, counts)


def test_a_pod_ends_uncounted_until_the_budget_is_spent(job, tmp_path, capfd):
    command = job((-9, 1), (43, None), (-9, 2), (134, None), (134, None), (0, None))
    codes = [pod(command, tmp_path) for _ in range(5)]
    assert codes == [42, 42, 42, 42, ExitCode.NO_CHECKPOINT]
    said = capfd.readouterr().err
    assert "gave up after 1 restarts without a new checkpoint; the last one ended with 134" in said
    # A job that another host's code has restarted after all ends before it begins.
    assert pod(command, tmp_path) == ExitCode.NO_CHECKPOINT
    assert starts_left(tmp_path) == 1


@pytest.mark.parametrize("code", [0, 1, 2, 42, 44, 45])
def test_a_pod_passes_on_what_is_no_failure_and_what_a_restart_cannot_mend(job, tmp_path, code):
    assert pod(job((code, None)), tmp_path) == code
    assert not (tmp_path / supervise.FILE).exists()


def test_only_the_first_host_counts(job, tmp_path):
    command = job(*[(137, None)] * 3)
    assert [pod(command, tmp_path, counts=False) for _ in range(3)] == [42] * 3
    assert supervise.is_first_host({})
    assert supervise.is_first_host({"TPU_WORKER_ID": "0", "MEGASCALE_SLICE_ID": "0"})
    assert not supervise.is_first_host({"TPU_WORKER_ID": "1"})
    assert not supervise.is_first_host({"TPU_WORKER_ID": "0", "MEGASCALE_SLICE_ID": "1"})


def test_a_pod_passes_signals_on(tmp_path):
    code = "import os, signal, time; print('ready', flush=True)\ntime.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.supervise", "--restarts=1", f"--workdir={tmp_path}", "--"]
        + [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.terminate()
    _, said = process.communicate(timeout=90)
    assert process.returncode == 42 and "ended with 143" in said


def test_a_workdir_is_read_from_either_spelling():
    assert restarts.workdir_of(["train", "--workdir=a/b"]) == pathlib.Path("a/b")
    assert restarts.workdir_of(["train", "--workdir", "a/b"]) == pathlib.Path("a/b")
    assert restarts.workdir_of(["python", "-m", "x"]) is None
