"""Which mesh, rows per chip and remat policy are fastest on a slice, by compiling them."""

import sys
from typing import Any

from rewardjax import config as config_lib
from rewardjax.aot import roofline
from rewardjax.aot.measure import measure
from rewardjax.aot.topology import Topology, mesh_shapes
from rewardjax.reporting.text_table import table

ROWS = (1, 2, 4)  # per device


def search(
    config: config_lib.Config, topology: Topology, mode: str = "train", kind: str = "short"
) -> dict[str, Any]:
    """The result of `measure` for the fastest setting, with all that were tried as `ranking`.

    Fastest first, then those that do not fit. For each mesh and number of rows the policies are
    tried from the one that saves most, which computes least, until one fits; where none does, more
    rows are not tried.
    """
    tried: list[dict[str, Any]] = []
    # Scoring keeps nothing for a backward pass, so there is nothing to choose.
    policies = ["none"]
    if mode == "train":
        policies = list(reversed(roofline.SAVES))
    for data, fsdp in mesh_shapes(topology.sides, topology.chip, topology.slices):
        for rows in ROWS:
            for remat in policies:
                tried.append(_try(config, topology, mode, kind, data, fsdp, rows, remat))
                print(_line(tried[-1]), file=sys.stderr, flush=True)
                if tried[-1]["fits"]:
                    break
            if not tried[-1]["fits"]:
                break
    order = sorted(tried, key=_rank)
    return order[0] | {"ranking": [_row(result) for result in order]}


def _rank(result: dict[str, Any]) -> tuple:
    return not result["fits"], -result.get("pairs_per_second", 0.0), result.get("over_gib", 0.0)


def _try(config, topology, mode, kind, data, fsdp, rows, remat) -> dict[str, Any]:
    changed = {
        "mesh.data": data,
        "mesh.fsdp": fsdp,
        "mesh.tensor": 1,
        "batch.rows": rows * data * fsdp,
        "compute.remat": remat,
    }
    return measure(
        config_lib.override(config.copy_and_resolve_references(), changed), topology, mode, kind
    )


def _row(result: dict[str, Any]) -> dict[str, Any]:
    setting = {
        "data": result["mesh"]["data"],
        "fsdp": result["mesh"]["fsdp"],
        "rows": result["rows_per_device"],
        "remat": result["remat"],
    }
    memory = {"state_gib": result["state_gib"], "temp_gib": result["temp_gib"]}
    if not result["fits"]:
        return setting | {"fits": False} | memory | {"over_gib": result["over_gib"]}
    speed = {"mfu": result["mfu"], "pairs_per_second": result["pairs_per_second"]}
    return setting | {"fits": True} | memory | speed


def _line(result: dict[str, Any]) -> str:
    words = []
    for name, value in _row(result).items():
        if isinstance(value, float):
            value = f"{value:.4g}"
        words.append(f"{name} {value}")
    return ", ".join(words)


def text(result: dict[str, Any]) -> str:
    """The ranking as a table."""
    return table(result["ranking"])
