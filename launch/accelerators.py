"""TPU slices: the one table every renderer reads.

Sources: Google's "Plan TPUs in GKE" (machine types, labels, topologies) and the system pages of each TPU version (HBM).
"""

import dataclasses
import math

_GRID = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")  # larger cuboids follow a rule: see Slice


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One TPU version: `gke_label` selects its nodes, `small` lists the topologies that need no rule, `hbm_gib` is per chip."""

    gke_label: str
    hbm_gib: int
    small: tuple[str, ...]
    chips_per_host: int = 4

    @property
    def dimensions(self) -> int:
        return len(self.small[0].split("x"))


ACCELERATORS = {
    "v4": Accelerator("tpu-v4-podslice", hbm_gib=32, small=_CUBES),
    "v5e": Accelerator("tpu-v5-lite-podslice", hbm_gib=16, small=_GRID),
    "v5p": Accelerator("tpu-v5p-slice", hbm_gib=95, small=_CUBES),
    "v6e": Accelerator("tpu-v6e-slice", hbm_gib=32, small=_GRID),
    "tpu7x": Accelerator("tpu7x", hbm_gib=192, small=_CUBES),
}


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice `accelerator:topology`, as in `v5p:2x2x4`: chips that share one interconnect.

    On the three-dimensional versions, a slice beyond the listed ones has sides in multiples of 4, smallest first.
    """

    accelerator: str
    topology: str

    def __post_init__(self):
        if self.accelerator not in ACCELERATORS:
            raise ValueError(
                f"unknown accelerator {self.accelerator!r}; known: {', '.join(ACCELERATORS)}"
            )
        known = ACCELERATORS[self.accelerator]
        rule = ""
        if self.topology in known.small:
            return
        if known.dimensions == 3:
            rule = " or AxBxC with A <= B <= C, all multiples of 4"
            sides = self.topology.split("x")
            if len(sides) == 3 and all(
                side.isascii() and side.isdigit() and str(int(side)) == side for side in sides
            ):
                numbers = [int(side) for side in sides]
                if numbers == sorted(numbers) and all(
                    number > 0 and number % 4 == 0 for number in numbers
                ):
                    return
        raise ValueError(
            f"{self.accelerator} has no topology {self.topology!r}; it has {', '.join(known.small)}{rule}"
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
        return math.prod(int(side) for side in self.topology.split("x"))

    @property
    def chips_per_host(self) -> int:
        return min(self.chips, ACCELERATORS[self.accelerator].chips_per_host)

    @property
    def hosts(self) -> int:
        return self.chips // self.chips_per_host

    @property
    def gke_label(self) -> str:
        return ACCELERATORS[self.accelerator].gke_label

    @property
    def hbm_gib(self) -> int:
        """HBM of the whole slice in GiB."""
        return self.chips * ACCELERATORS[self.accelerator].hbm_gib
