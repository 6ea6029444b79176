"""Several sources side by side, under one progress bar."""

from __future__ import annotations

import contextlib
import itertools
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from colabkit._tools.files import sync_folder
from colabkit._tools.progress import progress as open_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from colabkit.transfer._job import Fetched, Options, Show

    Watch = Callable[[float, float | None], None]

Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 16
"""How many connections a list has in all: as many files are fetched side by side at the most, one on each."""


class _Sum:
    """Adds up what the single transfers tell, and passes an interruption on to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[int, float] = {}
        self._total: dict[int, float] = {}
        self.stopped = threading.Event()

    def of(self, number: int) -> Callable[[float, float | None], None]:
        def update(done: float, total: float | None) -> None:
            with self._lock:
                self._done[number] = done
                if total is not None:
                    self._total[number] = total
            if self.stopped.is_set():
                raise KeyboardInterrupt

        return update

    def now(self) -> tuple[float, float | None]:
        with self._lock:
            return sum(self._done.values()), sum(self._total.values()) or None


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
    from colabkit.transfer._crew import Spare

    spare = Spare(max(0, AT_ONCE - min(at_once, len(items)))) if options.connections is None else None

    @contextlib.contextmanager
    def worker() -> Iterator[Callable[[Item, Watch], Fetched]]:
        from colabkit.transfer._http import Client

        client = Client(options.connections or AT_ONCE)
        mine = replace(options, spare=spare, client=client, one_of_many=True)
        try:
            yield lambda item, watch: fetch_one(item, replace(mine, show=watch))
        finally:
            client.close()
            if spare is not None:
                spare.give()  # no file is left for this one

    done = side_by_side(items, worker, options.show, at_once=at_once, rest=lambda one: 0.0 if one.from_cache else pause)
    for folder in {one.path.parent for one in done if not one.from_cache}:
        sync_folder(folder)
    return done


def side_by_side(
    items: Sequence[Item],
    worker: Callable[[], AbstractContextManager[Callable[[Item, Watch], Result]]],
    show: Show,
    *,
    at_once: int,
    rest: Callable[[Result], float] = lambda _: 0.0,
) -> list[Result]:
    """Do something with each item on several threads; the first error is raised when the others are done.

    Args:
        items: What to work on.
        worker: Entered once on each thread; what it yields is called with an item and a function that takes progress.
        show: How progress is shown.
        at_once: How many threads.
        rest: Tells how many seconds to rest after a result.
    """
    results: dict[int, Result] = {}
    errors: dict[int, BaseException] = {}
    numbers = itertools.count()  # next() of it is atomic
    amounts = _Sum()

    def work() -> None:
        with worker() as do:
            while not amounts.stopped.is_set() and (number := next(numbers)) < len(items):
                try:
                    results[number] = do(items[number], amounts.of(number))
                    if (pause := rest(results[number])) > 0:
                        amounts.stopped.wait(pause)
                except BaseException as error:  # noqa: BLE001 - a thread's error must reach the caller
                    errors[number] = error

    threads = [
        threading.Thread(target=work, name="colabkit-many", daemon=True) for _ in range(min(at_once, len(items)))
    ]
    with open_progress(f"{len(items)} files", show=show) as bar:
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
                    bar.update(*amounts.now())
        except BaseException:
            amounts.stopped.set()
            for thread in threads:
                thread.join(2.0)  # each leaves what can be gone on with
            raise
    if errors:
        first = errors[min(errors)]
        if len(errors) > 1:
            first.add_note(f"{len(errors) - 1} more of the {len(items)} failed; the others are done")
        raise first
    return [results[number] for number in range(len(items))]
