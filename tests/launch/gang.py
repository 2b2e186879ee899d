"""What tests/launch/test_local.py runs in several processes:

`gang.py BEHAVIOR WHO FOLDER`. Leaves a report, then behaves.
"""

import json
import os
import pathlib
import signal
import sys
import time

import jax
import numpy as np

from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode
from rewardjax.parallel import boundaries, distributed, in_common
from rewardjax.parallel.watchdog import watching

HANGS_AFTER = 3.0  # seconds


class Left(errors.Ending):
    """What a command raises that was asked to stop."""

    code = ExitCode.PREEMPTED


distributed.initialize()

behavior, who, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
me, processes = jax.process_index(), jax.process_count()
mesh = jax.make_mesh((2, 4), ("data", "fsdp"))
axes = jax.P(("data", "fsdp"))
everything = np.arange(32, dtype=np.float32).reshape(8, 4)
mine = everything[me * 8 // processes : (me + 1) * 8 // processes]
x = jax.make_array_from_process_local_data(jax.NamedSharding(mesh, axes), mine)
total = jax.jit(
    jax.shard_map(
        lambda v: jax.lax.psum((v * v).sum(0), ("data", "fsdp")),
        mesh=mesh,
        in_specs=axes,
        out_specs=jax.P(),
    )
)
result = np.asarray(jax.device_get(total(x).addressable_data(0))).tolist()
in_common.refuse(errors.Complaints(), {"this text": "the same"}, {"--folder": folder}, dict)
report = {"devices": jax.device_count(), "local": jax.local_device_count(), "total": result}
(folder / f"{me}.json").write_text(json.dumps(report))
# Nobody misbehaves before all have left their reports.
total(x).block_until_ready()

if behavior == "differ":
    complaints = errors.Complaints()
    complaints.add(["a complaint of both"])
    rate = "0.1"
    # A folder of its own, as on a disk that the hosts do not share.
    own = folder / "own"
    if me == who:
        complaints.add(["a complaint of one"])
        rate, own = "0.2", folder / "other"
    in_common.refuse(complaints, {"config.rate": rate}, {"--workdir": own}, dict)
if behavior == "raise" and me == who:
    raise ValueError("the reason")
if behavior == "raise_while_others_wait":
    if me == who:
        raise ValueError("the reason")
    total(x).block_until_ready()
if behavior == "kill" and me == who:
    os.kill(os.getpid(), signal.SIGKILL)
if behavior == "exit" and me == who:
    os._exit(7)
if behavior == "stop":
    with boundaries.stopping_on_signals() as stopping:
        print(f"working {os.getpid()}", flush=True)
        for step in range(10_000):
            total(x).block_until_ready()
            time.sleep(0.02)
            if stopping.due(boundaries.STOP, step):
                (folder / f"{me}.json").write_text(json.dumps(step))
                raise Left("stopped")
if behavior in ("hang", "freeze"):
    with watching(minutes=HANGS_AFTER / 60) as watchdog:
        for step in range(1 if me == who else 2):
            watchdog.beat(step)
            total(x).block_until_ready()
            time.sleep(1.5)  # until everybody has shown life
        if me == who and behavior == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        if me == who:
            time.sleep(120)
if behavior != "end":
    time.sleep(120)
