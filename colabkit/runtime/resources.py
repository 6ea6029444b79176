"""How many cores, how much memory and disk this process really has: the container's limits, not only the machine's.

A notebook host gives a share of a big machine by control groups (cgroups), version 1 or 2. The limit that counts is
the lowest on the way from the process' own group up to the root.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from colabkit._internal.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Disk(Record):
    """The room of a file system, in bytes."""

    total: int
    free: int


class Memory(Record):
    """The memory this process may use, in bytes: the machine's or its container's, whichever is less."""

    total: int
    available: int


def cpus(root: Path = Path("/")) -> float:
    """Count the cores this process may use; a container can be given half a core.

    Example:
        >>> cpus() > 0
        True
    """
    try:
        count = float(len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS and Windows have no affinity
        count = float(os.cpu_count() or 1)
    for folder in _groups(root, "cpu"):
        text = _read(folder / "cpu.max")  # version 2: "150000 100000" or "max 100000"
        quota, _, period = text.partition(" ") if text else (_read(folder / "cpu.cfs_quota_us"), "", "")
        period = period or _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            count = min(count, int(quota) / int(period))
    return count


def memory(root: Path = Path("/")) -> Memory | None:
    """Measure the memory this process may use; None where the platform does not tell."""
    lines = dict(line.split(":", 1) for line in _read(root / "proc/meminfo").splitlines() if ":" in line)
    total, available = _kilobytes(lines.get("MemTotal")), _kilobytes(lines.get("MemAvailable"))
    if total is None:
        try:
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return None
    available = total if available is None else available
    for folder in _groups(root, "memory"):
        limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if not limit.isdigit():  # "max", or no such file
            continue
        total = min(total, int(limit))
        used = _read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes")
        if used.isdigit():
            available = min(available, max(0, int(limit) - int(used) + _inactive_file(folder)))
    return Memory(total=total, available=min(available, total))


def memory_kills(root: Path = Path("/")) -> int:
    """Count the processes that the system has ended here because memory ran out; 0 where it does not tell."""
    counts = [0]
    for group in _groups(root, "memory"):
        for name in ("memory.events", "memory.oom_control"):
            counts += map(int, re.findall(r"^oom_kill (\d+)$", _read(group / name), re.MULTILINE))
    return max(counts)


def disk(folder: Path) -> Disk | None:
    """Measure the file system that holds a folder; None where it cannot be asked."""
    try:
        stat = os.statvfs(folder)
    except (AttributeError, OSError):
        return None
    return Disk(total=stat.f_blocks * stat.f_frsize, free=stat.f_bavail * stat.f_frsize)


def container_age(root: Path = Path("/")) -> float | None:
    """Say for how many seconds process 1 has run, which is the age of a container or of the machine."""
    # The second field is a name in parentheses that may hold spaces; the start time is field 22 of all.
    fields = _read(root / "proc/1/stat").rpartition(")")[2].split()
    uptime = _read(root / "proc/uptime").partition(" ")[0]
    try:
        return max(0.0, float(uptime) - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (AttributeError, IndexError, ValueError):
        return None


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders that may limit us for one controller: the mount's root, then down to our own group."""
    own: dict[str, str] = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:  # "4:memory:/path", or "0::/path" in version 2
            own.update(dict.fromkeys(parts[1].split(","), parts[2]))
    for mount_root, mount_point, names in _cgroup_mounts(_read(root / "proc/self/mountinfo")):
        name = controller if names else ""
        if name not in own or (names and controller not in names):
            continue
        folder = root / mount_point.lstrip("/")
        yield folder
        # In a container the path may be the host's, of which the mount shows only the end, or nothing.
        for part in own[name].removeprefix(mount_root).split("/"):
            if part == "..":
                break
            folder /= part
            if part and not folder.is_dir():
                break
            if part:
                yield folder


def _cgroup_mounts(mountinfo: str) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yield (root, mount point, controllers) of each cgroup mount; version 2 has no controllers in its options."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if not right.startswith("cgroup"):
            continue
        fields, kind = left.split(), right.split()
        if len(fields) > 4:
            options = frozenset(kind[-1].split(",")) if kind[0] == "cgroup" else frozenset()
            yield fields[3].rstrip("/"), fields[4], options


def _inactive_file(folder: Path) -> int:
    """Count the file cache that the kernel drops first: it is counted as used, but it is not in the way."""
    for line in _read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.isdigit():
            return int(value)
    return 0


def _kilobytes(text: str | None) -> int | None:
    number = (text or "").split()[:1]
    return int(number[0]) * 1024 if number and number[0].isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
