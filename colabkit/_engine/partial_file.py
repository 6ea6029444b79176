"""A file that is still arriving: which bytes are there, written in any order, resumable by another process."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from colabkit._engine.journal import _FORMAT, RangeSet, boot_id, read_sidecar
from colabkit._http.headers import Validator
from colabkit._internal.disk.files import begin_flush, map_os_errors, open_locked, write_json, write_quickly
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from pathlib import Path

_SAVE_EVERY = 0.05
_SYNC_EVERY = 1.0
"""Seconds between two saves of the sidecar at the least, and between two that wait for the disk."""
_STRETCH = 4 << 20
"""Bytes that are handed to the disk as soon as a writer has passed them, so that the flush at the end waits less."""


class ClosedError(Exception):
    """The part was closed: whoever still wants to write to it must stop."""


class PartialFile:
    """The growing file and its sidecar.

    It is kept from other processes, and from other parts in this one, until it is closed. Writers are threads; after
    `close()` none of them can touch the file any more, however late it wakes up.

    Args:
        path: The growing file; the sidecar lies beside it.
        identity: A hash of what is asked for.

    Attributes:
        generation: Counts the resets.

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
        self._closed = self._claims = False
        self._next_save = self._next_sync = 0.0
        self._synced: list[tuple[int, int]] = []
        self._boot = boot_id()
        self._published = False
        self._descriptor = open_locked(path)
        self._load()

    @functools.cached_property
    def sidecar_path(self) -> Path:
        """Where the sidecar lies."""
        return self.path.with_name(self.path.name + ".json")

    @functools.cached_property
    def _new_sidecar(self) -> Path:
        return self.path.with_name(self.path.name + ".json.new")

    def _load(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if not size and not os.path.lexists(f"{self.path}.json"):
            return  # as nearly always: nothing is there to be told or forgotten
        self._claims = True
        known = read_sidecar(self.sidecar_path)
        if known is None or known.identity != self.identity or size != known.size:
            self.reset()
            return
        self.size, self.validator, self.name, self.resumable = known.size, known.validator, known.name, True
        self._spans = RangeSet(known.done)
        self._synced = known.done

    def hide(self) -> None:
        """Let nobody else on this machine read the file, now and under its final name."""
        with map_os_errors(self.path):
            os.chmod(self.path, 0o600)

    def reset(self) -> None:
        """Forget all bytes: they belong to another version, or nothing is known about them.

        Whoever was writing is waited for, and who comes later with an old `generation` is shut out.
        """
        with self._lock:
            self.generation += 1
            self._lock.wait_for(lambda: self._writers == 0)
            self._spans = RangeSet()
            self.size, self.validator, self.name, self.resumable = None, Validator(), "", False
        if self._claims:
            self.sidecar_path.unlink(missing_ok=True)  # first: a crash between the two must not leave a false claim
        with map_os_errors(self.path):
            os.ftruncate(self._descriptor, 0)

    def begin(self, size: int, validator: Validator, name: str) -> None:
        """Start a file of a known size and version, which a later process may resume."""
        with map_os_errors(self.path):
            os.ftruncate(self._descriptor, size)
        self.size, self.validator, self.name, self.resumable = size, validator, name, True
        self._next_save = time.monotonic() + _SAVE_EVERY
        self._next_sync = self._next_save + _SYNC_EVERY
        self._synced = []

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
        """Save the sidecar often enough that a kill costs little, seldom enough that it costs no speed."""
        begun = time.monotonic()
        if not self.resumable or begun < self._next_save:
            return
        sync = begun >= self._next_sync
        self.save(sync=sync)
        ended = time.monotonic()
        self._next_save = ended + max(_SAVE_EVERY, 10 * (ended - begun))
        if sync:
            self._next_sync = ended + max(_SYNC_EVERY, 10 * (ended - begun))

    def save(self, *, sync: bool = True) -> None:
        """Claim the bytes that are there.

        Args:
            sync: Flush them to the disk first; without it the claim holds until the machine starts anew.
        """
        with self._lock:
            written = self._spans.pairs()
        if sync:
            with map_os_errors(self.path):
                os.fsync(self._descriptor)
            self._synced = written
        value = {
            "format": _FORMAT,
            "identity": self.identity,
            "size": self.size,
            "etag": self.validator.etag,
            "modified": self.validator.modified,
            "version": self.validator.version,
            "name": self.name,
            "boot": self._boot,
            "written": written,
            "synced": self._synced,
        }
        self._claims = True
        if sync:
            write_json(self.sidecar_path, value)
        else:
            write_quickly(self.sidecar_path, json.dumps(value).encode(), by=self._new_sidecar)

    def finish(self, size: int) -> None:
        """Flush the complete file; the sidecar has served."""
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
        if self._claims:
            self._forget_sidecar()

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
                with contextlib.suppress(ColabKitError):  # a full disk: the last sidecar still tells the truth
                    self.save()
            else:
                self._discard()  # as long as it is ours
        finally:
            os.close(self._descriptor)

    def _discard(self) -> None:
        if self._claims:
            self._forget_sidecar()
        with contextlib.suppress(OSError):  # Windows refuses to delete an open file; it may stay
            self.path.unlink()

    def _forget_sidecar(self) -> None:
        for path in (self._new_sidecar, self.sidecar_path):
            path.unlink(missing_ok=True)


if sys.platform == "win32":
    _seek_and_write = threading.Lock()

    def _pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        with _seek_and_write:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.write(descriptor, data)
else:

    def _pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        return os.pwrite(descriptor, data, offset)
