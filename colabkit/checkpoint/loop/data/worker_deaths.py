"""The death of a DataLoader's worker process, told where the next batch is asked for.

torch raises it from a handler of SIGCHLD, wherever the main thread is at that moment: in the middle of a step too,
whose state could then not be saved.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType


class WorkerDeaths:
    """Holds such an error back until `fetching` is set, or `pending` is looked at.

    Attributes:
        fetching: Whether the main thread waits for a batch, where it may be raised at once.
        pending: The error that was held back.
    """

    def __init__(self) -> None:
        self.fetching = False
        self.pending: RuntimeError | None = None
        self._before: Any = None

    def install(self) -> None:
        """Stand before torch's handler, where there is one."""
        now = signal.getsignal(signal.SIGCHLD)
        if not callable(now) or now == self._handle or threading.current_thread() is not threading.main_thread():
            return
        self._before = now
        signal.signal(signal.SIGCHLD, self._handle)

    def restore(self) -> None:
        """Give the signal back."""
        before, self._before = self._before, None
        self.pending = None
        if before is not None and signal.getsignal(signal.SIGCHLD) == self._handle:
            signal.signal(signal.SIGCHLD, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        try:
            if self._before is not None:
                self._before(number, frame)
        except RuntimeError as error:
            if self.fetching:
                raise
            self.pending = error
