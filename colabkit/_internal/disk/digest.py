"""A sha256 that is computed beside the reading or writing of the same bytes, on another core."""

from __future__ import annotations

import contextlib
import hashlib
import queue
from typing import TYPE_CHECKING, Any, Self

from colabkit._internal.process.threads import start_thread

if TYPE_CHECKING:
    import threading

_AHEAD = 4  # blocks that may wait; enough to keep both sides busy, few enough to stay in the cache
_PAUSE = 0.5  # seconds between two looks at whether the other side is still there
_WORTH_IT = 16 << 20  # bytes below which a thread costs more than it saves


class BackgroundHasher:
    """Hashes blocks in a thread of its own; both hashing and file access let other threads run.

    A block must not change before `digest` has returned. Use it in a `with` statement, which ends the thread.

    Args:
        size: Bytes to expect; small amounts are hashed at once, without a thread.

    Example:
        >>> with BackgroundHasher(3) as hashing:
        ...     hashing.update(b"abc")
        ...     hashing.digest().hex()[:8]
        'ba7816bf'
    """

    def __init__(self, size: int) -> None:
        self._sha256 = hashlib.sha256()
        self._queue: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._failed: BaseException | None = None
        self._stopped = False
        self._thread = start_thread(self._work, name="colabkit-hash") if size >= _WORTH_IT else None

    def update(self, block: Any) -> None:
        """Hash a block of bytes after those before it.

        Raises:
            MemoryError: The thread ended for lack of it.
        """
        if self._thread is None:
            self._sha256.update(block)
        else:
            self._hand(self._thread, block)

    def digest(self) -> bytes:
        """Wait until all is hashed, and return the sha256.

        Raises:
            MemoryError: The thread ended for lack of it.
        """
        if (thread := self._thread) is not None:
            self._hand(thread, None)
            thread.join()
            self._thread = None
            self._check()
        return self._sha256.digest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)  # it ends at once; where it cannot be told, within the pause
        self._thread = None

    def _hand(self, thread: threading.Thread, block: Any) -> None:
        while True:
            self._check()
            if not thread.is_alive():
                raise MemoryError("the thread that hashes has ended")
            with contextlib.suppress(queue.Full):
                self._queue.put(block, timeout=_PAUSE)
                return

    def _check(self) -> None:
        if self._failed is not None:
            raise MemoryError("hashing failed") from self._failed

    def _work(self) -> None:
        try:
            while not self._stopped:
                with contextlib.suppress(queue.Empty):
                    if (block := self._queue.get(timeout=_PAUSE)) is None:
                        return
                    self._sha256.update(block)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
            self._failed = error
