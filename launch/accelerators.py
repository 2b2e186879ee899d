"""TPU slices: the one table every renderer reads.

Source: Google's "Plan TPUs in GKE" (machine types, labels, topologies).
"""

import dataclasses
import math
import re

_GRID = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")  # larger cuboids follow a rule: see Slice


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One TPU version.

    `gke_label` selects its nodes, `small` lists the topologies that need no rule.
    """

    gke_label: str
    small: tuple[str, ...]
    chips_per_host: int = 4

    @property
    def dimensions(self) -> int:
        """2 for a grid of chips, 3 for a torus with depth."""
        return len(self.small[0].split("x"))


ACCELERATORS = {
    "v4": Accelerator("tpu-v4-podslice", small=_CUBES),
    "v5e": Accelerator("tpu-v5-lite-podslice", small=_GRID),
    "v5p": Accelerator("tpu-v5p-slice", small=_CUBES),
    "v6e": Accelerator("tpu-v6e-slice", small=_GRID),
    "tpu7x": Accelerator("tpu7x", small=_CUBES),
}


def _is_large_cuboid(topology: str) -> bool:
    """Whether `topology` is AxBxC with A <= B <= C, all multiples of 4."""
    # No leading zeros: the label of a node pool is compared letter by letter.
    if not re.fullmatch(r"[1-9][0-9]*(x[1-9][0-9]*){2}", topology):
        return False
    sides = [int(side) for side in topology.split("x")]
    return sides == sorted(sides) and all(side % 4 == 0 for side in sides)


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice `accelerator:topology`, as in `v5p:2x2x4`: chips that share one interconnect.

    On the three-dimensional versions, a slice beyond the listed ones has sides in multiples of 4,
    smallest first. Raises ValueError for a slice that does not exist.
    """

    accelerator: str
    topology: str

    def __post_init__(self):
        if self.accelerator not in ACCELERATORS:
            raise ValueError(
                f"unknown accelerator {self.accelerator!r}; known: {', '.join(ACCELERATORS)}"
            )
        accelerator = ACCELERATORS[self.accelerator]
        if self.topology in accelerator.small:
            return
        rule = ""
        if accelerator.dimensions == 3:
            if _is_large_cuboid(self.topology):
                return
            rule = " or AxBxC with A <= B <= C, all multiples of 4"
        raise ValueError(
            f"{self.accelerator} has no topology {self.topology!r}; it has "
            f"{', '.join(accelerator.small)}{rule}"
        )

    @classmethod
    def parse(cls, text: str) -> "Slice":
        """`"v5p:2x2x4"` -> Slice. Raises ValueError naming what is known."""
        accelerator, colon, topology = text.partition(":")
        if not colon:
            raise ValueError(f"{text!r}: write ACCELERATOR:TOPOLOGY, for instance v5e:4x4")
        return cls(accelerator, topology)

    @property
    def chips(self) -> int:
        """Chips of the whole slice."""
        return math.prod(int(side) for side in self.topology.split("x"))

    @property
    def chips_per_host(self) -> int:
        """Chips of one host; a slice smaller than a host has only its own."""
        return min(self.chips, ACCELERATORS[self.accelerator].chips_per_host)

    @property
    def hosts(self) -> int:
        """Hosts of the slice, which is processes of the job."""
        return self.chips // self.chips_per_host

    @property
    def gke_label(self) -> str:
        """Value of the node label cloud.google.com/gke-tpu-accelerator."""
        return ACCELERATORS[self.accelerator].gke_label
