"""What a rendered pod runs: the command of its host, and a count of restarts with a memory.

    python -m launch.supervise --restarts 10 --workdir DIR -- python -m rewardjax.train ...

A JobSet counts restarts over a job's whole life, whatever was achieved in between. So a pod ends
with 42, which a JobSet does not count, whenever a restart can mend what happened. The first host
counts, in `restarts.json` of the workdir, those in a row without a new verified checkpoint
(restarts.py), and ends the job with 45 when they are spent. A pod that is killed with everything in
it says nothing, and is counted by the JobSet.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence

from launch.restarts import FINAL, Spent, newest_verified
from rewardjax.command.exit_codes import UNCOUNTED, ExitCode
from rewardjax.io import files, own_files

FILE = "restarts.json"


def supervise(command: Sequence[str], workdir: pathlib.Path, restarts: int, counts: bool) -> int:
    """Run `command`; the exit code that tells a JobSet what to do. `counts`: on the first host."""
    spent = _read(workdir)
    # Another host's code may have restarted the job before this one's could end it.
    if counts and spent.restarts > restarts:
        return _give_up(restarts, "")
    code = run(command)
    if code in FINAL or code in UNCOUNTED:
        return code
    if counts:
        spent = spent.after(code, newest_verified(workdir))
        _write(workdir, spent)
        if spent.restarts > restarts:
            return _give_up(restarts, f"; the last one ended with {code}")
    print(
        f"ended with {code}; this pod ends with {ExitCode.PREEMPTED:d}, so that the job is started "
        "again and the JobSet does not count it",
        file=sys.stderr,
    )
    return ExitCode.PREEMPTED


def run(command: Sequence[str]) -> int:
    """Run `command` and pass signals on to it; 128 + n where signal n ended it."""
    child = subprocess.Popen(command)

    def pass_on(number: int, frame: types.FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    code = child.wait()
    if code < 0:
        return 128 - code
    return code


def is_first_host(env: Mapping[str, str]) -> bool:
    """Whether this is the first host of the first slice, by what GKE tells a pod."""
    slice_id = env.get("MEGASCALE_SLICE_ID", "0")
    return slice_id == "0" and env.get("TPU_WORKER_ID", "0") == "0"


def _read(workdir: pathlib.Path) -> Spent:
    path = workdir / FILE
    try:
        return Spent(**own_files.read(path, Spent._fields))
    # A damaged count is no reason not to go on: it begins anew, and ends a hopeless job later.
    except (FileNotFoundError, own_files.Damaged):
        return Spent(0, newest_verified(workdir))


def _write(workdir: pathlib.Path, spent: Spent) -> None:
    workdir.mkdir(parents=True, exist_ok=True)
    with files.replacing(workdir / FILE) as part:
        part.write_text(json.dumps(spent._asdict()) + "\n")


def _give_up(restarts: int, last: str) -> ExitCode:
    print(
        f"gave up after {restarts} restarts without a new checkpoint{last}; remove {FILE} from the "
        "workdir to try again",
        file=sys.stderr,
    )
    return ExitCode.NO_CHECKPOINT


def main(argv: Sequence[str]) -> int:
    """Run what the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m launch.supervise")
    parser.add_argument("--restarts", type=int, required=True)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("command", nargs="+", help="after --: the command and its arguments")
    args = parser.parse_args(argv)
    return supervise(args.command, args.workdir, args.restarts, is_first_host(os.environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
