"""Start-up from the environment.

What several real processes do together is tested in tests/launch/test_local.py.
"""

import jax
import pytest

from rewardjax.parallel import distributed


@pytest.fixture
def clean(monkeypatch):
    for name in (
        "REWARDJAX_COORDINATOR",
        "REWARDJAX_NUM_PROCESSES",
        "REWARDJAX_PROCESS_ID",
        "REWARDJAX_CPU_DEVICES",
        "JAX_DISTRIBUTED",
        "TPU_WORKER_HOSTNAMES",
        "MEGASCALE_NUM_SLICES",
        "SLURM_STEP_NUM_TASKS",
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_plain_process_joins_nothing(clean):
    clean.setattr(
        jax.distributed, "initialize", lambda *args, **kwargs: pytest.fail("no cluster was named")
    )
    distributed.initialize()


def test_the_environment_names_the_job(clean):
    clean.setenv("REWARDJAX_COORDINATOR", "host:1234")
    clean.setenv("REWARDJAX_NUM_PROCESSES", "4")
    clean.setenv("REWARDJAX_PROCESS_ID", "3")
    calls = []
    clean.setattr(jax.distributed, "initialize", lambda *args: calls.append(args))
    distributed.initialize()
    assert calls == [("host:1234", 4, 3)]


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("REWARDJAX_PROCESS_ID", "4", "out of range"),
        ("REWARDJAX_PROCESS_ID", "-1", "out of range"),
        ("REWARDJAX_NUM_PROCESSES", "0", "out of range"),
        (
            "REWARDJAX_NUM_PROCESSES",
            "two",
            "REWARDJAX_NUM_PROCESSES must be a whole number, not 'two'",
        ),
        ("REWARDJAX_COORDINATOR", None, "REWARDJAX_COORDINATOR not set"),
        ("REWARDJAX_PROCESS_ID", None, "REWARDJAX_PROCESS_ID not set"),
    ],
)
def test_a_half_set_or_malformed_job_is_refused(clean, name, value, message):
    job = {
        "REWARDJAX_COORDINATOR": "host:1",
        "REWARDJAX_NUM_PROCESSES": "4",
        "REWARDJAX_PROCESS_ID": "0",
    } | {name: value}
    for key, text in job.items():
        if text is not None:
            clean.setenv(key, text)
    with pytest.raises(ValueError, match=message):
        distributed.initialize()


@pytest.mark.parametrize(
    "env, found",
    [
        ({}, False),
        ({"JAX_DISTRIBUTED": "0"}, False),
        ({"JAX_DISTRIBUTED": "1"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "host-0,host-1"}, True),
        ({"TPU_WORKER_HOSTNAMES": "host-0", "MEGASCALE_NUM_SLICES": "2"}, True),
        (
            {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"},
            False,
        ),  # a shell inside an allocation is one process
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "1"}, False),
    ],
)
def test_discovery_runs_only_where_there_are_others(clean, env, found):
    for key, text in env.items():
        clean.setenv(key, text)
    calls = []
    clean.setattr(jax.distributed, "initialize", lambda *args: calls.append(args))
    distributed.initialize()
    assert calls == [()] * found


def test_jax_distributed_takes_no_other_words(clean):
    clean.setenv("JAX_DISTRIBUTED", "yes")
    with pytest.raises(ValueError, match="must be 0 or 1, not 'yes'"):
        distributed.initialize()
