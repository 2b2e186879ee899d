"""Devices as one mesh with axes (data, fsdp, tensor), and the table of how arrays lie on it.

`data` repeats the model, `fsdp` splits its weights over the devices that also split the batch,
`tensor` splits heads and mlp columns. Where there are several slices of a TPU, `data` alone reaches
across the network between them. The mesh is explicit: a layout is part of an array's type,
and a wrong one fails while tracing, on any machine. No other file names a mesh axis for an array.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from rewardjax.command import job

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
    """Mesh over `devices`, or over all devices of all processes, with slices outermost in `data`.

    Args:
        data: groups of devices that each compute other pairs; -1 takes the devices that are left.
        fsdp: devices over which weights and optimizer are spread, and other pairs too; at most one
            size is -1.
        tensor: devices over which the computation of a layer is spread.
        devices: the devices; None for all.

    Raises:
        ValueError: if the sizes do not multiply out, or would spread `fsdp` or `tensor` over
            several slices.
    """
    if devices is None:
        devices = jax.devices()
    sizes = mesh_sizes(len(devices), data, fsdp, tensor)
    stand_in = job.processes_are_slices()
    slices = len({_slice_of(device, stand_in) for device in devices})
    if slices == 1:
        return jax.make_mesh(sizes, AXES, devices=devices)
    refuse_split_slices(sizes, slices)
    grid = mesh_utils.create_hybrid_device_mesh(
        (sizes[0] // slices, *sizes[1:]), (slices, 1, 1), devices, process_is_granule=stand_in
    )
    return jax.sharding.Mesh(grid, AXES, axis_types=(AxisType.Explicit,) * len(AXES))


def _slice_of(device: Any, process_is_slice: bool) -> int:
    """The number of the slice that a device is part of."""
    if process_is_slice:
        return device.process_index
    # Devices of other platforms than TPU may not know of slices.
    return getattr(device, "slice_index", 0)


def mesh_sizes(count: int, data: int = -1, fsdp: int = 1, tensor: int = 1) -> tuple[int, int, int]:
    """The sizes of a mesh over `count` devices; one that is -1 takes the rest.

    Raises ValueError if they do not multiply out.
    """
    sizes = dict(data=data, fsdp=fsdp, tensor=tensor)
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
    return sizes["data"], sizes["fsdp"], sizes["tensor"]


def refuse_split_slices(sizes: tuple[int, int, int], slices: int) -> None:
    """Raise ValueError where a model would be spread over several slices."""
    if sizes[0] % slices:
        raise ValueError(
            f"mesh.data = {sizes[0]} must be a multiple of the {slices} slices: weights are "
            "gathered in each layer, for which the network between slices is too slow"
        )


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


# ------------------------------------------------------------------ sums over devices
#
# An array's type says over which mesh axes its values still have to be added up (`unreduced`), and
# a weight's whether its gradient will be such an array (`reduced`). So it is the types that say
# when devices exchange: within a layer along `fsdp`, which is fast, and over `data`, where slices
# are connected by a slow network, once per step.


def gathered(weight: jax.Array) -> jax.Array:
    """A weight that is whole along `fsdp`, as a product with rows needs it.

    Its gradient is that of a device's own rows, and is added up and scattered along `fsdp` here.
    """
    partitions = [_without_fsdp(part) for part in jax.typeof(weight).sharding.spec.partitions]
    return jax.reshard(weight, P(*partitions, reduced=frozenset(ROWS)))


def for_rows(vectors: jax.Array, rows: int) -> jax.Array:
    """Vectors [L, ...] as [L, B, ...]: a copy for each of so many rows, where the row lies.

    The gradient of a vector that is multiplied with all rows is added up over devices in each
    layer; those of its copies are added up here, for all layers at once.
    """
    partitions = jax.typeof(vectors).sharding.spec.partitions
    ones_B = jnp.ones(rows, vectors.dtype, out_sharding=P(ROWS))
    return jnp.einsum(
        "L...,B->LB...",
        gathered(vectors),
        ones_B,
        precision="highest",
        out_sharding=P(partitions[0], ROWS, *partitions[1:]),
    )


def weighted_sum(weight_BU: jax.Array, x_BU: jax.Array) -> jax.Array:
    """The sum of `weight_BU` * `x_BU`, which each device has of its own rows (`added_up`)."""
    return jnp.einsum(
        "BU,BU->", weight_BU, x_BU, precision="highest", out_sharding=P(unreduced=frozenset(ROWS))
    )


def own_of_data(weight: jax.Array) -> jax.Array:
    """The weight, with a gradient that each member of `data` has of its own rows (`added_up`)."""
    partitions = jax.typeof(weight).sharding.spec.partitions
    return jax.reshard(weight, P(*partitions, reduced=frozenset(["data"])))


def zeros_to_add(weight: jax.Array) -> jax.Array:
    """Where gradients of `own_of_data` begin."""
    partitions = jax.typeof(weight).sharding.spec.partitions
    return jax.reshard(jnp.zeros_like(weight), P(*partitions, unreduced=frozenset(["data"])))


def zero_to_add() -> jax.Array:
    """Where values of `weighted_sum` begin."""
    return jax.reshard(jnp.zeros((), jnp.float32), P(unreduced=frozenset(ROWS)))


def added_up(x: jax.Array) -> jax.Array:
    """What is still to be added up over devices, added up."""
    return jax.reshard(x, P(*jax.typeof(x).sharding.spec.partitions))


def _without_fsdp(part: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    if part == "fsdp":
        return None
    return part


def row_shards() -> int:
    """Parts into which the current mesh divides the rows of a micro-batch."""
    mesh = jax.sharding.get_mesh()
    return math.prod(mesh.shape[axis] for axis in ROWS)


def refuse_uneven_rows(rows: int) -> None:
    """Raise ValueError where the rows of a micro-batch do not divide over the current mesh."""
    shards = row_shards()
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
