"""Commands as a user types them, many of them for the price of one start of Python.

A process imports what the commands import and is forked for each; it has not touched a device, so
that a fork is a process like any other.
"""

import importlib
import json
import os
import pathlib
import runpy
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


def run_all(commands: Sequence[Sequence[str]], cwd: str | os.PathLike) -> list[Ended]:
    """`python -m COMMAND` for each, one after the other, in `cwd`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, str(pathlib.Path(__file__)), json.dumps([list(c) for c in commands])],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Ended(*line) for line in map(json.loads, ended.stdout.splitlines())]


def _fork(command: Sequence[str]) -> list:
    """Exit code and output of one command."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
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
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return [os.waitstatus_to_exitcode(status), *texts]


def main() -> None:
    """Run the commands of the command line; a JSON line for each."""
    # A module that imports most of the package, and is no command itself.
    importlib.import_module("rewardjax.training.loop")
    for command in json.loads(sys.argv[1]):
        print(json.dumps(_fork(command)), flush=True)


if __name__ == "__main__":
    main()
