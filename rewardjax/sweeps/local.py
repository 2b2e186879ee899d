"""Trials as processes of this machine; a second call runs what is missing or has failed."""

import concurrent.futures
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rewardjax import fingerprint
from rewardjax.sweeps import names
from rewardjax.sweeps.trials import Trial

TRAIN = (sys.executable, "-m", "rewardjax.train")
RESULTS, LOG = "results.jsonl", "log.txt"
# A line of the log between two attempts at a trial: what ended an earlier one is not this one's.
ATTEMPT = "=== attempt of"


def run_local(
    trials: Sequence[Trial],
    config: str,
    workdir: str | pathlib.Path,
    jobs: int = 1,
    command: Sequence[str] = TRAIN,
    ended: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Run each trial as a subprocess, `jobs` at a time; return one result per trial, in order.

    A trial runs in `workdir/<its name>`, and is skipped if that folder holds DONE and the same
    config. Every attempt appends a row to `workdir/results.jsonl` (trial, number, overrides,
    status, exit_code, seconds, summary); its output is in `log.txt` of its folder. `ended` is
    called after each attempt, never twice at a time.
    """
    folder = pathlib.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    append = threading.Lock()

    def attempt(trial: Trial) -> dict[str, Any]:
        home = home_of(folder, trial)
        row: dict[str, Any] = {
            "trial": trial.id,
            "number": trial.number,
            "overrides": trial.overrides,
        }
        if is_done(home, trial):
            return row | {"status": "done", "skipped": True, "summary": read_summary(home)}
        home.mkdir(exist_ok=True)
        started = time.monotonic()
        with open(home / LOG, "ab") as log:
            log.write(f"{ATTEMPT} {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
            log.flush()
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
        with append:
            with open(folder / RESULTS, "a") as results:
                results.write(json.dumps(row) + "\n")
            print(
                f"{trial.name} {row['status']} after {row['seconds']:.0f}s ({home / LOG})",
                file=sys.stderr,
                flush=True,
            )
            ended()
        return row

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(attempt, trial) for trial in trials]
        try:
            return [future.result() for future in futures]
        except BaseException:
            # Ctrl-C reaches the running trials by itself; no more of them are started.
            pool.shutdown(cancel_futures=True)
            raise


def home_of(workdir: pathlib.Path, trial: Trial) -> pathlib.Path:
    """The folder of a trial: the one that it has, else the one that it is to have."""
    # The bare id is what folders were named by once.
    for name in (trial.name, trial.id):
        if (workdir / name).is_dir():
            return workdir / name
    # A sweep that was given more values since numbers the same trial otherwise.
    for home in sorted(workdir.glob(f"*-{trial.id[: names.HASH_DIGITS]}")):
        if _has_config_of(home, trial):
            return home
    return workdir / trial.name


def train_command(
    trial: Trial, config: str, home: pathlib.Path, command: Sequence[str] = TRAIN
) -> list[str]:
    """The argv that trains `trial` in `home`."""
    flags = [f"--config.{setting}" for setting in trial.settings]
    flags += [f"--config.{key}={value}" for key, value in trial.overrides.items()]
    return [*command, f"--config={config}", f"--workdir={home}", *flags]


def is_done(home: pathlib.Path, trial: Trial) -> bool:
    """Whether training ended in `home` (it writes DONE last) with the config of `trial`."""
    return (home / "DONE").is_file() and _has_config_of(home, trial)


def read_summary(home: pathlib.Path) -> dict[str, Any] | None:
    """The summary that training left in `home`, or None."""
    path = home / "summary.json"
    if not path.is_file():
        return None
    return json.loads(path.read_text())


def _has_config_of(home: pathlib.Path, trial: Trial) -> bool:
    recorded = home / "config.json"
    return recorded.is_file() and fingerprint.of_json(json.loads(recorded.read_text())) == trial.id
