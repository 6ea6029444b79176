"""A file that is still arriving: which bytes are there, written in any order, resumable by another process."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING

from colabkit._engine.partial_file.journal import Journal, PartialState, RangeSet
from colabkit._http.headers import Validator
from colabkit._internal.disk.files import begin_flush, map_os_errors, open_locked
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from pathlib import Path

_STRETCH = 4 << 20
"""Bytes that are handed to the disk as soon as a writer has passed them, so that the flush at the end waits less."""


class ClosedError(Exception):
    """The part was closed: whoever still wants to write to it must stop."""


class PartialFile:
    """The growing file; its journal tells a later process which bytes are there.

    It is kept from other processes, and from other parts in this one, until it is closed. Writers are threads; after
    `close()` none of them can touch the file any more, however late it wakes up.

    Args:
        path: The growing file; its journal lies beside it.
        identity: A hash of what is asked for.

    Attributes:
        generation: Counts the resets.
        is_fresh: Nothing was written to it, now or by an earlier process.

    Raises:
        TakenError: Somebody else works on it.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self.identity = identity
        self.validator = Validator()
        self.name = ""
        self.size: int | None = None
        self.resumable = False
        self._spans = RangeSet()
        self._lock = threading.Condition()
        self._writers = 0
        self.generation = 0
        self.is_fresh = False
        self._closed = False
        self._published = False
        self._descriptor = open_locked(path)
        self._journal = Journal(path, self._descriptor)
        self._load()

    def _load(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if not size and not self._journal.exists:
            self.is_fresh = True  # as nearly always: nothing is there to be told or forgotten
            return
        state = self._journal.read()
        if state is None or state.identity != self.identity or size != state.size:
            self.reset()
            return
        self.size, self.validator, self.name, self.resumable = state.size, state.validator, state.name, True
        self._spans = RangeSet(state.done)

    def hide(self) -> None:
        """Let nobody else on this machine read the file, now and under its final name."""
        with map_os_errors(self.path):
            os.chmod(self.path, 0o600)

    def reset(self) -> None:
        """Forget all bytes: they belong to another version, or nothing is known about them.

        Whoever was writing is waited for, and who comes later with an old `generation` is shut out.
        """
        if not self._spans.count and not self.resumable and self.is_fresh:
            return  # as for nearly every file: there is nothing to forget
        with self._lock:
            self.generation += 1
            self._lock.wait_for(lambda: self._writers == 0)
            self._spans = RangeSet()
            self.size, self.validator, self.name, self.resumable = None, Validator(), "", False
        self._journal.withdraw()
        with map_os_errors(self.path):
            os.ftruncate(self._descriptor, 0)

    def begin(self, size: int, validator: Validator, name: str) -> None:
        """Start a file of a known size and version, which a later process may resume."""
        with map_os_errors(self.path):
            os.ftruncate(self._descriptor, size)
        self.size, self.validator, self.name, self.resumable = size, validator, name, True
        self._journal.begin()

    @property
    def count(self) -> int:
        """How many bytes are there."""
        with self._lock:
            return self._spans.count

    @property
    def prefix(self) -> int:
        """How many bytes at the beginning are final."""
        with self._lock:
            return self._spans.prefix

    def missing(self) -> list[tuple[int, int]]:
        """Return the (start, stop) pairs that are still to come."""
        with self._lock:
            return self._spans.missing(self.size or 0)

    def write(self, offset: int, data: bytes, *, generation: int | None = None) -> None:
        """Write bytes at a place.

        Args:
            offset: The place.
            data: The bytes.
            generation: What `generation` was when the writer began; it changes with each `reset`.

        Raises:
            ClosedError: The part was closed, or reset, meanwhile.
        """
        with self._lock:
            if self._closed or generation not in (None, self.generation):
                raise ClosedError
            self._writers += 1
        try:
            with map_os_errors(self.path):
                view = memoryview(data)
                at = offset
                while view:
                    self.is_fresh = False
                    written = _pwrite(self._descriptor, view, at)
                    view, at = view[written:], at + written
            stretch = offset // _STRETCH
            if at // _STRETCH > stretch:
                begin_flush(self._descriptor, stretch * _STRETCH, (at // _STRETCH - stretch) * _STRETCH)
            with self._lock:  # before it counts as done: a reset in between would leave a claim to bytes that are gone
                self._spans.add(offset, offset + len(data))
        finally:
            with self._lock:
                self._writers -= 1
                self._lock.notify_all()

    def reader(self) -> int:
        """Return a new descriptor to read from."""
        return os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def save_if_due(self) -> None:
        """Save the journal often enough that a kill costs little, seldom enough that it costs no speed."""
        if self.resumable:
            self._journal.save_if_due(self._state)

    def save(self) -> None:
        """Flush the bytes that are there to the disk and claim them."""
        self._journal.save(self._state())

    def _state(self) -> PartialState:
        with self._lock:
            written = self._spans.pairs()
        return PartialState(
            identity=self.identity, size=self.size or 0, validator=self.validator, name=self.name, done=written
        )

    def finish(self, size: int) -> None:
        """Flush the complete file; the journal has served."""
        with map_os_errors(self.path):
            if os.fstat(self._descriptor).st_size != size:
                os.ftruncate(self._descriptor, size)
            os.fsync(self._descriptor)
        self.size = size

    def status(self) -> os.stat_result:
        """Return what the system knows of the file; its name may change later, the rest does not."""
        return os.fstat(self._descriptor)

    def publish(self, path: Path) -> None:
        """Give the complete file its final name; then the next fetch to that place may begin a part of its own."""
        os.replace(self.path, path)
        self._published = True
        self._journal.remove()

    def close(self, *, keep: bool) -> None:
        """Shut out all writers and leave a resumable part, or nothing.

        Args:
            keep: Leave what is there for a later process, if it can be resumed at all.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._lock.wait_for(lambda: self._writers == 0)
        try:
            if self._published:
                pass  # what has its name now may be the next one
            elif keep and self.resumable and self._spans.count > 0:
                with contextlib.suppress(ColabKitError):  # a full disk: the last claim still tells the truth
                    self.save()
            else:
                self._discard()  # as long as it is ours
        finally:
            os.close(self._descriptor)

    def _discard(self) -> None:
        self._journal.remove()
        with contextlib.suppress(OSError):  # Windows refuses to delete an open file; it may stay
            self.path.unlink()


if sys.platform == "win32":
    _seek_and_write = threading.Lock()

    def _pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        with _seek_and_write:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, data)
else:

    def _pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        return os.pwrite(descriptor, data, offset)
