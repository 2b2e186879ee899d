"""Expand a config's sweep into trials, look at the plan, run it.

    python -m rewardjax.sweep --config configs/tiny.py --sweep lr --plan
    python -m rewardjax.sweep --config configs/tiny.py --sweep lr --run local --workdir runs/lr -j 2

A config file offers `sweep()` or `sweep_<name>()`, which returns or yields dicts of dotted
overrides (`rewardjax.config` has the algebra). Every trial is checked against the locked config
before the first one starts. A trial's id is a hash of its resolved config and
names its folder, so a second call skips what is done and runs what is missing or has failed.
"""

import concurrent.futures
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.command import errors
from rewardjax.io import files
from rewardjax.reporting.text_table import table

TRAIN = (sys.executable, "-m", "rewardjax.train")


class Trial(NamedTuple):
    """One run of a sweep: `id` is a hash of `resolved`, the whole config as plain JSON values."""

    id: str
    overrides: dict[str, Any]
    resolved: dict[str, Any]


def plan(config: str, name: str = "") -> list[Trial]:
    """The trials of `sweep_<name>()` (or `sweep()`) in the config file of `"FILE.py:arg"`.

    Raises AttributeError if the file has no such sweep; ValueError or TypeError, with the trial's
    number, on an unknown key, a wrong type
    or two trials that resolve to the same config.
    """
    path = config.partition(":")[0]
    module = config_lib.load_module(path)
    function = "sweep"
    if name:
        function = f"sweep_{name}"
    if not hasattr(module, function):
        sweeps = sorted(key for key in vars(module) if key == "sweep" or key.startswith("sweep_"))
        raise AttributeError(
            f"{path} has no {function}(); it has: {', '.join(sweeps) or 'no sweep'}"
        )
    trials: list[Trial] = []
    numbers: dict[str, int] = {}
    complaints = errors.Complaints()
    for number, overrides in enumerate(getattr(module, function)()):
        where = f"{path}: {function}() trial {number} {overrides}"
        trial = complaints.of(_trial, config, overrides, where)
        if trial is None:
            continue
        if trial.id in numbers:
            complaints.add(
                [
                    f"{path}: {function}() trials {numbers[trial.id]} and {number} are the same "
                    f"config: {overrides}"
                ]
            )
        numbers[trial.id] = number
        trials.append(trial)
    complaints.refuse()
    return trials


def _trial(config: str, overrides: dict[str, Any], where: str) -> Trial:
    """The trial with these overrides; errors begin with `where`."""
    try:
        resolved = config_lib.resolve(config_lib.load(config, overrides))
    except errors.Refusal as error:
        raise errors.Refusal(f"{where}: {complaint}" for complaint in error.complaints) from error
    except (ValueError, TypeError) as error:
        raise type(error)(f"{where}: {error}") from error
    return Trial(fingerprint.of_json(resolved), dict(overrides), resolved)


def refuse_mistakes(trials: Sequence[Trial], config: str, workdir: str | pathlib.Path) -> None:
    """Raise errors.Refusal with all that training would refuse in the fields of any trial.

    Hours may lie between the start of a sweep and that of its last trial.
    """
    # Not at the top: they start JAX, for which `--plan` need not wait.
    import jax

    from rewardjax.training.preflight import fields

    # The trials need this machine's devices, and this process none of them.
    jax.config.update("jax_platforms", "cpu")
    complaints = errors.Complaints()
    if reason := files.unwritable(workdir):
        complaints.add([f"--workdir: {reason}"])
    trials_with: dict[str, list[str]] = {}  # sentence -> ids of the trials that it is about
    for trial in trials:
        for sentence in fields.check(config_lib.load(config, trial.overrides)).sentences():
            trials_with.setdefault(sentence, []).append(trial.id)
    for sentence, ids in trials_with.items():
        where = f"trial {', '.join(ids)}"
        if len(ids) == len(trials):
            where = "every trial"
        complaints.add([f"{where}: {sentence}"])
    complaints.refuse()


