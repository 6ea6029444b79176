"""Threads that may fail to start: where memory or a limit of processes is short, nothing hangs and nothing is raised.

`threading.Thread.start` waits without limit for the new thread's first sign of life. A thread that dies of a lack of
memory before it gives one leaves its parent waiting for ever.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")

_PATIENCE = 3.0  # seconds for a new thread's first sign of life; a healthy machine takes microseconds
_COOLING = 30.0  # seconds without another try after one that was waited for in vain
_failed_at = -_COOLING


class _BoundedEvent(threading.Event):
    """An event whose wait without a limit has one."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(_PATIENCE if timeout is None else timeout)


class InterruptibleThread(threading.Thread):
    """A daemon thread that Ctrl-C may keep somebody from waiting for, and that lives on then.

    Before Python 3.13 a `join` that Ctrl-C interrupts takes the thread for ended: `is_alive` is False and the next
    `join` returns at once, while it still works.

    Source:
        https://bugs.python.org/issue45274
    """

    def __init__(self, target: Callable[[], object], *, name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)
        self._over = threading.Event()

    def run(self) -> None:
        """Do the work, then let those go on who wait."""
        try:
            super().run()
        finally:
            self._over.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end, for so many seconds at most."""
        if self._over.wait(timeout):
            super().join()


def start_thread(target: Callable[[], object], *, name: str) -> threading.Thread | None:
    """Start a daemon thread, or find that none can be had.

    Args:
        target: What it does.
        name: What it is called.

    Returns:
        The running thread; None when the system gives none now, and then `target` is never called.

    Example:
        >>> thread = start_thread(lambda: None, name="example")
        >>> thread.join()
    """
    global _failed_at  # noqa: PLW0603 - one machine, one shortage
    if time.monotonic() - _failed_at < _COOLING:
        return None
    guard, begun, cancelled = threading.Lock(), False, False

    def run() -> None:
        nonlocal begun
        with guard:
            if cancelled:
                return
            begun = True
        target()

    try:
        thread = InterruptibleThread(run, name=name)
        if isinstance(getattr(thread, "_started", None), threading.Event):
            thread._started = _BoundedEvent()  # type: ignore[attr-defined]  # noqa: SLF001 - see the module's docstring
        thread.start()
    except (RuntimeError, MemoryError):  # the system gives none, or the interpreter ends
        return None
    if thread.is_alive() or begun:
        return thread
    with guard:
        if not begun and not _has_started(thread):
            cancelled = True
            _failed_at = time.monotonic()
            return None
    return thread


def start_threads(target: Callable[[], object], count: int, *, name: str) -> list[threading.Thread]:
    """Start so many threads that do the same, or as many as can be had.

    Example:
        >>> len(start_threads(lambda: None, 2, name="example"))
        2
    """
    started = (start_thread(target, name=name) for _ in range(count))
    return [thread for thread in started if thread is not None]


def _has_started(thread: threading.Thread) -> bool:
    started = getattr(thread, "_started", None)
    return started is None or started.is_set()


def for_each(work: Callable[[Item], object], items: Sequence[Item], *, threads: int, name: str) -> None:
    """Call a function for every item, side by side where threads can be had; the caller's own thread takes part.

    Args:
        work: The function.
        items: Its arguments.
        threads: How many work at most, the caller's among them.
        name: What the others are called.

    Raises:
        BaseException: The first that was raised; no further item is begun then.

    Example:
        >>> sent = []
        >>> for_each(sent.append, [1, 2, 3], threads=2, name="example")
        >>> sorted(sent)
        [1, 2, 3]
    """
    guard, rest = threading.Lock(), iter(items)
    failed: list[BaseException] = []

    def run() -> None:
        while not failed:
            with guard:
                item = next(rest, rest)
            if item is rest:
                return
            try:
                work(item)  # type: ignore[arg-type]
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                failed.append(error)

    helpers = []
    for _ in range(min(threads, len(items)) - 1):
        if (helper := start_thread(run, name=name)) is None:
            break
        helpers.append(helper)
    run()
    for helper in helpers:
        helper.join()
    if failed:
        raise failed[0]


class Later(Generic[Item]):
    """A value that is computed beside other work; where no thread can be had, when it is asked for.

    Args:
        compute: Gives the value.

    Example:
        >>> Later(lambda: 6 * 7).result()
        42
    """

    def __init__(self, compute: Callable[[], Item]) -> None:
        self._compute = compute
        self._values: list[Item] = []
        self._failed: list[BaseException] = []
        self._thread = start_thread(self._run, name="colabkit-later")

    def result(self) -> Item:
        """Wait for the value.

        Raises:
            BaseException: What computing it raised.
        """
        if self._thread is not None:
            self._thread.join()
        if not self._values and not self._failed:
            self._run()
        if self._failed:
            raise self._failed[0]
        return self._values[0]

    def _run(self) -> None:
        try:
            self._values.append(self._compute())
        except BaseException as error:  # noqa: BLE001 - raised where the value is asked for
            self._failed.append(error)


def quietly(act: Callable[[], object]) -> None:
    """Do what may fail for lack of memory while a failure is being told, and let that pass."""
    with contextlib.suppress(Exception):
        act()
