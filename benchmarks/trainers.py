"""Real trainers for the storms: forked, so that each starts in a second, watched, and killed.

A trainer is an operating system's process that runs `python -m rewardjax.train` with its flags. It
is forked from a process that has imported everything and touched no device, which spares each
start the seconds of the imports. What it is asked to leave for the storm, or the fault that it is
asked to have, is done in the fork before the command begins.
"""

import atexit
import contextlib
import importlib
import importlib.metadata
import json
import os
import pathlib
import platform
import runpy
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from launch.local import child_env, free_port

ROOT = pathlib.Path(__file__).parents[1]
POLL_SECONDS = 0.005  # a save of the toy takes a fraction of a second


class Layout(NamedTuple):
    """Processes, CPU devices of each, and the mesh over all of them."""

    processes: int
    devices: int
    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def name(self) -> str:
        """As figures name it: `2x4 data -1, fsdp 1, tensor 1`."""
        mesh = f"data {self.data}, fsdp {self.fsdp}, tensor {self.tensor}"
        return f"{self.processes}x{self.devices} {mesh}"

    def flags(self) -> list[str]:
        """The mesh as flags of the command."""
        return [
            f"--config.mesh.{axis}={getattr(self, axis)}" for axis in ("data", "fsdp", "tensor")
        ]


class Trainer:
    """A forked process."""

    def __init__(self, pid: int):
        self.pid = pid
        self._code: int | None = None
        self.ended = 0.0  # of time.monotonic(), as seen by a poll

    def poll(self) -> int | None:
        """The exit code as shells tell it, 128 + n for signal n; None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                # As shells and Kubernetes tell it.
                if code < 0:
                    code = 128 - code
                self._code = code
                self.ended = time.monotonic()
        return self._code

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Gang:
    """The trainers of one start, which train together."""

    def __init__(self, trainers: Sequence[Trainer]):
        self.trainers = list(trainers)

    def running(self) -> list[Trainer]:
        """Those that have not ended."""
        return [trainer for trainer in self.trainers if trainer.poll() is None]

    def codes(self) -> list[int | None]:
        """The exit code of each, None while it runs."""
        return [trainer.poll() for trainer in self.trainers]

    def wait(self, seconds: float = 300.0) -> list[int | None]:
        """The exit codes, when all have ended or the time is over."""
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return self.codes()

    def kill(self) -> None:
        """End them all, whatever they are doing, and wait until they are gone."""
        for trainer in self.running():
            trainer.send(signal.SIGKILL)
        self.wait()


def prepare() -> None:
    """Import what a trainer imports, without touching a device; once, before the first fork."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # Programs run for milliseconds here: compiling is what costs, so it is done quickly, and once.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    cache = pathlib.Path(tempfile.gettempdir(), f"rewardjax-storms-{os.getuid()}")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    # JAX warns of any fork. A device would be the trouble, and this process has none.
    warnings.filterwarnings("ignore", message="os.fork")
    importlib.import_module("rewardjax.training.loop")


@contextlib.contextmanager
def scratch() -> Iterator[pathlib.Path]:
    """A folder for the block, which this process removes and none of its forks."""
    # Not tempfile.TemporaryDirectory: its clean-up at exit would be every fork's too.
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(
    layout: Layout,
    flags: Sequence[str],
    log: pathlib.Path,
    before: Callable[[int], None] | None = None,
) -> Gang:
    """Start the trainers of a layout; what they print is appended to `log`.

    before: called in each with its number, before its command begins.
    """
    coordinator = f"127.0.0.1:{free_port()}"
    trainers = []
    for index in range(layout.processes):
        environment = child_env(coordinator, layout.processes, index, layout.devices)
        # A single process joins nothing, as where nobody launches it.
        if layout.processes == 1:
            environment = {
                name: value
                for name, value in environment.items()
                if not name.startswith("REWARDJAX_") or name == "REWARDJAX_CPU_DEVICES"
            }
        argv = ["rewardjax.train", *flags, *layout.flags()]
        trainers.append(Trainer(_fork(argv, environment, log, index, before)))
    return Gang(trainers)


def command(argv: Sequence[str], log: pathlib.Path) -> Gang:
    """Start a module and its arguments, as `python -m` would, as one process."""
    return Gang([Trainer(_fork(argv, dict(os.environ), log, 0, None))])


