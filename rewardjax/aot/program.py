"""The programs of a run, compiled for a described slice.

They are the functions that training and scoring call, over abstract arrays: what is measured cannot
differ from what runs.
"""

import dataclasses
import math
import re
import resource
import time
from collections.abc import Callable
from typing import Any

import jax

from rewardjax import config as config_lib
from rewardjax.aot.topology import GIB, Topology
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.scoring import rows
from rewardjax.training.abstract import abstract_batch, abstract_model, abstract_step

# The compiler refuses a program early or late, each time by all that it needs, arguments included.
_TOO_LARGE = re.compile(
    r"(?:HLO temporaries \(|Used )([\d.]+)([KMGT]?)(?:\) exceeds| of [\d.]+[KMGT]? hbm)"
)
_IN_GIB = {"K": 2**-20, "M": 2**-10, "G": 1.0, "T": 2.0**10, "": 2**-30}


@dataclasses.dataclass(frozen=True)
class Program:
    """One compiled function; sizes are GiB of one device.

    `held_gib` of its arguments, `temp_gib` of the area for all else, `needed_gib` the most at any
    one time, `host_gib` of what it offloads to its host. One that does not fit has no `text`.
    """

    name: str
    held_gib: float
    temp_gib: float
    needed_gib: float
    host_gib: float
    seconds: float
    text: str | None

    @property
    def fits(self) -> bool:
        """Whether the compiler found room for it."""
        return self.text is not None


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The programs of a mode, and what of the state each device holds, in GiB by name."""

    programs: list[Program]
    state_gib: dict[str, float]
    mesh: dict[str, int]
    host_peak_gib: float  # the most memory that this process has used, compilers included

    @property
    def fits(self) -> bool:
        """Whether all of the programs fit."""
        return all(program.fits for program in self.programs)


def train(config: config_lib.Config, topology: Topology) -> Compiled:
    """The two functions of `step.make_step` with the config's model, loss and optimizer.

    Raises ValueError where the config's mesh or rows do not divide over the slice.
    """
    with jax.set_mesh(make_mesh(**config.mesh, devices=topology.devices)):
        step = abstract_step(config)
        accumulate, arguments = step.accumulate_beside_opt()
        programs = [compile_for_slice("accumulate", accumulate, *arguments)]
        if programs[0].fits:
            update = compile_for_slice("update", step.update, step.trainable, step.opt, step.total)
            programs.append(update)
        state = {
            "parameters": _gib(step.params),
            "optimizer": _gib(step.opt),
            "gradients": _gib(step.total),
        }
        return Compiled(programs, state, dict(jax.sharding.get_mesh().shape), _host_peak_gib())


def score(config: config_lib.Config, topology: Topology) -> Compiled:
    """The function of `rows.make_score_rows`, as scoring calls it.

    Nothing is kept for a backward pass.
    """
    with jax.set_mesh(make_mesh(**config.mesh, devices=topology.devices)):
        layout = Layout()
        graph, params = abstract_model(
            config, Compute(**{**config.compute, "remat": "none"}), layout
        )
        batch = abstract_batch(config.batch, layout)
        program = compile_for_slice("score", rows.make_score_rows(graph), params, batch)
        state = {"parameters": _gib(params)}
        return Compiled([program], state, dict(jax.sharding.get_mesh().shape), _host_peak_gib())


MODES: dict[str, Callable[[config_lib.Config, Topology], Compiled]] = {
    "train": train,
    "score": score,
}


def compile_for_slice(name: str, function: Callable, *args: Any) -> Program:
    """A jitted function compiled for the devices of its abstract arguments' shardings.

    Raises JaxRuntimeError where it fails for another reason than its size.
    """
    started = time.monotonic()
    held = _gib(args)
    try:
        executable = function.lower(*args).compile()
    except jax.errors.JaxRuntimeError as error:
        needed = _needed_gib(str(error))
        if needed is None:
            raise
        return Program(name, held, needed - held, needed, 0.0, time.monotonic() - started, None)
    memory = executable.memory_analysis()
    return Program(
        name,
        held_gib=held,
        temp_gib=memory.temp_size_in_bytes / GIB,
        needed_gib=memory.peak_memory_in_bytes / GIB,
        host_gib=memory.host_temp_size_in_bytes / GIB,
        seconds=time.monotonic() - started,
        text=executable.as_text(),
    )


def _needed_gib(message: str) -> float | None:
    """GiB that the compiler asked for, from its message.

    None where it failed for another reason.
    """
    match = _TOO_LARGE.search(message)
    if match is None:
        return None
    return float(match[1]) * _IN_GIB[match[2]]


def _gib(tree: Any) -> float:
    """GiB that each device holds of some arrays."""
    leaves = jax.tree.leaves(tree)
    sizes = [math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves]
    return sum(sizes) / GIB


def _host_peak_gib() -> float:
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
