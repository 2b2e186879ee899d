"""What a compiled program sends over the data-center network, read from its text.

The compiler splits a collective over several slices in three: devices of a slice reduce and scatter
among themselves, each hands its part to its host, whose runtime ("megascale") exchanges it with the
hosts of the other slices, and the devices of a slice gather again. Only the step in the middle uses
the slow network. In the text it is a `send` to the host that says what the runtime does with it.
"""

import re
from typing import NamedTuple

from rewardjax.aot import hlo

_TRANSFER = re.compile(r'_xla_megascale_transfer_type="(\w+)"')


class Transfer(NamedTuple):
    """An array that each device sends to other slices; `bytes` of it, `times` in one call."""

    kind: str  # as the runtime calls it: ALL_REDUCE, ALL_GATHER, ...
    dtype: str
    bytes: int
    times: int
    in_loop: bool

    def wire_bytes(self, slices: int) -> float:
        """Bytes that go out over the network for each device, all turns together."""
        if self.kind == "ALL_REDUCE":
            # As in a ring: all parts but one for the sums, and again for the results.
            return self.times * 2 * (slices - 1) / slices * self.bytes
        # At most: a copy for every other slice.
        return float(self.times * (slices - 1) * self.bytes)


def transfers(text: str) -> list[Transfer]:
    """The transfers between slices of an optimized HLO module; none where there is one slice.

    Raises ValueError for one in a loop whose number of turns is not said.
    """
    of_module = hlo.computations(text)
    runs = hlo.runs_of(of_module)
    sent = []
    for name, lines in of_module.items():
        times, in_loop, unknown = runs.get(name, hlo.Runs(0))
        for line in lines:
            match, kind = hlo.INSTRUCTION.match(line), _TRANSFER.search(line)
            if not times or match is None or kind is None or match[2] != "send":
                continue
            if unknown:
                raise ValueError(f"a loop that sends does not say how often it turns: {unknown}")
            # The array, then a counter and a token.
            dtype, shape = hlo.arrays_of(match[1])[0]
            sent.append(Transfer(kind[1], dtype, hlo.array_bytes(dtype, shape), times, in_loop))
    return sent
