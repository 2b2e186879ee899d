"""Jobs of a cluster are waited for: a stand-in for Slurm queues jobs that really run later."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import dill
import pytest
from cleaning_texts import small_store
from hand_made import Cast, add_pairs, ids, workspace
from ml_collections import ConfigDict
from tiny import ROOT

from rewardjax.curation.cleaning.clean import clean
from rewardjax.curation.stages import cleaning, loop
from rewardjax.curation.workspace import Paused
from rewardjax.engine import jobs, spread
from rewardjax.engine.executors import Engine
from rewardjax.engine.jobs import Unfinished

# Puts a job into the folder `queue`, where it waits until somebody runs it.
SBATCH = """#!/bin/bash
queue="$(dirname "$0")/queue"
job=$(( $(cat "$queue/last" 2>/dev/null || echo 100) + 1 ))
echo $job > "$queue/last"
cp "${@: -1}" "$queue/$job.sh"
echo Submitted batch job $job
"""
SQUEUE = """#!/bin/bash
queue="$(dirname "$0")/queue"
if [ -f "$queue/down" ]; then echo "slurm_load_jobs error: Unable to contact controller" >&2; exit 1; fi
if [ -f "$queue/${@: -1}.sh" ]; then echo "${@: -1} main data_processing PD"; exit 0; fi
echo "slurm_load_jobs error: Invalid job id specified" >&2
exit 1
"""
ENGINE = Engine(
    "slurm",
    tasks=2,
    options={
        "time": "1:00:00",
        "partition": "any",
        "with_srun": False,
        "env_command": "true",
    },
)


class Cluster:
    """The stand-in: jobs wait in a folder until `work`."""

    def __init__(self, folder):
        self.queue = folder / "queue"
        self.queue.mkdir(parents=True)

    def jobs(self):
        """The scripts in the queue."""
        return sorted(self.queue.glob("*.sh"))

    def work(self, *, fails=False, tasks=2, as_processes=False):
        """Run the tasks of what is queued, and empty the queue."""
        for script in self.jobs():
            for task in range(tasks):
                if as_processes:
                    environment = os.environ | self._environment(task)
                    command = ["bash", str(script)]
                    subprocess.run(command, env=environment, check=True, capture_output=True)
                elif not fails:
                    self._work_here(script, task)
            script.unlink()

    def _environment(self, task):
        job = {"SLURM_ARRAY_TASK_ID": str(task), "RUN_OFFSET": "0"}
        return job | {"SLURM_NODELIST": "localhost", "SLURM_PROCID": "0", "SLURM_NODEID": "0"}

    def _work_here(self, script, task):
        """What the script does, without the seconds that a process takes to import everything."""
        (path,) = re.findall(r"^launch_pickled_pipeline (.*)$", script.read_text(), re.MULTILINE)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._environment(task).items():
                patch.setenv(name, value)
            dill.loads(pathlib.Path(path).read_bytes()).run()


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    made = Cluster(folder)
    scontrol = "#!/bin/bash\necho localhost\n"
    for name, script in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", scontrol)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    path = f"{folder}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    tests = f"{ROOT}/tests/curation:{ROOT}/tests"
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tests}")
    return made


@pytest.fixture
def whenever_it_waits(monkeypatch):
    """What happens each time that a run looks again: functions, one after another."""
    events = []

    def next_event(seconds):
        events.pop(0)()

    monkeypatch.setattr(spread, "sleep", next_event)
    return events


def test_a_job_is_waited_for_and_leaves_what_this_process_leaves(
    tmp_path, cluster, whenever_it_waits
):
    stores = [small_store(tmp_path / name) for name in "xy"]
    counts = clean(stores[0], near=0.8)
    whenever_it_waits += [lambda: None, lambda: cluster.work(as_processes=True)]
    assert clean(stores[1], near=0.8, engine=ENGINE) == counts
    assert stores[0].manifests() == stores[1].manifests()
    assert cluster.jobs() == [] and not whenever_it_waits


def test_an_interrupted_run_goes_on_with_the_job_that_is_queued(
    tmp_path, cluster, whenever_it_waits
):
    store = small_store(tmp_path / "store")

    def interrupt():
        raise KeyboardInterrupt

    whenever_it_waits.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        clean(store, engine=ENGINE)
    queued = cluster.jobs()
    assert len(queued) == 1 and store.manifests("findings") == []

    def work():
        assert cluster.jobs() == queued
        cluster.work()

    whenever_it_waits.append(work)
    assert clean(store, engine=ENGINE) == {"pii": 1}
    # What jobs did while nobody waited is joined without another one.
    again = small_store(tmp_path / "again")
    whenever_it_waits.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        clean(again, engine=ENGINE)
    cluster.work()
    assert clean(again, engine=ENGINE) == {"pii": 1}
    assert again.fingerprint() == store.fingerprint()


def test_tasks_that_end_without_reporting_are_queued_again_while_that_brings_something(
    tmp_path, cluster, whenever_it_waits, capsys
):
    store = small_store(tmp_path / "store")
    # One of two tasks: what it looked through stays.
    whenever_it_waits += [lambda: cluster.work(tasks=1), cluster.work]
    assert clean(store, engine=ENGINE) == {"pii": 1}
    said = capsys.readouterr().err
    assert "cleaning: tasks ended before 1 of their units; they start again" in said


def test_a_job_array_that_fails_is_told_in_one_line_with_its_logs(
    tmp_path, cluster, whenever_it_waits
):
    store = small_store(tmp_path / "store")
    whenever_it_waits += [lambda: cluster.work(fails=True)] * 2
    with pytest.raises(Unfinished, match=r"cleaning: 3 units are not done.*round-1, then") as error:
        clean(store, engine=ENGINE)
    assert "\n" not in str(error.value)
    assert cluster.jobs() == []


def test_a_queue_that_cannot_be_asked_is_no_empty_queue(
    tmp_path, cluster, whenever_it_waits, monkeypatch
):
    store = small_store(tmp_path / "store")
    monkeypatch.setattr(jobs, "QUEUE_PATIENCE", 0.0)
    whenever_it_waits.append((cluster.queue / "down").touch)
    with pytest.raises(Unfinished, match="3 units wait.*Unable to contact controller.*round-1/job"):
        clean(store, engine=ENGINE)
    (job,) = cluster.jobs()
    # A controller that is down for a moment is waited for.
    monkeypatch.setattr(jobs, "QUEUE_PATIENCE", 600.0)
    whenever_it_waits += [(cluster.queue / "down").unlink, cluster.work]
    assert clean(store, engine=ENGINE) == {"pii": 1}
    assert not job.exists()


def test_a_job_that_slurm_does_not_take_is_told(tmp_path, cluster, whenever_it_waits):
    store = small_store(tmp_path / "store")
    (cluster.queue.parent / "sbatch").write_text("#!/bin/bash\nexit 1\n")
    with pytest.raises(Unfinished, match="cleaning: the slurm job cannot be started: .*sbatch"):
        clean(store, engine=ENGINE)


def test_nobody_is_asked_about_pairs_that_no_task_looked_through(
    tmp_path, cluster, whenever_it_waits, capsys
):
    cast = Cast()
    with workspace(tmp_path / "w", cast) as ws:
        add_pairs(ws, ids("north", 0, 3))
        ws.config.engine = ConfigDict(dataclasses.asdict(ENGINE))
        whenever_it_waits.append(lambda: cluster.work(fails=True))
        with pytest.raises(Paused, match="cleaning: 1 units are not done"):
            loop.run(ws)
        assert cast.tasks == cast.items == []
        whenever_it_waits.append(cluster.work)
        assert cleaning.clean_new(ws)
    assert "cleaning: pii: 3 of 3 pairs looked at, 0 findings" in capsys.readouterr().out
