"""Google Drive's mount: dead, stalled, full, or filling this machine's disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit import drive
from colabkit.diagnosis.base import Finding
from colabkit.drive import failures, log
from colabkit.runtime import mounts
from colabkit.runtime.report import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.diagnosis.base import Scene

_MIB = 1 << 20
ROOM = (100 * _MIB, 1024 * _MIB)
"""Bytes left in Drive below which uploads fail, and below which they soon may."""

_SECONDS = 3.0


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the mount if there is one; nothing is written."""
    folder = scene.place.path(drive.DEFAULT)
    if mounts.find(folder) is None:
        return
    health = drive.health(folder, write=False, timeout=_SECONDS)
    yield from _alive(health)
    yield from _room(health)
    yield from _cache(health)
    line = next((line for line in reversed(health.log) if log.QUOTA in line), None)
    if line is not None:
        yield Finding(
            severity="warning",
            what="Drive has refused reads or uploads lately: a quota is used up",
            why=f"DriveFS' log says: {line}",
            do=failures.QUOTA,
        )


def _alive(health: drive.Health) -> Iterator[Finding]:
    if health.state == "healthy" and health.readable is not False:
        return
    yield Finding(
        severity="problem",
        what=f"Drive at {health.mountpoint} is {health.state if health.state != 'healthy' else 'not readable'}",
        why=health.said,
        do="call colabkit.drive.mount() in a cell: it heals a dead mount; a stalled one needs force_remount=True",
    )


def _room(health: drive.Health) -> Iterator[Finding]:
    if health.free is None or health.quota is None or health.free >= ROOM[1]:
        return
    yield Finding(
        severity="problem" if health.free < ROOM[0] else "warning",
        what=f"{size(health.free)} are left in Drive",
        why=f"it holds {size(health.quota)}; what does not fit is never uploaded, and no program is told",
        do="empty Drive's trash, which counts, and delete what is not needed",
    )


def _cache(health: drive.Health) -> Iterator[Finding]:
    if health.cache is None or health.disk_free is None or health.cache <= health.disk_free:
        return
    yield Finding(
        severity="warning",
        what=f"Drive's cache takes {size(health.cache)} of this machine's disk, and {size(health.disk_free)} are free",
        why="all that is read from Drive or written to it is kept there, and a full disk ends the session",
        do="make room on the disk, and fetch big data from elsewhere; a new session begins with an empty cache",
    )
