"""Ctrl-C and SIGTERM while a model trains: remembered, so that the step ends and its state is saved first."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_HANDLED = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Remembers the first signal; a second one acts at once, as it always did.

    Args:
        is_running: Says whether the training is still among the callers of a frame. When it has ended by an error,
            a signal goes straight to whoever handled it before.
    """

    def __init__(self, is_running: Callable[[FrameType | None], bool]) -> None:
        self.received: int | None = None
        self._is_running = is_running
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Begin to watch; only possible in the main thread, elsewhere signals never arrive anyway."""
        self.received = None
        if threading.current_thread() is threading.main_thread():
            for number in _HANDLED:
                self._before[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Give the signals back; harmless when none is held."""
        for number, handler in self._before.items():
            with contextlib.suppress(ValueError, TypeError):  # not ours to set from here, or set outside Python
                signal.signal(number, handler)
        self._before.clear()

    def deliver(self, message: str) -> None:
        """Do now what the signal would have done at once.

        Raises:
            KeyboardInterrupt: For Ctrl-C, with the message.
        """
        number, self.received = self.received, None
        if number == signal.SIGINT:
            raise KeyboardInterrupt(message)
        if number is not None:
            os.kill(os.getpid(), number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None and self._is_running(frame):
            self.received = number
            return
        self.restore()
        os.kill(os.getpid(), number)
