"""The exact search of curation/retrieval/search.py on a slice.

Its programs are compiled, its time is predicted.
"""

import math
from typing import Any

import jax

from rewardjax import config as config_lib
from rewardjax.aot import hlo, roofline
from rewardjax.aot.measure import exchange_lines
from rewardjax.aot.program import compile_for_slice
from rewardjax.aot.topology import Topology
from rewardjax.curation.retrieval import search
from rewardjax.parallel.mesh import make_mesh

# Over the similarities in HBM: they are written, read for the best of each group, and read again
# for what lies in good groups.
PASSES = 4

ASSUMPTIONS = (
    f"multiplying reaches {roofline.MATMUL} of the peak, similarities cross HBM {PASSES} times, "
    "and the slower of the two counts",
    "the base is read from the hosts' disks, and brought to the devices, while they search",
    "the best of all devices are exchanged once, at the end",
)


def measure(config: config_lib.Config, topology: Topology) -> dict[str, Any]:
    """What a search needs, and how long it should take.

    For `config.k` of `config.base` vectors of `config.width` for each of `config.queries`. Returns
    plain JSON values; `fits` is the verdict, sizes are GiB of a device.
    """
    with jax.set_mesh(make_mesh(**config.mesh, devices=topology.devices)):
        mesh = jax.sharding.get_mesh()
        chunk = search.chunk_rows(config.base, mesh.size)
        step, arguments = search.abstract_step(
            mesh, queries=config.queries, width=config.width, k=config.k, chunk=chunk
        )
        finish = search.search(mesh, config.k)[1]
        programs = [
            compile_for_slice("step", step, *arguments),
            compile_for_slice("finish", finish, arguments[0]),
        ]
    needed, limit = max(program.needed_gib for program in programs), topology.chip.limit_gib
    result: dict[str, Any] = {
        "topology": topology.name,
        "chips": topology.chips,
        "mode": "retrieval",
        "mesh": dict(mesh.shape),
        "search": {
            "queries": config.queries,
            "base": config.base,
            "width": config.width,
            "k": config.k,
        },
        "base_rows_per_device": chunk,
        "steps": math.ceil(config.base / (chunk * mesh.size)),
        "fits": all(program.fits for program in programs),
        "state_gib": programs[0].held_gib,
        "temp_gib": max(program.temp_gib for program in programs),
        "needed_gib": needed,
        "limit_gib": limit,
        "assumptions": list(ASSUMPTIONS),
    }
    if not result["fits"]:
        return result | {"over_gib": needed - limit, "collectives": {}, "mfu": None}
    step_collectives, finish_collectives = (
        hlo.collectives(program.text or "", mesh.size) for program in programs
    )
    flops = 2.0 * config.queries * config.base * config.width
    peak = roofline.peak_flops(topology) * mesh.size
    multiplying = flops / (roofline.MATMUL * peak)
    reading = (
        PASSES * 4.0 * config.queries * config.base / mesh.size / topology.chip.hbm_bytes_per_s
    )
    # One step per chunk of the base, one finish at the end.
    seconds_of = lambda collectives: sum(
        roofline.exchange_seconds(collective, topology) for collective in collectives
    )
    exchanging = result["steps"] * seconds_of(step_collectives) + seconds_of(finish_collectives)
    seconds = max(multiplying, reading) + exchanging
    return result | {
        "collectives": hlo.summary([*step_collectives, *finish_collectives]),
        "seconds": seconds,
        "seconds_multiplying": multiplying,
        "seconds_in_hbm": reading,
        "seconds_exchanging": exchanging,
        "mfu": flops / (seconds * peak),
    }


def text(result: dict[str, Any]) -> str:
    """The result for a reader."""
    search, needed, limit = result["search"], result["needed_gib"], result["limit_gib"]
    lines = [
        f"the {search['k']} nearest of {search['base']:,} vectors of width {search['width']} for "
        f"each of {search['queries']:,} queries, on {result['topology']}: {result['steps']} steps "
        f"of {result['base_rows_per_device']:,} base rows per device"
    ]
    if result["fits"]:
        lines.append(f"fits: at most {needed:.2f} of {limit:.2f} GiB per device at a time")
    else:
        lines.append(
            f"DOES NOT FIT: {needed:.2f} GiB per device, {result['over_gib']:.2f} GiB more than "
            f"the {limit:.2f} there are; search for fewer queries at a time"
        )
    lines += [
        f"  held         {result['state_gib']:.2f} GiB (queries, their best so far, a chunk of the "
        "base)",
        f"  temporary    {result['temp_gib']:.2f} GiB",
    ]
    if result["fits"]:
        lines += exchange_lines(result["collectives"])
        lines.append(
            f"predicted: {result['seconds']:.3g} s (multiplying "
            f"{result['seconds_multiplying']:.3g} beside HBM {result['seconds_in_hbm']:.3g}, "
            f"exchanging {result['seconds_exchanging']:.3g}), MFU {100 * result['mfu']:.1f}%"
        )
    return "\n".join([*lines, "assuming that", *(f"  {line}" for line in result["assumptions"])])
