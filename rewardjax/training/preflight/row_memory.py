"""Fewer rows in a micro-batch where those that the data ask for do not fit a device's memory.

What a step needs is the compiler's word, not an estimate: it depends on model, dtype, mesh and
what is recomputed.
"""

import math
from collections.abc import Callable

import jax

from rewardjax.config import Config
from rewardjax.models.build import decoder_config
from rewardjax.parallel.mesh import row_shards
from rewardjax.training.abstract import abstract_step
from rewardjax.training.preflight import host_memory
from rewardjax.training.preflight.row_fit import MOST_SLOTS

# The rest is for what is not in the program: batches that wait, and gaps between arrays.
USABLE = 0.85
# A step whose upper bound is so far below the memory need not be compiled to know that it fits.
CLEARLY = 0.25
GIB = 2**30


def fitted(config: Config, fit: Callable[[int], Config]) -> tuple[Config, str | None]:
    """The config with its rows, and a warning where even the fewest do not seem to fit.

    config: as it was given. fit: the config with rows of at most so many slots in a micro-batch.
    """
    by_data = fit(MOST_SLOTS)
    memory = device_memory()
    if config.batch.rows is not None or memory is None:
        return by_data, None
    fewer = by_data
    while (needed := bytes_needed(fewer, memory)) > USABLE * memory:
        slots = fewer.batch.rows * fewer.batch.row_length
        before, fewer = fewer, fit(slots // 2)
        if fewer.batch.rows * fewer.batch.row_length >= slots:
            return before, (
                f"warning: a step needs about {needed / GIB:.1f} GiB and a device has "
                f"{memory / GIB:.1f}, with the fewest rows that hold the longest conversation; "
                "lower data.max_length, or set compute.remat=full"
            )
    return fewer, None


def device_memory() -> int | None:
    """Bytes that a program may use of each device; None where nobody says.

    The same on all hosts and after a restart, or they would not come to the same rows.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    total = host_memory.total()
    # Hosts without accelerators may differ in memory.
    if total is None or jax.process_count() > 1:
        return None
    return total // jax.local_device_count()


def bytes_needed(config: Config, memory: int) -> float:
    """Bytes of one device in a training step, or an upper bound that is clearly below `memory`.

    Infinity where the compiler refuses the program for its size.
    """
    step = abstract_step(config)
    held = 0
    for array in jax.tree.leaves((step.params, step.opt, step.total)):
        held += math.prod(array.shape) * array.dtype.itemsize
    decoder, batch = decoder_config(**config.model), config.batch
    # Everything that a layer could keep for the backward pass, in float32, and as much again.
    widths = 16 * decoder.width + 4 * decoder.mlp_width + 8 * decoder.heads * decoder.head_dim
    slots = batch.rows * batch.row_length / row_shards()
    bound = held + 2 * 4 * slots * decoder.layers * widths
    if bound < CLEARLY * memory:
        return bound
    accumulate, arguments = step.accumulate_beside_opt()
    try:
        needs = accumulate.lower(*arguments).compile().memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        # TPUs' compiler refuses what does not fit; other faults are the run's to tell.
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return math.inf
    return max(needs.argument_size_in_bytes + needs.temp_size_in_bytes, needs.peak_memory_in_bytes)
