"""One process at a time owns a folder; real processes, killed and stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from tiny import ROOT

from rewardjax.command import owner

HOLD = """
import sys, time
from rewardjax.command import owner
{patches}
try:
    with owner.owning(sys.argv[1]):
        print("owns", flush=True)
        time.sleep(float(sys.argv[2]))
except owner.Owned as error:
    print(error, flush=True)
    sys.exit(2)
"""
LEASES = "owner.has_kernel_locks = lambda folder: False; owner.EXPIRES = 1.5"
# As if on another host: what runs there cannot be looked for.
ELSEWHERE = """
here = owner.this_process()
owner.this_process = lambda: here._replace(machine="another", host="elsewhere")
"""


@pytest.fixture
def start():
    """Starts a process that owns a folder for some seconds; all are killed in the end."""
    processes = []

    def start(folder, seconds, patches=""):
        code = HOLD.format(patches=patches)
        command = [sys.executable, "-c", code, str(folder), str(seconds)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def refusal(folder):
    with pytest.raises(owner.Owned) as refused, owner.owning(folder):
        pass
    return str(refused.value)


@contextlib.contextmanager
def leases_here():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, "has_kernel_locks", lambda folder: False)
        patched.setattr(owner, "EXPIRES", 1.5)
        yield


@pytest.mark.parametrize("patches", ["", LEASES], ids=["lock", "lease"])
def test_a_second_owner_is_refused_and_a_killed_one_is_in_nobodys_way(tmp_path, start, patches):
    first = start(tmp_path, 60, patches)
    assert first.stdout.readline() == "owns\n"
    second = start(tmp_path, 0, patches)
    said = second.communicate()[0]
    assert second.returncode == 2 and said.count("\n") == 1
    assert f"process {first.pid} on {os.uname().nodename}, started 20" in said
    first.kill()
    first.wait()
    third = start(tmp_path, 0, patches)
    assert third.communicate()[0] == "owns\n" and third.returncode == 0


def test_a_child_that_was_forked_does_not_keep_the_lock_of_a_killed_parent(tmp_path, start):
    fork = "import os\nopened = owner.owning\n"
    code = HOLD.format(patches=fork).replace(
        'print("owns", flush=True)',
        'child = os.fork()\n        if child: print("owns", child, flush=True)',
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path), "60"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(process.stdout.readline().split()[1])
    process.kill()
    process.wait()
    try:
        time.sleep(0.1)
        with owner.owning(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_the_owner_is_free_again_after_its_block_and_after_an_error(tmp_path):
    for context in (contextlib.nullcontext(), leases_here()):
        with context:
            with contextlib.suppress(KeyError), owner.owning(tmp_path):
                refusal(tmp_path)
                raise KeyError
            with owner.owning(tmp_path):
                refusal(tmp_path)


def test_a_lease_of_another_host_is_watched_and_refuses_while_it_is_renewed(tmp_path, start):
    first = start(tmp_path, 60, LEASES + ELSEWHERE)
    assert first.stdout.readline() == "owns\n"
    with leases_here():
        assert "on elsewhere" in refusal(tmp_path)
        first.kill()
        first.wait()
        began = time.monotonic()
        with owner.owning(tmp_path):
            # A dead owner that cannot be looked for costs the length of its lease, no more.
            assert 1.4 < time.monotonic() - began < 60
            assert len(list(tmp_path.glob("owner.lease.*"))) == 1


def test_an_owner_that_was_stopped_past_its_lease_ends_instead_of_writing_on(tmp_path, start):
    first = start(tmp_path, 60, LEASES + ELSEWHERE)
    assert first.stdout.readline() == "owns\n"
    first.send_signal(signal.SIGSTOP)
    with leases_here(), owner.owning(tmp_path):
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=60) == 43
        assert "could not renew its lease" in first.stderr.read()
        # It left the new owner's lease alone.
        refusal(tmp_path)


def test_of_several_who_see_a_lease_end_one_takes_the_folder(tmp_path, start):
    dead = start(tmp_path, 60, LEASES + ELSEWHERE)
    assert dead.stdout.readline() == "owns\n"
    dead.kill()
    dead.wait()
    others = [start(tmp_path, 4, LEASES) for _ in range(3)]
    said = [process.communicate()[0] for process in others]
    assert sorted(process.returncode for process in others) == [0, 2, 2], said


@pytest.mark.parametrize("kind, local", [("ext4", True), ("nfs4", False), ("fuse.gcsfuse", False)])
def test_locks_are_trusted_on_local_disks_only(tmp_path, monkeypatch, kind, local):
    monkeypatch.setattr(owner, "_file_system", lambda folder: kind)
    assert owner.has_kernel_locks(tmp_path) is local


def test_the_file_system_of_a_folder_is_read_from_the_kernels_table():
    assert owner._file_system(owner.pathlib.Path("/proc/self")) == "proc"


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    refused = pytest.raises(ValueError, match="metrics.jsonl: a pipe, not a file")
    with refused, owner.owning(tmp_path):
        pass
