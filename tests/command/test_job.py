"""What a process does that is one of a job, before JAX has started."""

import pathlib

import pytest
from commands import run_all
from tiny import ROOT

from rewardjax.command import job

VARIABLES = (
    "REWARDJAX_NUM_PROCESSES",
    "REWARDJAX_SLICES",
    "TPU_WORKER_HOSTNAMES",
    "MEGASCALE_NUM_SLICES",
    "SLURM_STEP_NUM_TASKS",
)


@pytest.fixture
def clean(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    "variable, value",
    [
        ("REWARDJAX_NUM_PROCESSES", "2"),
        ("TPU_WORKER_HOSTNAMES", "host-0,host-1"),
        ("MEGASCALE_NUM_SLICES", "2"),
        ("SLURM_STEP_NUM_TASKS", "4"),
    ],
)
def test_a_command_for_one_process_is_refused_in_a_job(clean, variable, value):
    clean.setenv(variable, value)
    with pytest.raises(ValueError, match=f"for one process, and {variable}={value} says"):
        job.refuse("rewardjax.export")
    for command in job.FOR_JOBS:
        job.refuse(command)


def test_one_process_is_no_job(clean):
    job.refuse("rewardjax.export")
    clean.setenv("REWARDJAX_NUM_PROCESSES", "1")
    clean.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    clean.setenv("SLURM_STEP_NUM_TASKS", "1")
    job.refuse("rewardjax.export")


def every_command() -> list[str]:
    """The modules of the package that can be started by their names."""
    commands = []
    for path in sorted((ROOT / "rewardjax").rglob("*.py")):
        if 'if __name__ == "__main__":' in path.read_text():
            parts = path.relative_to(ROOT).with_suffix("").parts
            commands.append(".".join(parts).removesuffix(".__main__"))
    return commands


# Arguments that a command needs to come as far as its work.
ARGUMENTS = {"rewardjax.curate": ["answers", "."]}
# It runs what another process has pickled for it, and is no command that a person types.
NOT_TYPED = "rewardjax.engine.driver"


def test_every_command_joins_a_job_or_is_refused_in_one_line(clean, tmp_path):
    clean.setenv("REWARDJAX_NUM_PROCESSES", "2")
    commands = [c for c in every_command() if c not in job.FOR_JOBS and c != NOT_TYPED]
    assert len(commands) > 6 and "rewardjax.export" in commands
    ended = run_all([[command, *ARGUMENTS.get(command, [])] for command in commands], tmp_path)
    for command, end in zip(commands, ended, strict=True):
        assert end.returncode == 2, command
        assert end.stderr.count("\n") == 1, end.stderr
        assert "is for one process, and REWARDJAX_NUM_PROCESSES=2 says" in end.stderr
    assert not list(pathlib.Path(tmp_path).iterdir())


def test_processes_stand_in_for_slices_where_there_are_as_many(clean):
    assert not job.processes_are_slices()
    clean.setenv("REWARDJAX_NUM_PROCESSES", "2")
    clean.setenv("REWARDJAX_SLICES", "1")
    assert not job.processes_are_slices()
    clean.setenv("REWARDJAX_SLICES", "2")
    assert job.processes_are_slices()
    clean.setenv("REWARDJAX_SLICES", "3")
    with pytest.raises(ValueError, match="REWARDJAX_SLICES=3: each process stands in"):
        job.processes_are_slices()
