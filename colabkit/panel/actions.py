"""Long work in one thread, its words back in the panel: the kernel stays free, and no exception is lost."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from colabkit._internal.log import logger
from colabkit._internal.process.threads import start_thread
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable


_TICK = 1.0  # seconds


class StoppedError(ColabKitError):
    """The user pressed Stop; never leaves the panel."""


class Worker:
    """Runs one task at a time.

    Args:
        say: Is given what to show: a kind and words.
        busy: Is told when work begins and ends.
        elapsed: Is told every second how long it takes.
    """

    def __init__(
        self,
        say: Callable[[str, str], None],
        busy: Callable[[bool], None],
        elapsed: Callable[[str], None] = lambda _words: None,
    ) -> None:
        self._say = say
        self._elapsed = elapsed
        self._busy = busy
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._work = 0  # the number of the task whose end is waited for
        self._task_stop: Callable[[], None] | None = None
        self._may_leave = False

    def start(
        self,
        name: str,
        task: Callable[[], str | None],
        *,
        done: Callable[[], object] | None = None,
        stop: Callable[[], None] | None = None,
        may_leave: bool = False,
    ) -> bool:
        """Begin a task in a thread, unless one is at work.

        Args:
            name: What it does, for the message.
            task: Does it, and returns what to say at the end.
            done: Called when it went well, as to note the line of code that does the same.
            stop: What Stop does beside letting `check` end the task.
            may_leave: Nothing is changed by it, so Stop does not wait for its end.
        """
        if not self._lock.acquire(blocking=False):
            self._say("warning", "one thing at a time: wait, or press Stop")
            return False
        self._stop.clear()
        self._work += 1
        self._task_stop, self._may_leave = stop, may_leave
        self._busy(True)
        self._say("work", f"{name} …")
        # Daemons: closing the notebook must not wait for a download.
        number = self._work
        if start_thread(lambda: self._run(number, name, task, done), name="colabkit-panel") is None:
            self._end(number, "problem", f"{name}: no thread can be started: memory or the process limit is exhausted")
            return False
        start_thread(lambda: self._tick(number, name), name="colabkit-panel-clock")
        return True

    def stop(self) -> None:
        """Ask the task to end: it does where it tells its progress, or it is left alone where it changes nothing."""
        self._stop.set()
        if not self._lock.locked():
            return
        if self._task_stop is not None:
            self._task_stop()
        elif self._may_leave:
            self._end(self._work, "warning", "stopped waiting; nothing was changed")

    def check(self) -> None:
        """Called by a task where it may be stopped.

        Raises:
            StoppedError: The user pressed Stop.
        """
        if self._stop.is_set():
            raise StoppedError("stopped; partial data was kept, run it again to resume")

    def _run(self, number: int, name: str, task: Callable[[], str | None], done: Callable[[], object] | None) -> None:
        with LogCapture(lambda line: self._say("work", line) if number == self._work else None):
            kind, words = attempted(name, task)
        if kind == "ok" and done is not None and number == self._work:
            done()
        self._end(number, kind, words)

    def _end(self, number: int, kind: str, words: str) -> None:
        if number != self._work or not self._lock.locked():
            return  # it was left alone
        self._work += 1
        # Free before the last words are out: who reads them may press the next button.
        self._lock.release()
        self._busy(False)
        self._say(kind, words)

    def _tick(self, number: int, name: str) -> None:
        """Say every few seconds how long it takes, while the task itself says nothing."""
        begun = time.monotonic()
        while number == self._work:
            time.sleep(_TICK)
            if number == self._work:
                self._elapsed(f"{name}: {time.monotonic() - begun:.0f} s")


def attempted(name: str, task: Callable[[], str | None]) -> tuple[str, str]:
    """Run a task and return what to show of its end, whatever it is."""
    try:
        return "ok", task() or name
    except StoppedError as error:
        return "warning", error.what
    except ColabKitError as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        return "problem", f"{error}{notes}"
    except Exception as error:  # noqa: BLE001 - a callback's exception would be lost; here it is shown
        return "problem", f"{name}: {type(error).__name__}: {error}"


class LogCapture(logging.Filter):
    """Takes what our functions say in threads: a print from there would land in whichever cell runs."""

    def __init__(self, take: Callable[[str], None]) -> None:
        super().__init__()
        self._take = take

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread == threading.main_thread().ident:
            return True
        self._take(record.getMessage().removeprefix("colabkit: "))
        return False

    def __enter__(self) -> None:
        logger.addFilter(self)

    def __exit__(self, *_: object) -> None:
        logger.removeFilter(self)
