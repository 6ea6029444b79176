"""Several sources side by side, under one progress bar."""

from __future__ import annotations

import itertools
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from colabkit._tools.progress import progress as open_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colabkit._types import StrPath
    from colabkit.transfer._job import Fetched, Options

AT_ONCE = 8
"""How many are fetched side by side; each then uses fewer connections."""


class _Sum:
    """Adds up what the single transfers tell, and passes an interruption on to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[int, float] = {}
        self._total: dict[int, float] = {}
        self.stopped = False

    def of(self, number: int) -> Callable[[float, float | None], None]:
        def update(done: float, total: float | None) -> None:
            with self._lock:
                self._done[number] = done
                if total is not None:
                    self._total[number] = total
            if self.stopped:
                raise KeyboardInterrupt

        return update

    def now(self) -> tuple[float, float | None]:
        with self._lock:
            return sum(self._done.values()), sum(self._total.values()) or None


def fetch_many(
    sources: Sequence[StrPath],
    to: StrPath | None,
    options: Options,
    fetch_one: Callable[[StrPath, StrPath | None, Options], Fetched],
) -> list[Fetched]:
    """Fetch all, in the order given; the first error is raised when the others are done, and they stay fetched.

    Args:
        sources: What to fetch.
        to: A folder for all, made if need be.
        options: How to fetch each.
        fetch_one: Fetches one.
    """
    if to is not None:
        to = f"{os.fspath(to).rstrip(os.sep)}{os.sep}"
    connections = options.connections or max(1, 16 // min(AT_ONCE, max(1, len(sources))))
    results: dict[int, Fetched] = {}
    errors: dict[int, BaseException] = {}
    numbers = itertools.count()  # next() of it is atomic
    amounts = _Sum()

    def work() -> None:
        from colabkit.transfer._http import Client

        client = Client(connections)
        while not amounts.stopped and (number := next(numbers)) < len(sources):
            try:
                mine = replace(options, connections=connections, show=amounts.of(number), client=client)
                results[number] = fetch_one(sources[number], to, mine)
            except BaseException as error:  # noqa: BLE001 - a thread's error must reach the caller
                errors[number] = error
        client.close()

    threads = [
        threading.Thread(target=work, name="colabkit-many", daemon=True) for _ in range(min(AT_ONCE, len(sources)))
    ]
    with open_progress(f"{len(sources)} files", show=options.show) as bar:
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
                    bar.update(*amounts.now())
        except BaseException:
            amounts.stopped = True
            for thread in threads:
                thread.join(2.0)  # each leaves its resumable part
            raise
    if errors:
        first = errors[min(errors)]
        if len(errors) > 1:
            first.add_note(f"{len(errors) - 1} more of the {len(sources)} failed; the others are fetched")
        raise first
    return [results[number] for number in range(len(sources))]
