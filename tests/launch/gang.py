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

from rewardjax.parallel import distributed

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
distributed.assert_same({"this text": "the same", "this other text": "also the same"})
report = {"devices": jax.device_count(), "local": jax.local_device_count(), "total": result}
(folder / f"{me}.json").write_text(json.dumps(report))

if behavior == "differ":
    config = "odd" if me == who else "even"
    distributed.assert_same({"the data": "the same", "the config": config})
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
if behavior == "work_on":
    print("working", flush=True)
if behavior != "end":
    time.sleep(120)
