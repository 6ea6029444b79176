"""Several sources side by side, under one progress bar."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from colabkit._internal.disk.files import sync_folder
from colabkit._internal.display.progress import progress as open_progress
from colabkit._internal.process.threads import start_threads
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from colabkit._engine.fetch_task import Fetched, Options, Show

    Watch = Callable[[float, float | None], None]

Item = TypeVar("Item")
Result = TypeVar("Result")

_WHERE_IDLE = 2
_FOR_A_DISK = 4
"""Threads where the first one often waits, and where each item waits for a disk; one that computes needs no other."""
_BUSY = 0.75
"""The share of its time in which a thread computes, from which on another one would only stand in its way."""
_LOOK = 0.05
_SURE = 0.2
"""Seconds between two looks at the rate, and those after which the time of the first items no longer blurs it."""
_QUICK = 0.004
_SLOW = 0.02
"""Seconds that an item may take until it seems that a disk, or a server, is waited for."""
_TOLD = 5
"""Failures beside the first that are told in words; of a list of thousands nobody reads more."""
AT_ONCE = 16
"""How many connections a list has in all: as many files are fetched side by side at the most, one on each."""


class AggregateProgress:
    """Adds up what the single transfers tell, and passes an interruption on to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[int, tuple[float, float]] = {}
        self._done = self._total = 0.0
        self.stopped = threading.Event()

    def of(self, number: int) -> Callable[[float, float | None], None]:
        def update(done: float, total: float | None) -> None:
            with self._lock:
                done_before, total_before = self._under_way.get(number, (0.0, 0.0))
                now = self._under_way[number] = (done, total_before if total is None else total)
                self._done += now[0] - done_before
                self._total += now[1] - total_before
            if self.stopped.is_set():
                raise KeyboardInterrupt

        return update

    def now(self) -> tuple[float, float | None]:
        with self._lock:
            return self._done, self._total or None

    def ended(self, number: int) -> None:
        """Forget what is needed of a transfer only while it is under way."""
        with self._lock:
            self._under_way.pop(number, None)


class _Rate:
    """How fast items are done, over the last second at the most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self._before = 0
        self._computed = 0.0

    def threads_wanted(self, done: int, computed: float, threads: int, most: int) -> int:
        """Say how many threads are worth it: all where an item waits for a server, or is a large file.

        Args:
            done: How many items are done.
            computed: The seconds of the processor that they took.
            threads: How many threads there are.
            most: How many there may be.
        """
        seconds, items = self._clock() - self._begun, done - self._before
        if seconds <= _LOOK:
            return threads
        goal = 0
        if threads * seconds > _SLOW * items:
            goal = most
        elif seconds > _SURE and threads * seconds > _QUICK * items:
            goal = _FOR_A_DISK
        elif computed - self._computed < _BUSY * seconds:
            goal = _WHERE_IDLE
        if seconds > 1.0:
            self._begun, self._before, self._computed = self._begun + seconds, done, computed
        return max(threads, min(goal, most))


def fetch_many(
    items: Sequence[Item],
    options: Options,
    fetch_one: Callable[[Item, Options], Fetched],
    *,
    at_once: int = AT_ONCE,
    pause: float = 0.0,
) -> list[Fetched]:
    """Fetch all, in the order given; the first error is raised when the others are done, and they stay fetched.

    Args:
        items: What to fetch.
        options: How to fetch each.
        fetch_one: Fetches one.
        at_once: How many are fetched side by side; where that is fewer than there may be connections, and at the end
            of the list, a large file has several.
        pause: Seconds to wait after each, for servers that count requests.
    """
    from colabkit._engine.concurrency import ConnectionBudget

    spare = ConnectionBudget(max(0, AT_ONCE - min(at_once, len(items)))) if options.connections is None else None

    @contextlib.contextmanager
    def worker() -> Iterator[Callable[[Item, Watch], Fetched]]:
        from colabkit._http.client import HTTPClient

        client = HTTPClient(options.connections or AT_ONCE)
        mine = replace(options, spare=spare, client=client, one_of_many=True)
        try:
            yield lambda item, watch: fetch_one(item, replace(mine, show=watch))
        finally:
            client.close()
            if spare is not None:
                spare.give()  # no file is left for this one

    from colabkit._engine import downloader  # noqa: F401 - once, before the threads begin and wait for one another

    done = parallel_map(items, worker, options.show, at_once=at_once, rest=lambda one: 0.0 if one.from_cache else pause)
    for folder in {one.path.parent for one in done if not one.from_cache}:
        sync_folder(folder)
    return done


def parallel_map(
    items: Sequence[Item],
    worker: Callable[[], AbstractContextManager[Callable[[Item, Watch], Result]]],
    show: Show,
    *,
    at_once: int,
    rest: Callable[[Result], float] = lambda _: 0.0,
) -> list[Result]:
    """Do something with each item on several threads; the first error is raised when the others are done.

    A few threads begin; the others join them where an item takes so long that it is the server that is waited for.

    Args:
        items: What to work on.
        worker: Entered once on each thread; what it yields is called with an item and a function that takes progress.
        show: How progress is shown.
        at_once: How many threads at the most.
        rest: Tells how many seconds to rest after a result.
    """
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}
    numbers = itertools.count()  # next() of it is atomic
    amounts = AggregateProgress()
    computed: dict[int, float] = {}

    def work() -> None:
        with worker() as do:
            while not amounts.stopped.is_set() and (number := next(numbers)) < len(items):
                try:
                    results[number] = do(items[number], amounts.of(number))
                    amounts.ended(number)
                    if (pause := rest(results[number])) > 0:
                        amounts.stopped.wait(pause)
                except BaseException as error:  # noqa: BLE001 - a thread's error must reach the caller
                    errors[number] = error
                computed[threading.get_ident()] = time.thread_time()

    threads: list[threading.Thread] = []
    with open_progress(f"{len(items)} files", show=show) as bar:
        try:
            most, rate = min(at_once, len(items)), _Rate()
            threads += start_threads(work, min(1, most), name="colabkit-many")
            if not threads:
                work()  # where no thread can be started, one after the other
            for thread in threads:  # those that join are at its end
                while thread.is_alive():
                    thread.join(_LOOK if len(threads) < most else 0.1)
                    bar.update(*amounts.now())
                    seconds = sum(list(computed.values()))
                    goal = rate.threads_wanted(len(results) + len(errors), seconds, len(threads), most)
                    if len(threads) < goal:
                        threads += start_threads(work, goal - len(threads), name="colabkit-many")
                        most = most if len(threads) == goal else len(threads)  # no more can be started
            bar.update(*amounts.now())  # what came while nobody looked
        except BaseException:
            amounts.stopped.set()
            for thread in threads:
                thread.join(2.0)  # each leaves what can be gone on with
            raise
    if errors:
        raise _first_with_notes(errors, len(items))
    return [results[number] for number in range(len(items))]


def _first_with_notes(errors: dict[int, BaseException], count: int) -> BaseException:
    first, *others = (errors[number] for number in sorted(errors))
    if others:
        first.add_note(f"{len(others)} more of the {count} failed; the others are done")
    for error in others[:_TOLD]:
        first.add_note(f"also failed: {' · '.join(str(error).splitlines()[:2])}")
    if len(others) > _TOLD:
        first.add_note(f"… and {len(others) - _TOLD} more: all are in error.also_failed, and what --json prints")
    if isinstance(first, ColabKitError):
        first.also_failed = tuple(others)
    return first
