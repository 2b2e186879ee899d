"""TPU slices that are only described: libtpu compiles for them on any machine.

Speeds are those of the vendor's system pages, per chip: dense bf16 FLOP/s are in
models/flops.PEAK_FLOPS, HBM bandwidth and interconnect bandwidth are here, the latter out of a chip
over all its links (half of the figure that counts both directions), and that of the data-center
network that connects slices. `limit_gib` is what the compiler lets a program use of a device.
"""

import dataclasses
import importlib.util
import itertools
import math
import os
from collections.abc import Iterator

from jax.experimental import topologies

GIB = 2**30


class CannotDescribe(ValueError):
    """This topology cannot be compiled for here; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """One kind of TPU.

    `devices`: how many JAX devices a chip shows up as; `limit_gib` and speeds are of one device.
    """

    limit_gib: float
    hbm_bytes_per_s: float
    link_bytes_per_s: float
    network_bytes_per_s: float
    dimensions: int  # of the torus
    devices: int = 1
    devices_per_host: int = 4


# Not v4: libtpu describes its two cores as devices of their own, while a run sees a chip as one.
CHIPS = {
    "v5e": Chip(15.75, 819e9, 200e9, 3.125e9, dimensions=2),
    "v5p": Chip(95.74, 2765e9, 600e9, 6.25e9, dimensions=3),
    "v6e": Chip(31.25, 1638e9, 400e9, 12.5e9, dimensions=2),
    "tpu7x": Chip(94.75, 3690e9, 600e9, 6.25e9, dimensions=3, devices=2, devices_per_host=8),
}

# libtpu looks for the machine it runs on, and locks it: there is none, and several processes may
# compile at a time.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """A described slice, or several that are alike.

    Its name as in `v5p:4x4x4`, the sides of its torus, its kind of chip, and the devices of all
    slices, which can be compiled for.
    """

    name: str
    sides: tuple[int, ...]
    chip: Chip
    devices: list
    slices: int = 1

    @property
    def chips(self) -> int:
        """Chips of all slices, which may show up as several devices each."""
        return len(self.devices) // self.chip.devices

    @property
    def device_kind(self) -> str:
        """What JAX calls its devices."""
        return self.devices[0].device_kind

    @property
    def hosts(self) -> int:
        """Hosts of all slices."""
        return max(1, len(self.devices) // self.chip.devices_per_host)


def parse(name: str) -> tuple[Chip, tuple[int, ...]]:
    """Chip and sides of a name such as "v5p:4x4x4".

    Raises CannotDescribe for a GPU or CPU, an unknown kind, or a wrong number of sides.
    """
    kind, _, shape = name.partition(":")
    if kind.lower().startswith(("h100", "h200", "a100", "gpu", "cuda", "cpu")):
        raise CannotDescribe(
            f"topology {name!r}: only TPU slices can be compiled for without being there; on a GPU "
            "or CPU start rewardjax.train with --config.steps=2 instead, which compiles in its "
            "first step"
        )
    if kind not in CHIPS:
        raise CannotDescribe(
            f"topology {name!r}: unknown kind {kind!r}; write KIND:SHAPE with a kind of "
            f"{', '.join(CHIPS)}, as in v5p:4x4x4"
        )
    sides = shape.split("x")
    if (
        not all(side.isdecimal() and int(side) > 0 for side in sides)
        or len(sides) != CHIPS[kind].dimensions
    ):
        example = "x".join("4" * CHIPS[kind].dimensions)
        raise CannotDescribe(
            f"topology {name!r}: a slice of {kind} has {CHIPS[kind].dimensions} sides, as in "
            f"{kind}:{example}"
        )
    return CHIPS[kind], tuple(map(int, sides))


def describe(name: str, slices: int = 1) -> Topology:
    """So many slices called `name`.

    Raises CannotDescribe where libtpu is not installed or does not know such a slice.
    """
    chip, sides = parse(name)
    if slices < 1:
        raise CannotDescribe(f"{slices} slices: at least 1")
    if importlib.util.find_spec("libtpu") is None:
        raise CannotDescribe(
            "compiling for a TPU needs libtpu, which is not installed; pip install 'rewardjax[tpu]'"
        )
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    # What libtpu raises for a slice that it does not know differs from release to release.
    try:
        described = topologies.get_topology_desc(
            platform="tpu", topology_name=name, num_slices=slices
        )
    except Exception as error:
        raise CannotDescribe(
            f"topology {name!r}: libtpu cannot describe it ({str(error).splitlines()[0]})"
        ) from error
    return Topology(name, sides, chip, described.devices, slices)


def torus_dimensions(sides: tuple[int, ...], size: int) -> int:
    """The most whole dimensions of the torus that a mesh axis of `size` can lie along.

    0 where no product of sides is `size`.
    """
    lies_along = [len(subset) for subset in _subsets(sides) if math.prod(subset) == size]
    return max(lies_along, default=0)


def mesh_shapes(sides: tuple[int, ...], chip: Chip, slices: int = 1) -> list[tuple[int, int]]:
    """Every (data, fsdp) whose fsdp is a product of whole sides of the torus; most fsdp first.

    Gathers and scatters along whole dimensions are rings, which use every link.
    """
    # The devices of one chip are one more side, whose links are the fastest.
    sides = (*sides, chip.devices)
    sizes = sorted({math.prod(subset) for subset in _subsets(sides)}, reverse=True)
    return [(slices * math.prod(sides) // size, size) for size in sizes]


def _subsets(sides: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return itertools.chain.from_iterable(
        itertools.combinations(sides, n) for n in range(len(sides) + 1)
    )
