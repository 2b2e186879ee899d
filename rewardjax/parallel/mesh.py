"""Devices as one mesh with axes (data, fsdp, tensor), and the table of how arrays lie on it.

`data` repeats the model, `fsdp` splits its weights over the devices that also split the batch,
`tensor` splits heads and mlp columns. The mesh is explicit: a layout is part of an array's type,
and a wrong one fails while tracing, on any machine. No other file names a mesh axis for an array.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

AXES = ("data", "fsdp", "tensor")
# The axes that split the rows of a batch. `fsdp` is one of them: a device that holds a part of
# every weight gathers the others when it needs them, and works on rows of its own.
ROWS = ("data", "fsdp")
LETTERS = {
    "B": "rows",
    "D": "width",
    "F": "mlp width",
    "H": "head width",
    "K": "kv heads",
    "L": "layers",
    "N": "query heads",
    "S": "scored slots",
    "T": "tokens",
    "V": "vocabulary",
}


def make_mesh(
    data: int = -1, fsdp: int = 1, tensor: int = 1, *, devices: Sequence[Any] | None = None
) -> jax.sharding.Mesh:
    """Mesh over `devices`, or over all devices of all processes.

    At most one size is -1 and takes the rest. Raises ValueError if the sizes do not multiply out.
    """
    sizes = dict(data=data, fsdp=fsdp, tensor=tensor)
    count = jax.device_count()
    if devices is not None:
        count = len(devices)
    free = [axis for axis, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(free) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
        raise ValueError(
            f"mesh {sizes}: sizes are positive, and at most one may be -1 (the rest of the devices)"
        )
    if free and count % fixed == 0:
        sizes[free[0]] = count // fixed
    if math.prod(sizes.values()) != count:
        raise ValueError(
            f"mesh {sizes}: the sizes must multiply to the {count} devices there are; set one of "
            "them to -1 to fill up"
        )
    return jax.make_mesh(tuple(sizes.values()), AXES, devices=devices)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How arrays lie on the mesh.

    A field's name is an array with its axes (letters as in docs/architecture.md), its value the
    mesh axes that split them. Weights stacked over layers have one more leading axis, which is
    never split. Raises ValueError for an unknown mesh axis or one used twice.
    """

    # Split by columns: looking up a token never crosses devices.
    embed_VD: P = P(None, "fsdp")
    # The output of q, k, v, up and the input of o, down lie along `tensor`, so that a block
    # exchanges activations once after attention and once after the mlp (arXiv 1909.08053).
    q_DNH: P = P("fsdp", "tensor", None)
    kv_DKH: P = P("fsdp", "tensor", None)
    o_NHD: P = P("tensor", None, "fsdp")
    q_NH: P = P("tensor", None)
    kv_KH: P = P("tensor", None)
    up_DF: P = P("fsdp", "tensor")
    down_FD: P = P("tensor", "fsdp")
    # Too small to be worth a gather.
    norm_D: P = P(None)
    norm_H: P = P(None)
    head_D: P = P(None)
    # While tokens are looked up, the devices of an fsdp group hold the same rows and split columns.
    lookup_BT: P = P("data", None)
    lookup_BTD: P = P("data", None, "fsdp")
    act_BTD: P = P(ROWS, None, None)
    act_BTNH: P = P(ROWS, None, "tensor", None)
    act_BTKH: P = P(ROWS, None, "tensor", None)
    act_BTF: P = P(ROWS, None, "tensor")
    row_BT: P = P(ROWS, None)
    row_MBT: P = P(None, ROWS, None)  # M micro-batches

    def __post_init__(self):
        for field in dataclasses.fields(self):
            axes = _mesh_axes(getattr(self, field.name))
            if unknown := sorted(set(axes) - set(AXES)):
                raise ValueError(
                    f"layout {field.name}: no mesh axis is called {unknown[0]!r}; there are {AXES}"
                )
            if len(set(axes)) < len(axes):
                raise ValueError(
                    f"layout {field.name}={getattr(self, field.name)}: a mesh axis can split only "
                    "one axis of an array"
                )

    def spec(self, name: str, shape: tuple[int, ...]) -> P:
        """The spec of an array of this shape.

        Raises ValueError, with the numbers, when the current mesh cannot split it evenly.
        """
        spec, mesh = getattr(self, name), jax.sharding.get_abstract_mesh()
        for letter, size, part in zip(name.split("_")[1], shape, spec, strict=True):
            axes = {axis: mesh.shape[axis] for axis in _mesh_axes(P(part))}
            if size % math.prod(axes.values()):
                split = " x ".join(f"{axis}={n}" for axis, n in axes.items())
                raise ValueError(
                    f"{name}: {size} {LETTERS[letter]} cannot be split evenly over mesh axes "
                    f"{split}; make {' x '.join(axes)} a divisor of {size}"
                )
        return spec


