"""Whether this process is one of a job's, told by its environment alone, before JAX has started.

| command         | started in every process of a job                                         |
| --------------- | ------------------------------------------------------------------------- |
| train, evaluate | one program over all devices (`distributed.initialize`)                   |
| score           | a worker for itself: whoever shares the folder of OUT takes units from it |
| any other       | refused (`refuse`): each process would write the same files               |
"""

import os
from typing import NamedTuple

# Commands that may be started in every process of a job, as errors.one_line knows them.
FOR_JOBS = frozenset(["rewardjax.train", "rewardjax.evaluate", "rewardjax.score"])
# Our own, because JAX reads none that work on any cluster.
COORDINATOR, PROCESSES, PROCESS = (
    "REWARDJAX_COORDINATOR",
    "REWARDJAX_NUM_PROCESSES",
    "REWARDJAX_PROCESS_ID",
)
SLICES = "REWARDJAX_SLICES"


class Named(NamedTuple):
    """A job that our own variables name outright."""

    coordinator: str  # host:port
    processes: int
    process: int


def refuse(command: str) -> None:
    """Raise ValueError where `command` is for one process, and this is one of several."""
    variable = _cluster_variable()
    if os.environ.get(PROCESSES, "1") != "1":
        variable = PROCESSES
    if command in FOR_JOBS or variable is None:
        return
    raise ValueError(
        f"this command is for one process, and {variable}={os.environ[variable]} says that this is "
        "one of several; start it once, without that variable"
    )


def named() -> Named | None:
    """The job of REWARDJAX_COORDINATOR and its like; None where they are not set.

    Raises ValueError where they are half set or malformed.
    """
    names = (COORDINATOR, PROCESSES, PROCESS)
    missing = [name for name in names if name not in os.environ]
    if len(missing) == len(names):
        return None
    if missing:
        raise ValueError(f"{', '.join(missing)} not set: {', '.join(names)} go together")
    processes = read_int(PROCESSES, low=1)
    process = read_int(PROCESS, low=0, below=processes)
    return Named(os.environ[COORDINATOR], processes, process)


def processes_are_slices() -> bool:
    """Whether each process stands in for a slice of a TPU: REWARDJAX_SLICES is above 1.

    Devices of TPUs know their slices; those of a CPU do not. Raises ValueError where there are not
    as many processes as slices.
    """
    if SLICES not in os.environ:
        return False
    slices, processes = read_int(SLICES, low=1), 1
    if PROCESSES in os.environ:
        processes = read_int(PROCESSES, low=1)
    if slices not in (1, processes):
        raise ValueError(
            f"{SLICES}={slices}: each process stands in for a slice, and there are "
            f"{processes} of them ({PROCESSES})"
        )
    return slices > 1


def is_to_be_discovered() -> bool:
    """Whether `jax.distributed.initialize()` should look for a job by itself.

    Raises ValueError where JAX_DISTRIBUTED is neither 0 nor 1.
    """
    switch = os.environ.get("JAX_DISTRIBUTED", "0")
    if switch not in ("0", "1"):
        raise ValueError(f"JAX_DISTRIBUTED must be 0 or 1, not {switch!r}")
    return switch == "1" or _cluster_variable() is not None


def _cluster_variable() -> str | None:
    """The variable by which a TPU slice or a Slurm step says that it has several processes."""
    env = os.environ
    hosts = [host for host in env.get("TPU_WORKER_HOSTNAMES", "").split(",") if host]
    if len(hosts) > 1:
        return "TPU_WORKER_HOSTNAMES"
    if env.get("MEGASCALE_NUM_SLICES", "1") != "1":
        return "MEGASCALE_NUM_SLICES"
    # A Slurm *allocation* is not enough: only a step (srun) has several tasks running.
    if int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return "SLURM_STEP_NUM_TASKS"
    return None


def read_int(name: str, low: int, below: int | None = None) -> int:
    """A whole number out of the environment, at least `low`. Raises ValueError for any other."""
    try:
        value = int(os.environ[name])
    except ValueError:
        raise ValueError(f"{name} must be a whole number, not {os.environ[name]!r}") from None
    if value < low:
        raise ValueError(f"{name}={value} is out of range: at least {low}")
    if below is not None and value >= below:
        raise ValueError(f"{name}={value} is out of range: at least {low}, below {below}")
    return value
