"""Commands as a user types them, many of them for the price of one start of Python.

A process imports what the commands import and is forked for each; it has not touched a device, so
that a fork is a process like any other.
"""

import contextlib
import importlib
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]


class Ended(NamedTuple):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


def run_all(
    commands: Sequence[Sequence[str]], cwd: str | os.PathLike, seconds: float | None = None
) -> list[Ended]:
    """Each command, the name of a module and its arguments, one after the other, in `cwd`.

    One that takes longer than `seconds` is killed, and has the return code -14 (SIGALRM).
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    request = json.dumps({"commands": [list(c) for c in commands], "seconds": seconds})
    ended = subprocess.run(
        [sys.executable, str(pathlib.Path(__file__))],
        cwd=cwd,
        env=environment,
        # Not an argument: many commands would be too long a line.
        input=request,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Ended(*line) for line in map(json.loads, ended.stdout.splitlines())]


def _fork(command: Sequence[str], seconds: float | None) -> list:
    """Exit code and output of one command."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            if seconds is not None:
                # The default action ends the process, whatever it is waiting for.
                signal.setitimer(signal.ITIMER_REAL, seconds)
            os._exit(_run(command))
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return [os.waitstatus_to_exitcode(status), *texts]


def _run(command: Sequence[str]) -> int:
    """Run a command in this process; its exit code."""
    code = 0
    try:
        sys.argv = list(command)
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return code


def main() -> None:
    """Run the commands that are read from standard input; a JSON line for each."""
    request = json.load(sys.stdin)
    # A module that imports most of the package, and is no command itself.
    importlib.import_module("rewardjax.training.loop")
    for command in request["commands"]:
        print(json.dumps(_fork(command, request["seconds"])), flush=True)


if __name__ == "__main__":
    main()
