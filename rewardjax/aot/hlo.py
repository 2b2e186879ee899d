"""What a compiled program exchanges between devices, read from its text.

The text is parsed here because JAX has no public API that lists the instructions of an executable;
what the parser relies on is pinned by tests that compile real programs.

A collective inside a loop counts once for each turn. Asynchronous ones appear several times - the
operation itself, and copies of it inside computations that overlap it with other work - which share
a channel: each channel is counted once.
"""

import collections
import dataclasses
import math
import re
from typing import NamedTuple

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "s16": 2,
    "u16": 2,
    "bf16": 2,
    "f16": 2,
    "s32": 4,
    "u32": 4,
    "f32": 4,
    "s64": 8,
    "u64": 8,
    "f64": 8,
}

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ([\w\-]+)\(")
# One computation, or a list of them in braces.
_CALLED = re.compile(
    r"(body|condition|calls|to_apply|branch_computations|called_computations"
    r"|true_computation|false_computation)=(\{[^}]*\}|%?[\w.\-]+)"
)
_ARRAY = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation of a program.

    `shapes` are the whole arrays that it makes or reduces (several may share it), `bytes` their
    size, `group` the devices that take part, `times` how often it runs in one call of the program.
    """

    kind: str
    dtype: str
    shapes: tuple[tuple[int, ...], ...]
    bytes: int
    group: int
    times: int
    in_loop: bool
    source: str

    @property
    def elements(self) -> int:
        """Elements of its largest array."""
        return max(math.prod(shape) for shape in self.shapes)

    @property
    def wire_bytes(self) -> float:
        """Bytes that each device sends, all turns together, with the usual ring algorithms."""
        # In a ring each device passes on every part but its own. An all-reduce is a reduce-scatter
        # and an all-gather; a permute sends its array to one neighbor.
        share = (self.group - 1) / self.group
        if self.kind == "all-reduce":
            return self.times * 2 * share * self.bytes
        if self.kind == "collective-permute":
            return float(self.times * self.bytes)
        return self.times * share * self.bytes


def collectives(text: str, devices: int) -> list[Collective]:
    """The collectives of an optimized HLO module for `devices` devices.

    Raises ValueError for one in a loop whose number of turns is not said.
    """
    of_module = computations(text)
    runs = runs_of(of_module)
    by_channel: dict[tuple, Collective] = {}
    for name, lines in of_module.items():
        times, in_loop, unknown = runs.get(name, Runs(0))
        # Never called: left over from what the compiler inlined elsewhere.
        if not times:
            continue
        for line in lines:
            collective = _collective(line, name, devices, times, in_loop)
            if collective is None:
                continue
            if unknown:
                raise ValueError(
                    f"a loop that exchanges does not say how often it turns: {unknown}"
                )
            key = (name, line)
            if channel := re.search(r"channel_id=(\d+)", line):
                key = (collective.kind, channel[1])
            # Of the copies of one channel the largest is whole; others may hold a slice of it.
            if key not in by_channel or by_channel[key].bytes < collective.bytes:
                by_channel[key] = collective
    return list(by_channel.values())


def summary(collectives: list[Collective]) -> dict[str, dict[str, float]]:
    """By kind: how many run in a call, and GiB that a device sends for them."""
    kinds: dict[str, dict[str, float]] = {}
    for collective in collectives:
        row = kinds.setdefault(collective.kind, {"count": 0, "gib": 0.0})
        row["count"] += collective.times
        row["gib"] += collective.wire_bytes / 2**30
    return kinds


def computations(text: str) -> dict[str, list[str]]:
    """Name -> instruction lines; the entry computation is called "ENTRY"."""
    by_name, lines = {}, []
    for line in text.splitlines():
        if header := _HEADER.match(line):
            name = header[2]
            if header[1]:
                name = "ENTRY"
            lines = by_name.setdefault(name, [])
        elif line.startswith(" "):
            lines.append(line)
    return by_name


class Runs(NamedTuple):
    """How often a computation runs in a call of the program.

    With whether that is inside a loop, and a loop around it of unknown length.
    """

    times: int
    in_loop: bool = False
    unknown: str = ""


def runs_of(computations: dict[str, list[str]]) -> dict[str, Runs]:
    """How often each computation of a module runs; those that are never called are left out."""
    runs = {"ENTRY": Runs(1)}
    # Breadth first from the entry. A computation that is called from several places keeps the
    # highest count, and those that it calls are visited again.
    waiting = collections.deque(["ENTRY"])
    while waiting:
        name = waiting.popleft()
        times, in_loop, unknown = runs[name]
        for line in computations.get(name, ()):
            for role, called in _CALLED.findall(line):
                here = Runs(times, in_loop, unknown)
                if role == "body":
                    turns = _turns(line, computations)
                    if turns is None:
                        here = Runs(times, True, unknown or line.strip()[:200])
                    else:
                        here = Runs(times * turns, True, unknown)
                for target in re.findall(r"[\w.\-]+", called):
                    if target in computations and runs.get(target, Runs(0)) < here:
                        runs[target] = here
                        waiting.append(target)
    return runs


def _turns(line: str, computations: dict[str, list[str]]) -> int | None:
    """Turns of the `while` in a line; None where they are not said.

    The compiler notes them, or they are the one constant that the condition compares with.
    """
    if noted := _TRIPS.search(line):
        return int(noted[1])
    condition = re.search(r"condition=%?([\w.\-]+)", line)
    if condition is None:
        return None
    instructions = "\n".join(computations.get(condition[1], []))
    constants = set(re.findall(r" constant\((\d+)\)", instructions))
    if len(constants) != 1:
        return None
    return int(constants.pop())


def _collective(
    line: str, computation: str, devices: int, times: int, in_loop: bool
) -> Collective | None:
    match = INSTRUCTION.match(line)
    if match is None:
        return None
    kind = match[2].removesuffix("-start")
    if kind not in KINDS:
        return None
    arrays = arrays_of(match[1])
    # An asynchronous start holds its operands, then its results, then (a permute) two counters;
    # only an all-reduce holds its results alone.
    if match[2] == "collective-permute-start":
        arrays = arrays[1:2]
    elif match[2].endswith("-start") and kind != "all-reduce":
        arrays = arrays[len(arrays) // 2 :]
    group = _group(line, devices)
    # The result of a reduce-scatter is one part of what was reduced.
    if kind == "reduce-scatter":
        arrays = [(dtype, (group, *shape)) for dtype, shape in arrays]
    # How the TPU compiler spells its reduce-scatter: an all-reduce in a fusion of that name, of
    # whole arrays.
    if kind == "all-reduce" and computation.startswith("all-reduce-scatter"):
        kind = "reduce-scatter"
    total = sum(array_bytes(dtype, shape) for dtype, shape in arrays)
    return Collective(
        kind,
        arrays[0][0],
        tuple(shape for _, shape in arrays),
        total,
        group,
        times,
        in_loop,
        _source(line),
    )


def arrays_of(shapes: str) -> list[tuple[str, tuple[int, ...]]]:
    """(dtype, shape) of each array that a result's type has."""
    return [(dtype, _sides(dims)) for dtype, dims in _ARRAY.findall(shapes)]


def array_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of an array."""
    return math.prod(shape) * BYTES.get(dtype, 4)


def _sides(dims: str) -> tuple[int, ...]:
    # "8,128" -> (8, 128), and "" -> () for a scalar.
    return tuple(int(side) for side in dims.split(",") if side)


def _source(line: str) -> str:
    """The name of the JAX operation that a line comes from."""
    match = re.search(r'op_name="([^"]*)"', line)
    if match is None:
        return ""
    return match[1]


def _group(line: str, devices: int) -> int:
    """Devices of one replica group.

    Listed, as [groups,size]<=[...], or as a mesh and those of its axes that take part.
    """
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return len(listed[1].split(","))
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]", line):
        return int(iota[2])
    if mesh := re.search(
        r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\([^)]*\)(?:\([^)]*\))?\))? \{([^}]*)\}",
        line,
    ):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", mesh[2]))
    return devices
