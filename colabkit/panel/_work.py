"""Long work in one thread, its words back in the panel: the kernel stays free, and no exception is lost."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from colabkit._tools.log import logger
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable


class StoppedError(ColabKitError):
    """The user pressed Stop; never leaves the panel."""


class Worker:
    """Runs one task at a time.

    Args:
        say: Is given what to show: a kind and words.
        busy: Is told when work begins and ends.
    """

    def __init__(self, say: Callable[[str, str], None], busy: Callable[[bool], None]) -> None:
        self._say = say
        self._busy = busy
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def start(self, name: str, task: Callable[[], str | None]) -> bool:
        """Begin a task in a thread, unless one is at work.

        Args:
            name: What it does, for the message.
            task: Does it, and returns what to say at the end.
        """
        if not self._lock.acquire(blocking=False):
            self._say("warning", "one thing at a time: wait, or press Stop")
            return False
        self._stop.clear()
        self._busy(True)
        self._say("work", f"{name} …")
        # A daemon: closing the notebook must not wait for a download.
        threading.Thread(target=self._run, args=(name, task), name="colabkit-panel", daemon=True).start()
        return True

    def stop(self) -> None:
        """Ask the task to end; it does where it tells its progress."""
        self._stop.set()

    def check(self) -> None:
        """Called by a task where it may be stopped.

        Raises:
            StoppedError: The user pressed Stop.
        """
        if self._stop.is_set():
            raise StoppedError("stopped; what arrived is kept, the same again goes on")

    def _run(self, name: str, task: Callable[[], str | None]) -> None:
        with _Overheard(lambda line: self._say("work", line)):
            kind, words = attempted(name, task)
        # Free before the last words are out: who reads them may press the next button.
        self._lock.release()
        self._busy(False)
        self._say(kind, words)


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


class _Overheard(logging.Filter):
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