def run_local(
    trials: Sequence[Trial],
    config: str,
    workdir: str | pathlib.Path,
    jobs: int = 1,
    command: Sequence[str] = TRAIN,
) -> list[dict[str, Any]]:
    """Run each trial as a subprocess, `jobs` at a time; return one result per trial, in order.

    A trial runs in `workdir/<id>`, and is skipped if that folder holds DONE and the same config.
    Every attempt appends a row to `workdir/results.jsonl`
    (trial, overrides, status, exit_code, seconds, summary); its output is in `<id>/log.txt`.
    """
    folder = pathlib.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    append = threading.Lock()

    def attempt(trial: Trial) -> dict[str, Any]:
        home = folder / trial.id
        row: dict[str, Any] = {"trial": trial.id, "overrides": trial.overrides}
        if is_done(home, trial):
            return row | {"status": "done", "skipped": True, "summary": read_summary(home)}
        home.mkdir(exist_ok=True)
        started = time.monotonic()
        with open(home / "log.txt", "ab") as log:
            code = subprocess.run(
                train_command(trial, config, home, command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ).returncode
        # Code 0 without the marker is a job that stopped early, for instance to be restarted: it is
        # not a result.
        status = "failed"
        if code == 0 and is_done(home, trial):
            status = "done"
        row |= {
            "status": status,
            "exit_code": code,
            "seconds": round(time.monotonic() - started, 3),
            "summary": read_summary(home),
        }
        with append, open(folder / "results.jsonl", "a") as results:
            results.write(json.dumps(row) + "\n")
        print(
            f"{trial.id} {row['status']} after {row['seconds']:.0f}s ({home / 'log.txt'})",
            file=sys.stderr,
            flush=True,
        )
        return row

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(attempt, trial) for trial in trials]
        try:
            return [future.result() for future in futures]
        except BaseException:
            # Ctrl-C reaches the running trials by itself; no more of them are started.
            pool.shutdown(cancel_futures=True)
            raise


def train_command(
    trial: Trial, config: str, home: pathlib.Path, command: Sequence[str] = TRAIN
) -> list[str]:
    """The argv that trains `trial` in `home`."""
    flags = [f"--config.{key}={value}" for key, value in trial.overrides.items()]
    return [*command, f"--config={config}", f"--workdir={home}", *flags]


def is_done(home: pathlib.Path, trial: Trial) -> bool:
    """Whether training ended in `home` (it writes DONE last) with the config of `trial`."""
    recorded = home / "config.json"
    return (
        (home / "DONE").is_file()
        and recorded.is_file()
        and fingerprint.of_json(json.loads(recorded.read_text())) == trial.id
    )


def read_summary(home: pathlib.Path) -> dict[str, Any] | None:
    """The summary that training left in `home`, or None."""
    path = home / "summary.json"
    if not path.is_file():
        return None
    return json.loads(path.read_text())


def _result_row(result: dict[str, Any]) -> dict[str, Any]:
    numbers = {
        key: value
        for key, value in (result["summary"] or {}).items()
        if isinstance(value, (int, float, bool))
    }
    code = f" ({result['exit_code']})" if result["status"] == "failed" else ""
    return (
        {"trial": result["trial"], "status": result["status"] + code}
        | result["overrides"]
        | numbers
    )


@errors.one_line("rewardjax.sweep")
def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.sweep", description="Plan and run the sweep of a config file."
    )
    parser.add_argument("--config", required=True, metavar="FILE[:ARG]")
    parser.add_argument(
        "--sweep", default="", metavar="NAME", help="use sweep_NAME() instead of sweep()"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--plan", action="store_true", help="print the trials, run nothing")
    what.add_argument(
        "--run", choices=["local"], help="run the trials as processes on this machine"
    )
    parser.add_argument(
        *("--workdir", "--output"),
        help="folder of the sweep; each trial has its own folder inside",
    )
    parser.add_argument("-j", "--jobs", type=int, default=1, help="trials at a time")
    args = parser.parse_args(argv)
    if args.run and not args.workdir:
        parser.error("--run needs --workdir")
    if args.jobs < 1:
        parser.error("--jobs must be at least 1")
    trials = plan(args.config, args.sweep)
    if args.plan:
        print(table([{"trial": trial.id} | trial.overrides for trial in trials]))
        return 0
    refuse_mistakes(trials, args.config, args.workdir)
    results = run_local(trials, args.config, args.workdir, args.jobs)
    print(table([_result_row(result) for result in results]))
    failed = sum(result["status"] == "failed" for result in results)
    if failed:
        print(
            f"{failed} of {len(results)} trials failed; their logs are in "
            f"{args.workdir}/<trial>/log.txt",
            file=sys.stderr,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