def refuse_uneven_rows(rows: int) -> None:
    """Raise ValueError where the rows of a micro-batch do not divide over the current mesh."""
    mesh = jax.sharding.get_mesh()
    shards = math.prod(mesh.shape[axis] for axis in ROWS)
    if rows % shards:
        raise ValueError(
            f"batch.rows = {rows} is not a multiple of the mesh's {shards} row shards "
            "(data x fsdp): set --config.batch.rows"
        )


def place(batch: dict[str, np.ndarray], layout: Layout) -> dict[str, jax.Array]:
    """Host arrays [B, *] or [M, B, *] as global arrays over the current mesh.

    A process passes the rows that it owns (`row_share`). Raises ValueError when an array has other
    than 2 or 3 axes or its rows do not divide over the devices.
    """
    mesh = jax.sharding.get_mesh()
    specs = {2: layout.row_BT, 3: layout.row_MBT}
    index, count = row_share(layout)
    here = math.prod(mesh.shape[axis] for axis in ROWS) // count
    placed = {}
    for name, array in batch.items():
        if array.ndim not in specs:
            raise ValueError(
                f"batch[{name!r}] has shape {array.shape}; expected [rows, ...] or "
                "[micro-batches, rows, ...]"
            )
        if array.shape[-2] % here:
            raise ValueError(
                f"batch[{name!r}] has {array.shape[-2]} rows on this host, not a multiple of its "
                f"{here} shards (data x fsdp)"
            )
        # This is where data is meant to move, whatever guard the caller has set: with several
        # processes JAX takes the very same call for an implicit transfer.
        with jax.transfer_guard_host_to_device("allow"):
            placed[name] = jax.make_array_from_process_local_data(
                NamedSharding(mesh, specs[array.ndim]), array
            )
    return placed


def row_share(layout: Layout) -> tuple[int, int]:
    """Which part of a batch's rows this process owns: (index, count), the index-th of count.

    Two processes have the same index when `tensor` reaches across them: they must then supply the
    same rows. Raises ValueError when the mesh gives this process rows that are not one even block.
    """
    mesh = jax.sharding.get_mesh()
    shards = math.prod(mesh.shape[axis] for axis in ROWS)
    rows = NamedSharding(mesh, layout.row_BT).devices_indices_map((shards, 1))
    # A set: devices along `tensor` hold the same rows.
    owned = {
        index[0].indices(shards)[0]
        for device, index in rows.items()
        if device.process_index == jax.process_index()
    }
    owned = sorted(owned)
    if owned != list(range(owned[0], owned[0] + len(owned))) or owned[0] % len(owned):
        raise ValueError(
            f"this process owns the row shards {owned} of {shards}, which are not one even block; "
            "change the mesh sizes"
        )
    return owned[0] // len(owned), shards // len(owned)


def _mesh_axes(spec: P) -> list[str]:
    # A part of a spec is one mesh axis, several of them, or none.
    axes = []
    for part in spec:
        if isinstance(part, str):
            axes.append(part)
        elif part is not None:
            axes.extend(part)
    return axes
