"""The journal beside a growing file: which of its bytes are there, for a later process."""

from __future__ import annotations

import bisect
import functools
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._http.headers import Validator, safe_name
from colabkit._internal.disk.files import map_os_errors, write_json, write_quickly

if TYPE_CHECKING:
    from collections.abc import Callable

_FORMAT = 1
_MAX_SPANS = 100_000
_SAVE_EVERY = 0.05
_SYNC_EVERY = 1.0
"""Seconds between two saves of the journal at the least, and between two that wait for the disk."""


class RangeSet:
    """A set of byte positions, kept as sorted, disjoint, non-touching (start, stop) pairs.

    Example:
        >>> spans = RangeSet([(0, 4)])
        >>> spans.add(8, 10); spans.add(4, 6)
        >>> spans.pairs(), spans.count, spans.prefix, spans.missing(12)
        ([(0, 6), (8, 10)], 8, 6, [(6, 8), (10, 12)])
    """

    def __init__(self, pairs: list[tuple[int, int]] | None = None) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.count = 0
        for start, stop in pairs or []:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Add the positions from `start` up to, not including, `stop`."""
        if start >= stop:
            return
        low = bisect.bisect_left(self._stops, start)
        high = bisect.bisect_right(self._starts, stop)
        if low < high:
            start = min(start, self._starts[low])
            stop = max(stop, self._stops[high - 1])
        self.count -= sum(self._stops[low:high]) - sum(self._starts[low:high])
        self._starts[low:high] = [start]
        self._stops[low:high] = [stop]
        self.count += stop - start

    @property
    def prefix(self) -> int:
        """How many positions at the very beginning are in the set."""
        return self._stops[0] if self._starts and self._starts[0] == 0 else 0

    def pairs(self) -> list[tuple[int, int]]:
        """Return the (start, stop) pairs in order."""
        return list(zip(self._starts, self._stops, strict=True))

    def missing(self, size: int) -> list[tuple[int, int]]:
        """Return the pairs that the set lacks below `size`."""
        edges = [0, *(edge for pair in self.pairs() for edge in pair), size]
        return [(stop, start) for stop, start in zip(edges[::2], edges[1::2], strict=True) if stop < start]


@dataclass(frozen=True, kw_only=True)
class PartialState:
    """What a later process must know to go on: nothing in it is secret.

    Attributes:
        identity: A hash of what was asked for.
        size: The size of the whole file.
        validator: The version of the remote file that these bytes belong to.
        name: The file name that the server gave.
        done: The (start, stop) pairs that are there.
    """

    identity: str
    size: int
    validator: Validator
    name: str
    done: list[tuple[int, int]]


@functools.cache
def boot_id() -> str:
    """Return what tells this start of the machine from all others, or "" where that is unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (OSError, ValueError):
        return ""


def _sidecar(value: Any, now: str) -> PartialState | None:
    # A kill leaves all that was written; a crash of the machine only what had been flushed to the disk.
    same_boot = now != "" and value["boot"] == now
    size, done = value["size"], value["written" if same_boot else "synced"]
    texts = [value[key] for key in ("identity", "etag", "modified", "version", "name")]
    if value["format"] != _FORMAT or not _is_size(size) or not all(isinstance(text, str) for text in texts):
        return None
    if not isinstance(done, list) or len(done) > _MAX_SPANS:
        return None
    at = 0
    for start, stop in done:
        if not (_is_size(start) and _is_size(stop) and at <= start < stop <= size):
            return None
        at = stop
    identity, etag, modified, version, name = texts
    return PartialState(
        identity=identity,
        size=size,
        validator=Validator(etag=etag, modified=modified, version=version),
        name=safe_name(name),
        done=[(start, stop) for start, stop in done],
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 60


class Journal:
    """The sidecar of a growing file; it never claims a byte that the file does not hold.

    What was only written is claimed until the machine starts anew, what was flushed to the disk before, for good.

    Args:
        file: The growing file; the sidecar lies beside it.
        descriptor: The same file, open; it is flushed before its bytes are claimed for good.

    Attributes:
        exists: A sidecar may lie there.
    """

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor
        self.exists = os.path.lexists(f"{file}.json")
        self._next_save = self._next_sync = 0.0
        self._synced: list[tuple[int, int]] = []

    @functools.cached_property
    def _path(self) -> Path:
        return self._file.with_name(self._file.name + ".json")

    @functools.cached_property
    def _new(self) -> Path:
        return self._file.with_name(self._file.name + ".json.new")

    def read(self) -> PartialState | None:
        """Return what it claims; anything that is not exactly a sidecar is None, and the transfer starts over."""
        self.exists = True  # or what a kill has left of it
        try:
            state = _sidecar(json.loads(self._path.read_bytes()), boot_id())
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        if state is not None:
            self._synced = state.done
        return state

    def begin(self) -> None:
        """Claim nothing yet of a file that starts now."""
        self._next_save = time.monotonic() + _SAVE_EVERY
        self._next_sync = self._next_save + _SYNC_EVERY
        self._synced = []

    def save_if_due(self, state: Callable[[], PartialState]) -> None:
        """Save often enough that a kill costs little, seldom enough that it costs no speed."""
        begun = time.monotonic()
        if begun < self._next_save:
            return
        sync = begun >= self._next_sync
        self.save(state(), sync=sync)
        ended = time.monotonic()
        self._next_save = ended + max(_SAVE_EVERY, 10 * (ended - begun))
        if sync:
            self._next_sync = ended + max(_SYNC_EVERY, 10 * (ended - begun))

    def save(self, state: PartialState, *, sync: bool = True) -> None:
        """Claim the bytes that are there.

        Args:
            state: What the file holds, all of it written.
            sync: Flush the file to the disk first; without it the claim holds until the machine starts anew.
        """
        if sync:
            with map_os_errors(self._file):
                os.fsync(self._descriptor)
            self._synced = state.done
        value = {
            "format": _FORMAT,
            "identity": state.identity,
            "size": state.size,
            "etag": state.validator.etag,
            "modified": state.validator.modified,
            "version": state.validator.version,
            "name": state.name,
            "boot": boot_id(),
            "written": state.done,
            "synced": self._synced,
        }
        self.exists = True
        if sync:
            write_json(self._path, value)
        else:
            write_quickly(self._path, json.dumps(value).encode(), by=self._new)

    def withdraw(self) -> None:
        """Take the claim back, before the bytes go: a crash between the two must not leave a false one."""
        if self.exists:
            self._path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the sidecar, and what a kill left of one that was being written: it has served."""
        if self.exists:
            for path in (self._new, self._path):
                path.unlink(missing_ok=True)
