"""Cleaning on a cluster is waited for: a stand-in for Slurm queues jobs that really run later."""

import os
import pathlib
import subprocess
import sys

import pytest
from hand_made import Cast, add_pairs, ids, workspace
from test_clean import small_store
from tiny import ROOT

from rewardjax.curation.cleaning.clean import clean
from rewardjax.curation.cleaning.cleaning_jobs import Unfinished
from rewardjax.curation.stages import cleaning, loop
from rewardjax.curation.workspace import Paused

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
OPTIONS = {
    "name": "slurm",
    "tasks": 2,
    "time": "1:00:00",
    "partition": "any",
    "with_srun": False,
    "env_command": "true",
}


class Cluster:
    """The stand-in: jobs wait in a folder until `work`."""

    def __init__(self, folder):
        self.queue = folder / "queue"
        self.queue.mkdir(parents=True)

    def jobs(self):
        """The scripts in the queue that look through pairs, without datatrove's merging of logs."""
        scripts = sorted(self.queue.glob("*.sh"))
        return [path for path in scripts if "launch_pickled_pipeline" in path.read_text()]

    def work(self, *, fails=False, tasks=2):
        """Run what is queued, each task as a process of its own, and empty the queue."""
        for script in self.jobs():
            for task in range(tasks):
                job = {"SLURM_ARRAY_TASK_ID": str(task), "RUN_OFFSET": "0"}
                job |= {"SLURM_NODELIST": "localhost", "SLURM_PROCID": "0", "SLURM_NODEID": "0"}
                if not fails:
                    command = ["bash", str(script)]
                    subprocess.run(command, env=os.environ | job, check=True, capture_output=True)
        for script in self.queue.glob("*.sh"):
            script.unlink()


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
    monkeypatch.setenv("PYTHONPATH", f"{pathlib.Path(__file__).parent}:{ROOT}:{tests}")
    return made


def test_queued_jobs_are_waited_for_and_not_queued_twice(tmp_path, cluster):
    stores = [small_store(tmp_path / name) for name in "xy"]
    clean(stores[0], near=0.8)
    with pytest.raises(Unfinished, match="3 shards of pairs are looked through by job 102"):
        clean(stores[1], near=0.8, executor=OPTIONS | {"max_array_size": 1})
    assert stores[1].manifests("findings") == []
    queued = cluster.jobs()
    assert queued
    with pytest.raises(Unfinished, match="3 shards of pairs wait for job .*still in the queue"):
        clean(stores[1], near=0.8, executor=OPTIONS)
    assert cluster.jobs() == queued


def test_what_jobs_leave_is_what_this_process_leaves(tmp_path, cluster):
    stores = [small_store(tmp_path / name) for name in "xy"]
    counts = clean(stores[0], near=0.8)
    with pytest.raises(Unfinished, match="queued; start the same command again"):
        clean(stores[1], near=0.8, executor=OPTIONS)
    cluster.work()
    assert clean(stores[1], near=0.8, executor=OPTIONS) == counts
    assert stores[0].fingerprint() == stores[1].fingerprint()
    assert cluster.jobs() == []


def test_jobs_that_end_without_reporting_are_queued_again_and_this_is_told(tmp_path, cluster):
    store = small_store(tmp_path / "store")
    with pytest.raises(Unfinished):
        clean(store, executor=OPTIONS)
    cluster.work(fails=True)
    with pytest.raises(Unfinished, match="3 shards.*once more, as earlier tasks ended without"):
        clean(store, executor=OPTIONS)
    assert len(cluster.jobs()) == 1
    # One of two tasks: what it looked through stays.
    cluster.work(tasks=1)
    with pytest.raises(Unfinished, match="1 shards of pairs"):
        clean(store, executor=OPTIONS)
    cluster.work()
    assert clean(store, executor=OPTIONS) == {"pii": 1}


def test_a_queue_that_cannot_be_asked_is_no_empty_queue(tmp_path, cluster):
    store = small_store(tmp_path / "store")
    with pytest.raises(Unfinished):
        clean(store, executor=OPTIONS)
    (cluster.queue / "down").touch()
    queued = cluster.jobs()
    with pytest.raises(Unfinished, match="Unable to contact controller.*launched.json"):
        clean(store, executor=OPTIONS)
    assert cluster.jobs() == queued


def test_nobody_is_asked_about_pairs_while_jobs_are_queued(tmp_path, cluster, capsys):
    cast = Cast()
    with workspace(tmp_path / "w", cast) as ws:
        ws.config.clean.executor = OPTIONS
        add_pairs(ws, ids("north", 0, 3))
        with pytest.raises(Paused, match="is queued; start the same command again"):
            loop.run(ws)
        assert cast.tasks == cast.items == []
        cluster.work()
        assert cleaning.clean_new(ws)
    assert "cleaning: pii: 3 of 3 pairs looked at, 0 findings" in capsys.readouterr().out
