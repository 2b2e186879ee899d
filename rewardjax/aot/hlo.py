"""What a compiled program exchanges between devices, read from its text.

A collective inside a loop counts once for each turn. Asynchronous ones appear several times - the operation itself, and copies of it inside
computations that overlap it with other work - which share a channel: each channel is counted once.
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
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (\(.*?\)|\S+) ([\w\-]+)\(")
_CALLED = re.compile(
    r"(body|condition|calls|to_apply|branch_computations|called_computations|true_computation|false_computation)=(\{[^}]*\}|%?[\w.\-]+)"
)
_ARRAY = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation of a program: `shapes` of the whole arrays that it makes or reduces (several may share it), their `bytes`,
    `group` devices that take part, `times` it runs in one call of the program, and whether it runs inside a loop."""

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
        """Of its largest array."""
        return max(math.prod(shape) for shape in self.shapes)

    @property
    def wire_bytes(self) -> float:
        """Bytes that each device sends, all turns together, with the usual ring algorithms."""
        share = (self.group - 1) / self.group
        once = {"all-reduce": 2 * share * self.bytes, "collective-permute": self.bytes}.get(
            self.kind, share * self.bytes
        )
        return self.times * once


def collectives(text: str, devices: int) -> list[Collective]:
    """The collectives of an optimized HLO module for `devices` devices. ValueError for one in a loop whose number of turns is not said."""
    computations = _computations(text)
    runs = _runs(computations)
    found: dict[tuple, Collective] = {}
    for name, lines in computations.items():
        times, in_loop, unknown = runs.get(name, _Runs(0))
        for line in lines if times else ():
            one = _collective(line, name, devices, times, in_loop)
            if one is None:
                continue
            if unknown:
                raise ValueError(
                    f"a loop that exchanges does not say how often it turns: {unknown}"
                )
            channel = re.search(r"channel_id=(\d+)", line)
            key = (one.kind, channel[1]) if channel else (name, line)
            if key not in found or found[key].bytes < one.bytes:
                found[key] = one
    return list(found.values())


def summary(found: list[Collective]) -> dict[str, dict[str, float]]:
    """By kind: how many run in a call, and GiB that a device sends for them."""
    kinds: dict[str, dict[str, float]] = {}
    for one in found:
        row = kinds.setdefault(one.kind, {"count": 0, "gib": 0.0})
        row["count"] += one.times
        row["gib"] += one.wire_bytes / 2**30
    return kinds


def _computations(text: str) -> dict[str, list[str]]:
    """Name -> instruction lines; the entry computation is called "ENTRY"."""
    computations, lines = {}, []
    for line in text.splitlines():
        if header := _HEADER.match(line):
            lines = computations.setdefault("ENTRY" if header[1] else header[2], [])
        elif line.startswith(" "):
            lines.append(line)
    return computations


class _Runs(NamedTuple):
    """How often a computation runs in a call of the program, whether inside a loop, and a loop around it of unknown length."""

    times: int
    in_loop: bool = False
    unknown: str = ""


def _runs(computations: dict[str, list[str]]) -> dict[str, _Runs]:
    runs = {"ENTRY": _Runs(1)}
    waiting = collections.deque(["ENTRY"])
    while waiting:
        name = waiting.popleft()
        times, in_loop, unknown = runs[name]
        for line in computations.get(name, ()):
            for role, called in _CALLED.findall(line):
                here = _Runs(times, in_loop, unknown)
                if role == "body":
                    turns = _turns(line, computations)
                    here = _Runs(
                        times * (turns or 1), True, unknown or ("" if turns else line.strip()[:200])
                    )
                for target in re.findall(r"[\w.\-]+", called):
                    if target in computations and runs.get(target, _Runs(0)) < here:
                        runs[target] = here
                        waiting.append(target)
    return runs


def _turns(line: str, computations: dict[str, list[str]]) -> int | None:
    """Turns of the `while` in a line: said by the compiler, or the one constant that its condition compares with. None where neither is."""
    if known := _TRIPS.search(line):
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", line)
    compared = computations.get(condition[1], []) if condition else []
    constants = {
        int(n) for instruction in compared for n in re.findall(r" constant\((\d+)\)", instruction)
    }
    return constants.pop() if len(constants) == 1 else None


def _collective(
    line: str, computation: str, devices: int, times: int, in_loop: bool
) -> Collective | None:
    match = _INSTRUCTION.match(line)
    if match is None:
        return None
    kind = match[2].removesuffix("-start")
    if kind not in KINDS:
        return None
    arrays = [
        (dtype, tuple(int(n) for n in dims.split(",") if n))
        for dtype, dims in _ARRAY.findall(match[1])
    ]
    if (
        match[2].endswith("-start") and kind != "all-reduce"
    ):  # holds its operands, then its results, then (a permute) two counters
        arrays = arrays[1:2] if kind == "collective-permute" else arrays[len(arrays) // 2 :]
    group = _group(line, devices)
    if kind == "reduce-scatter":  # its result is one part of what was reduced
        arrays = [(dtype, (group, *shape)) for dtype, shape in arrays]
    if kind == "all-reduce" and computation.startswith(
        "all-reduce-scatter"
    ):  # how the TPU compiler spells its reduce-scatter
        kind = "reduce-scatter"
    total = sum(math.prod(shape) * BYTES.get(dtype, 4) for dtype, shape in arrays)
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


def _source(line: str) -> str:
    """The name of the JAX operation that a line comes from."""
    match = re.search(r'op_name="([^"]*)"', line)
    return match[1] if match else ""


def _group(line: str, devices: int) -> int:
    """Devices of one replica group: listed, as [groups,size]<=[...], or as a mesh and those of its axes that take part."""
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
