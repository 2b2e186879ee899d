"""A real Ray and a real Slurm on this machine, for as long as a test lasts."""

import contextlib
import importlib
import importlib.util
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest
from tiny import ROOT

from rewardjax.engine.executors import Engine

IMPORTED = f"{ROOT}:{ROOT}/tests:{ROOT}/tests/curation"

# Two slurmd on one host, without munge, control groups and accounting.
SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/none
CryptoType=crypto/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
MinJobAge=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def slurm():
    """An Engine of a Slurm with two nodes. Skips where it is not installed."""
    for program in ("slurmctld", "slurmd", "sbatch"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install slurm-wlm")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="slurm"))
    for name in ("state", "spool.n1", "spool.n2"):
        (folder / name).mkdir()
    settings = {
        "host": socket.gethostname().partition(".")[0],
        "user": os.environ.get("USER", "root"),
        "folder": folder,
        "ports": [free_port() for _ in range(3)],
    }
    (folder / "slurm.conf").write_text(SLURM_CONF.format_map(settings))
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", IMPORTED)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_running(["slurmctld", "-D"], folder))
        for node in ("n1", "n2"):
            stack.enter_context(_running(["slurmd", "-D", "-N", node], folder))
        _wait_for(_both_nodes_are_idle)
        options = {
            "time": "00:20:00",
            "partition": "main",
            "mem_per_cpu_gb": 1,
            "qos": None,
            "mail_type": "NONE",
        }
        yield Engine("slurm", tasks=4, options=options)


def _both_nodes_are_idle() -> bool:
    command = ["sinfo", "--noheader", "--Node", "--format=%t"]
    states = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return states == ["idle", "idle"]


@contextlib.contextmanager
def ray():
    """An Engine of a Ray cluster with two CPUs. Skips where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'rewardjax[ray]'")
    # Not pytest's folder: names of sockets may have some hundred letters.
    folder, port = tempfile.mkdtemp(prefix="ray"), free_port()
    command = f"""
        start --head --block --num-cpus=2 --include-dashboard=false --disable-usage-stats
        --port={port} --object-store-memory=200000000
        --temp-dir={folder}"""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("PYTHONPATH", IMPORTED)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        program = pathlib.Path(sys.executable).parent / "ray"
        stack.enter_context(_running([str(program), *command.split()], pathlib.Path(folder)))
        _wait_for(lambda: _listens(port))
        # By its own address: a driver finds no node of this machine at 127.0.0.1.
        address = importlib.import_module("ray.util").get_node_ip_address()
        patch.setenv("RAY_ADDRESS", f"{address}:{port}")
        yield Engine("ray", tasks=4, options={"workers": 2, "mem_per_cpu_gb": 0.5})


@contextlib.contextmanager
def _running(command, folder):
    with open(folder / f"{pathlib.Path(command[0]).name}.out", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        # Its own group alone: there may be others of the same name on the machine.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{condition} in vain"
        time.sleep(0.5)
