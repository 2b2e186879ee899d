"""One of two processes with two devices each:

loads, places, scores and saves; prints what the test compares. Run by test_processes.py.
"""

import json
import sys

import jax
import numpy as np

from rewardjax.models import hf
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, make_mesh, place, row_share

address, index, fsdp, tensor, source, target = sys.argv[1:]
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize(address, 2, int(index))
jax.set_mesh(make_mesh(data=-1, fsdp=int(fsdp), tensor=int(tensor)))
layout = Layout()
model = hf.load(source, Compute(dtype="float32"), layout)
hf.save(model, target, pad_token_id=1, eos_token_id=2, shard_bytes=200_000)

B, T = 8, 8
own = np.tile(np.arange(T), (B, 1))
batch = dict(
    tokens=own * 7 + np.arange(B)[:, None] + 3,
    positions=own,
    see_from=own * 0,
    see_to=own,
    score_at=own[:, -2:],
)
part, parts = row_share(layout)
mine = {name: np.split(array, parts)[part].astype(np.int32) for name, array in batch.items()}
rewards_BS = jax.jit(lambda model, batch: jax.reshard(model(**batch), jax.P()))(
    model, place(mine, layout)
)
print(json.dumps(dict(share=[part, parts], rewards=np.asarray(rewards_BS).tolist())))
