"""Ctrl-C and SIGTERM while a model trains: remembered, so that the step ends and its state is saved first."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from colabkit.checkpoint.policy.time_limit import TimeLimit

_HANDLED = (signal.SIGINT, signal.SIGTERM)

TIME_OVER = 1000
"""No signal of a system has this number: the time that the training was given is over."""


class StopSignals:
    """Remembers the first signal; a second one acts at once, as it always did.

    A process forked from the training takes SIGTERM as before: it is its `terminate()`, and has nothing to save. There
    a handler of Python's would wait for the end of the C function that is running, or of a wait that never ends.
    Ctrl-C comes to the workers of a training too, which are needed until its step has ended.

    Args:
        is_running: Says whether the training is still among the callers of a frame. When it has ended by an error,
            a signal goes straight to whoever handled it before.
        limit: When the time of the training is over, which is as good as a signal; None for never.
    """

    def __init__(self, is_running: Callable[[FrameType | None], bool], *, limit: TimeLimit | None = None) -> None:
        self._received: int | None = None
        self._limit = limit
        self._is_running = is_running
        self._before: dict[int, Any] = {}

    @property
    def received(self) -> int | None:
        """The signal that has come; `TIME_OVER` where none has, and the time is over."""
        if self._received is None and self._limit is not None and self._limit.is_over():
            return TIME_OVER
        return self._received

    @received.setter
    def received(self, number: int | None) -> None:
        self._received = number

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

    def before(self, number: int) -> Any:
        """Return who handled a signal before."""
        return self._before.get(number)

    def deliver(self, message: str) -> None:
        """Do now what the signal would have done at once; where the time is over, only say so.

        Raises:
            KeyboardInterrupt: For Ctrl-C, with the message.
        """
        number, self._received = self.received, None
        if number == TIME_OVER:
            notify("time is up: %s", message)
            return
        if number == signal.SIGINT:
            raise KeyboardInterrupt(message)
        if number is not None:
            os.kill(os.getpid(), number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is None and self._is_running(frame):
            self._received = number
            return
        self.restore()
        os.kill(os.getpid(), number)


def _after_fork() -> None:
    handler = ours = signal.getsignal(signal.SIGTERM)
    while isinstance(owner := getattr(handler, "__self__", None), StopSignals):
        handler = owner.before(signal.SIGTERM)
    if handler is not ours:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if handler is None else handler)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
