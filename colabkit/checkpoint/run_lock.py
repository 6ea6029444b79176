"""The right to write to a run's folder: one process has it, and all runs that it has open there share it."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCKS: dict[Path, RunLock] = {}
"""The lock of each folder that this process has opened a run in."""

_guard = threading.Lock()


class RunLock:
    """The lock of one folder in this process.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = FileLock(folder / "lock")
        self._owners: weakref.WeakSet[object] = weakref.WeakSet()
        self._changing = threading.Lock()

    def held_by(self, owner: object) -> bool:
        """Whether this object may write."""
        return owner in self._owners

    def take(self, owner: object) -> tuple[bool, dict[str, Any] | None]:
        """Take the lock for an object, without waiting.

        Returns:
            Whether no other object of this process had it; and what the holder says of itself when another process
            has it.
        """
        with self._changing:
            first = not self._file.held
            if first and (holder := self._file.acquire()) is not None:
                return False, holder
            self._owners.add(owner)
            return first, None

    def give(self, owner: object, *, in_use: Callable[[object], bool]) -> None:
        """Give it back; other processes may have it once no object of this one writes.

        Args:
            owner: The object.
            in_use: Says whether another one writes now. One that does not takes the lock anew when it does: a cell that
                was run twice leaves a run behind that nobody closes.
        """
        with self._changing:
            self._owners.discard(owner)
            if not any(in_use(other) for other in list(self._owners)):
                self._owners.clear()
                self._file.release()

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._file.held

    def release(self) -> None:
        """Let other processes have it, whoever uses it here."""
        with self._changing:
            self._owners.clear()
            self._file.release()

    def forget(self) -> None:
        """Drop what a fork has copied; the lock is the parent's."""
        self._owners = weakref.WeakSet()
        self._changing = threading.Lock()


def lock_of(folder: Path) -> RunLock:
    """Return the one lock that this process has for a folder."""
    with _guard:
        if folder not in LOCKS:
            LOCKS[folder] = RunLock(folder)
        return LOCKS[folder]


def _forget_all() -> None:
    global _guard  # noqa: PLW0603 - another thread of the parent may have held it
    _guard = threading.Lock()
    for lock in LOCKS.values():
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
