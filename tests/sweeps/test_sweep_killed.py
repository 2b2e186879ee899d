"""A sweep of real trainings: killed in the middle, resumed, one of its trials failing on purpose."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tiny import ROOT

CONFIG = f"""
import importlib.util
from rewardjax.config import product, sweep as vary

spec = importlib.util.spec_from_file_location("tiny", {str(ROOT / "configs/tiny.py")!r})
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
get_config = tiny.get_config

def sweep():
    peaks, smoothing = vary("schedule.peak", (3e-3, 1e-2, 3e-2)), (0.0, 0.1)
    trials = list(product(peaks, vary("seed", (0, 1)), vary("loss.label_smoothing", smoothing)))
    # The last: its weights leave the range of numbers at the first step.
    return [*trials[:-1], {{"schedule.peak": 1e30}}]
"""
KILLED_AFTER = 5  # trials


def rows(workdir):
    file = workdir / "results.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_a_sweep_of_twelve_is_killed_and_resumed_and_one_trial_fails(tmp_path):
    config, workdir = tmp_path / "killed.py", tmp_path / "sweep"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "rewardjax.sweep", "--config", str(config)]
    command += ["--run", "local", "--workdir", str(workdir), "-j", "2"]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    # A machine that goes down takes the trainings with it.
    sweep = subprocess.Popen(command, env=env, start_new_session=True)
    while len(rows(workdir)) < KILLED_AFTER:
        assert sweep.poll() is None, "the sweep ended before it could be killed"
        time.sleep(0.1)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()
    before = rows(workdir)
    assert len(before) < 12

    ended = subprocess.run(command, env=env, capture_output=True, text=True)
    assert ended.returncode == 1, ended.stderr
    finished = sorted(int(path.parent.name[:2]) for path in workdir.glob("*/DONE"))
    assert finished == list(range(11))
    # Once each: what was done before is not done again. A training that ended just before its
    # sweep was killed has no row.
    numbers = [row["number"] for row in rows(workdir) if row["status"] == "done"]
    assert len(set(numbers)) == len(numbers) >= 9
    failed = [row for row in rows(workdir)[len(before) :] if row["status"] == "failed"]
    assert [row["number"] for row in failed] == [11]
    page = (workdir / "index.html").read_text()
    for text in ("schedule.peak", "1e+30", "not finite"):
        assert text in page, text
    assert "not finite" in ended.stdout + ended.stderr
