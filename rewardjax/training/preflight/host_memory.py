"""How much memory processes of this host can have, and still get, on Linux."""

import pathlib

MEMINFO = pathlib.Path("/proc/meminfo")
# A container's limit is told there and not in /proc, which shows the host's memory.
CGROUP = pathlib.Path("/sys/fs/cgroup")


def available(meminfo: pathlib.Path = MEMINFO, cgroup: pathlib.Path = CGROUP) -> int | None:
    """Bytes; None where the system does not tell."""
    if not meminfo.exists():
        return None
    rooms = [_of_host(meminfo, "MemAvailable")]
    rooms += [_of_container(cgroup, limit) for limit in _limits(cgroup)]
    return min(rooms)


def total(meminfo: pathlib.Path = MEMINFO, cgroup: pathlib.Path = CGROUP) -> int | None:
    """Bytes that processes of this host may have together; None where the system does not tell."""
    if not meminfo.exists():
        return None
    return min([_of_host(meminfo, "MemTotal"), *_limits(cgroup)])


def _limits(cgroup: pathlib.Path) -> list[int]:
    limit = cgroup / "memory.max"
    # Without a limit the file says "max", and the root group has no such file.
    if limit.exists() and limit.read_text().strip().isdecimal():
        return [int(limit.read_text())]
    return []


def _of_host(meminfo: pathlib.Path, field: str) -> int:
    for line in meminfo.read_text().splitlines():
        name, _, size = line.partition(":")
        if name == field:
            return 1024 * int(size.split()[0])  # "kB" are KiB
    raise RuntimeError(f"{meminfo} has no {field}")


def _of_container(cgroup: pathlib.Path, limit: int) -> int:
    used = int((cgroup / "memory.current").read_text())
    for line in (cgroup / "memory.stat").read_text().splitlines():
        name, _, size = line.partition(" ")
        # The cache of files is given back when the memory is wanted.
        if name == "inactive_file":
            used -= int(size)
    return limit - used