def _fork(
    argv: Sequence[str],
    environment: dict[str, str],
    log: pathlib.Path,
    index: int,
    before: Callable[[int], None] | None,
) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    # The child, which ends as the interpreter would end it, and never returns.
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = list(argv)
        _keep_compilations()
        if before is not None:
            before(index)
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException as error:
        # The hook of a job of several processes tells the others, and ends this one.
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        atexit._run_exitfuncs()  # leaving the job in order is one of them
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _keep_compilations() -> None:
    """Have this process write to the compilation cache, whichever of a job it is."""
    # JAX lets the first process write alone, but what others compile has other keys on a CPU: each
    # start would compile all of it again.
    from jax._src import compiler, distributed

    real = compiler._cache_write

    def write(*args: Any) -> None:
        state = distributed.global_state
        own, state.process_id = state.process_id, 0
        try:
            real(*args)
        finally:
            state.process_id = own

    compiler._cache_write = write


def told(benchmark: str, figures: Mapping[str, Any], began: float) -> dict[str, Any]:
    """Print the figures of a storm as the last line, with its time and versions; returns them.

    began: when, by `time.monotonic`.
    """
    seconds = round(time.monotonic() - began, 1)
    result = {"benchmark": benchmark, **figures, "seconds": seconds, "versions": versions()}
    print(json.dumps(result))
    return result


def versions() -> dict[str, str]:
    """Of what a storm shakes."""
    packages = ("jax", "flax", "orbax-checkpoint", "grain")
    found = {package: importlib.metadata.version(package) for package in packages}
    return {"python": platform.python_version()} | found


# ------------------------------------------------------------------ what a run leaves


def lines(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """All complete lines of the run's metrics, those of repeated steps too."""
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return []
    complete = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in complete]


def last_written(workdir: pathlib.Path) -> int:
    """The step whose loss was written last, 0 before the first."""
    return [0, *_taken(workdir)][-1]


def steps_written(workdir: pathlib.Path) -> int:
    """How often a step's loss was written, repeated steps counted again."""
    return len(_taken(workdir))


def _taken(workdir: pathlib.Path) -> list[int]:
    """Steps in the order in which their losses were written."""
    # The figures of step 0, and those that a start owes, are rows without a loss.
    return [row["step"] for row in lines(workdir) if "loss" in row]


def is_saving(workdir: pathlib.Path) -> bool:
    """Whether a save is in flight, or was when its process was killed."""
    return next((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"), None) is not None


def saved_steps(workdir: pathlib.Path) -> list[int]:
    """The steps with a finished checkpoint, in order."""
    names = [path.name for path in (workdir / "checkpoints").glob("*")]
    return sorted(int(name) for name in names if name.isdecimal())


def weights(workdir: pathlib.Path) -> dict[str, str]:
    """The fingerprints of the newest checkpoint: equal if and only if every bit is."""
    newest = saved_steps(workdir)[-1]
    record = json.loads((workdir / f"checkpoints/{newest}/meta/metadata").read_text())
    return record["fingerprints"]


def until(condition: Callable[[], bool], gang: Gang, seconds: float = 300.0) -> bool:
    """Wait for a condition while all of a gang run; whether it came to hold."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        if len(gang.running()) < len(gang.trainers):
            return condition()
        time.sleep(POLL_SECONDS)
    return False


# ------------------------------------------------------------------ what a trainer is asked for


def on_step(step: int, act: Callable[[], object]) -> None:
    """Have this trainer act before it takes `step`."""
    from rewardjax.training import loop

    real = loop.pipeline.train_steps

    def acting(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for number, element in enumerate(real(*args, **kwargs), start=kwargs["first_step"] + 1):
            if number == step:
                act()
            yield element

    loop.pipeline.train_steps = acting


def tracing(folder: pathlib.Path) -> Callable[[int], None]:
    """Have each trainer write the units of its steps to `folder`, one line per step."""

    def before(index: int) -> None:
        from rewardjax.training import loop

        real = loop.pipeline.train_steps

        def traced(*args: Any, **kwargs: Any) -> "Traced":
            return Traced(real(*args, **kwargs), folder / f"units-{index}.jsonl", kwargs)

        loop.pipeline.train_steps = traced

    return before


class Traced:
    """An iterator over steps that writes which units each one has, before it hands it out."""

    def __init__(self, steps: Any, path: pathlib.Path, arguments: dict[str, Any]):
        self._steps, self._file = steps, open(path, "a")
        # A process that was killed may have left half a line.
        self._file.write("\n")
        self._step = arguments["first_step"]

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        following = next(self._steps)
        self._step += 1
        record = {"step": self._step, "units": following.units.tolist()}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        return following

    def close(self) -> None:
        """Close the iterator."""
        self._steps.close()


def units(folder: pathlib.Path) -> dict[int, set[tuple[int, ...]]]:
    """All that was taken at each step, by any process of any start: one element where all agree."""
    by_step: dict[int, set[tuple[int, ...]]] = {}
    for path in folder.glob("units-*.jsonl"):
        for line in path.read_text().split("\n"):
            if not line.endswith("]}"):
                continue
            record = json.loads(line)
            by_step.setdefault(record["step"], set()).add(tuple(record["units"]))
    return by_step
