"""The journal beside a growing file: which of its bytes are there, for a later process."""

from __future__ import annotations

import bisect
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colabkit._http.headers import Validator, safe_name

_FORMAT = 1
_MAX_SPANS = 100_000


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


def read_sidecar(path: Path) -> PartialState | None:
    """Read a sidecar; anything that is not exactly one is None, and the transfer starts over."""
    try:
        return _sidecar(json.loads(path.read_bytes()), boot_id())
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


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
