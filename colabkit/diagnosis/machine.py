"""Memory and disk that run out."""

from __future__ import annotations

import locale
from typing import TYPE_CHECKING

from colabkit.diagnosis.base import Finding
from colabkit.runtime import resources
from colabkit.runtime.report import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.diagnosis.base import Scene

_GIB = 1024**3
DISK = (1 * _GIB, 5 * _GIB)
"""Free bytes below which work will fail, and below which it soon may."""

MEMORY = (_GIB // 2, 2 * _GIB)


def check(scene: Scene) -> Iterator[Finding]:
    """Look at what is left."""
    yield from _disk(scene)
    yield from _memory(scene)
    yield from _killed(scene)
    yield from _locale()


def _disk(scene: Scene) -> Iterator[Finding]:
    disk = scene.runtime.disk
    if disk is not None and disk.free < DISK[1]:
        yield Finding(
            severity="problem" if disk.free < DISK[0] else "warning",
            what=f"{size(disk.free)} are free on the disk",
            why=f"{scene.runtime.work_dir} is on a disk of {size(disk.total)}; a full one loses what is being written",
            do="delete data that can be fetched again, and caches (pip cache purge, ~/.cache)",
        )


def _memory(scene: Scene) -> Iterator[Finding]:
    memory = resources.memory(scene.place.root)
    if memory is not None and memory.available < MEMORY[1]:
        yield Finding(
            severity="problem" if memory.available < MEMORY[0] else "warning",
            what=f"{size(memory.available)} of memory are left",
            why=f"this process may use {size(memory.total)} in all; beyond that the system kills it silently",
            do="delete big variables or restart the kernel; load data in pieces; choose a machine with more memory",
        )


def _killed(scene: Scene) -> Iterator[Finding]:
    """A kernel that dies without a word was mostly ended by the system, which counts that."""
    count = resources.memory_kills(scene.place.root)
    if count:
        yield Finding(
            severity="warning",
            what=f"the system has ended {count} process{'es' * (count > 1)} of this machine because memory ran out",
            why="if the session crashed for an unknown reason, or the kernel restarted by itself, this is why",
            do="load less at once (smaller batches, fewer workers), delete what is not needed, or take more memory",
        )


def _locale() -> Iterator[Finding]:
    encoding = locale.getpreferredencoding(False)
    if encoding.upper().replace("-", "") != "UTF8":
        yield Finding(
            severity="warning",
            what=f"the locale's encoding is {encoding}, not UTF-8",
            why='Colab refuses every `!` line then: "A UTF-8 locale is required"; a package has changed it',
            do='run: import locale; locale.getpreferredencoding = lambda *_: "UTF-8"',
        )
