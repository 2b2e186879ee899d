"""The local launcher, with real processes: the same result on any split, and one fate for all."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from launch import local

GANG = [sys.executable, str(pathlib.Path(__file__).with_name("gang.py"))]
ROOT = pathlib.Path(__file__).parents[2]
# Seconds, with the start of the processes on a machine that does much else. Left to the runtime,
# who waits for a dead or hanging peer waits for 100 by itself.
SOON = 90


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def launch(capfd, tmp_path):
    """A function that runs the gang and returns (exit code, its reports, stderr, seconds)."""

    def run(behavior, who=1, processes=2, devices=4):
        folder = tmp_path / f"{processes}x{devices}"
        folder.mkdir()
        started = time.monotonic()
        code = local.run([*GANG, behavior, str(who), str(folder)], processes, devices)
        seconds = time.monotonic() - started
        return (
            code,
            [json.loads(path.read_text()) for path in sorted(folder.iterdir())],
            capfd.readouterr().err,
            seconds,
        )

    return run


def test_two_by_four_computes_what_one_by_eight_does(launch):
    code, [one], _, _ = launch("end", processes=1, devices=8)
    assert code == 0 and one["devices"] == one["local"] == 8
    code, reports, _, _ = launch("end", processes=2, devices=4)
    assert code == 0
    assert reports == [one | {"local": 4}] * 2


@pytest.mark.parametrize(
    "behavior, who", [("raise", 1), ("raise", 0), ("raise_while_others_wait", 1)]
)
def test_an_exception_in_one_process_ends_all_with_its_message(launch, behavior, who):
    code, reports, err, seconds = launch(behavior, who)
    assert code == 1 and len(reports) == 2
    for process in range(2):  # both left by themselves: the peer, too, says why
        assert (
            f"[{process}] [process {process}] stopping, the job failed: process {who}: ValueError: the reason"
            in err
        )
    assert seconds < SOON


def test_hosts_that_differ_all_say_everything_that_is_wrong(launch):
    code, _, err, seconds = launch("differ", who=1)
    assert code == 2 and seconds < SOON
    for process in range(2):
        said = "\n".join(line for line in err.splitlines() if line.startswith(f"[{process}]"))
        assert ": a complaint of both" in said
        assert re.search(r"process 1 \(\S+\): a complaint of one", said)
        assert re.search(r"differ in config.rate: 0.1 on process 0 \(\S+\), 0.2 on process 1", said)
        assert "--workdir: what process 0 writes there is not seen by process 1" in said


@pytest.mark.parametrize(
    "behavior, who, expected", [("kill", 1, 137), ("kill", 0, 137), ("exit", 1, 7)]
)
def test_a_vanished_process_takes_the_others_along(launch, behavior, who, expected):
    code, reports, _, seconds = launch(behavior, who)
    assert code == expected and len(reports) == 2
    assert seconds < SOON


def test_a_signal_to_one_host_stops_all_at_the_same_step(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "launch.local", "--processes", "2", "--", *GANG]
        + ["stop", "0", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    pids = {}
    while len(pids) < 2:  # the collectives' own messages come before
        line = process.stdout.readline()
        assert line, "the processes ended before they worked"
        if "working" in line:
            pids[line[1]] = int(line.split()[-1])
    os.kill(pids["1"], signal.SIGTERM)
    process.communicate(timeout=SOON)
    assert process.returncode == 42
    stopped = [json.loads((tmp_path / f"{who}.json").read_text()) for who in range(2)]
    assert stopped[0] == stopped[1]


def test_a_host_that_hangs_ends_the_job_and_is_named(launch):
    code, _, err, seconds = launch("hang", who=1)
    assert code == 43 and seconds < SOON
    assert "no progress for 3 s" in err and "gang.py" in err, "stacks are dumped"
    assert "process 1 is behind the others" in err


@pytest.mark.slow
@pytest.mark.parametrize("who", [0, 1])
def test_a_host_that_is_stopped_ends_the_job_even_where_it_holds_the_store(launch, who):
    """A stopped coordinator answers nobody: others must not wait for it to say that they hang."""
    code, _, err, seconds = launch("freeze", who=who)
    assert code == 43 and seconds < SOON
    assert f"[process {1 - who}] no progress for 3 s" in err


# The rest needs no jax: any command shows how signals, prefixes and exit codes are handled.


def supervisor(*code, grace=30.0):
    """`python -m launch.local` over two processes that run `code`."""
    command = [
        sys.executable,
        "-m",
        "launch.local",
        "--processes",
        "2",
        "--grace",
        str(grace),
        "--",
        sys.executable,
        "-c",
        "\n".join(code),
    ]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


ME = "import os, signal, sys, time; me = int(os.environ['REWARDJAX_PROCESS_ID'])"


def test_output_lines_are_prefixed_and_streams_kept_apart():
    process = supervisor(
        ME, "print('out', me)", "print('no newline', end='')", "print('err', me, file=sys.stderr)"
    )
    out, err = process.communicate(timeout=SOON)
    assert sorted(out.splitlines()) == [
        "[0] no newline",
        "[0] out 0",
        "[1] no newline",
        "[1] out 1",
    ]
    assert sorted(line for line in err.splitlines() if line.startswith("[")) == [
        "[0] err 0",
        "[1] err 1",
    ]


def test_sigterm_is_passed_on_and_processes_may_save():
    handler = "signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), os._exit(7)))"
    process = supervisor(ME, handler, "print('ready', flush=True)", "time.sleep(600)")
    assert process.stdout is not None
    assert sorted(process.stdout.readline() for _ in range(2)) == ["[0] ready\n", "[1] ready\n"]
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=SOON)
    assert sorted(out.splitlines()) == ["[0] saved", "[1] saved"]
    assert process.returncode == 7


@pytest.mark.parametrize("signals", [1, 2])
def test_processes_that_ignore_sigterm_are_killed(signals):
    process = supervisor(
        ME,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "print(os.getpid(), flush=True)",
        "time.sleep(600)",
        grace=1.0 if signals == 1 else 600.0,
    )
    assert process.stdout is not None
    pids = [int(process.stdout.readline().split()[1]) for _ in range(2)]
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    process.communicate(timeout=SOON)
    assert process.returncode == 137
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("grace", [0.5, 30.0])
def test_processes_do_not_outlive_a_launcher_that_is_killed(grace):
    ignoring = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if grace < 1 else "pass"
    process = supervisor(
        ME, ignoring, "print(os.getpid(), flush=True)", "time.sleep(600)", grace=grace
    )
    assert process.stdout is not None
    pids = [int(process.stdout.readline().split()[1]) for _ in range(2)]
    process.kill()
    # The guard keeps standard error open until it has ended them.
    _, err = process.communicate(timeout=SOON)
    assert "launch.local was killed" in err
    assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody waits for does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_first_failure_decides_the_code():
    process = supervisor(
        ME,
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(12))",
        "time.sleep(600) if me == 0 else sys.exit(11)",
    )
    process.communicate(timeout=SOON)
    assert process.returncode == 11


def test_child_env_replaces_a_device_count_and_keeps_other_flags(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8 --xla_dump_to=/x")
    env = local.child_env("127.0.0.1:1", processes=2, index=1, devices=4)
    assert env["XLA_FLAGS"] == "--xla_dump_to=/x"
    assert (
        env["REWARDJAX_NUM_PROCESSES"],
        env["REWARDJAX_PROCESS_ID"],
        env["REWARDJAX_CPU_DEVICES"],
    ) == ("2", "1", "4")
