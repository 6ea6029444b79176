"""A sha256 that is computed beside the reading or writing of the same bytes, on another core."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from typing import Any, Self

_AHEAD = 4  # blocks that may wait; enough to keep both sides busy, few enough to stay in the cache
_WORTH_IT = 16 << 20  # bytes below which a thread costs more than it saves


class SideHash:
    """Hashes blocks in a thread of its own; both hashing and file access let other threads run.

    A block must not change before `digest` has returned. Use it in a `with` statement, which ends the thread.

    Args:
        size: Bytes to expect; small amounts are hashed at once, without a thread.

    Example:
        >>> with SideHash(3) as hashing:
        ...     hashing.update(b"abc")
        ...     hashing.digest().hex()[:8]
        'ba7816bf'
    """

    def __init__(self, size: int) -> None:
        self._sha256 = hashlib.sha256()
        self._queue: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._thread: threading.Thread | None = None
        if size >= _WORTH_IT:
            thread = threading.Thread(target=self._work, name="colabkit-hash", daemon=True)
            with contextlib.suppress(RuntimeError):  # while the interpreter ends no thread can be started
                thread.start()
                self._thread = thread

    def update(self, block: Any) -> None:
        """Hash a block of bytes after those before it."""
        if self._thread is None:
            self._sha256.update(block)
        else:
            self._queue.put(block)

    def digest(self) -> bytes:
        """Wait until all is hashed, and return the sha256."""
        self._end()
        return self._sha256.digest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (block := self._queue.get()) is not None:
            self._sha256.update(block)
