"""Fetches the batches of a loop from its data, and tells what it waited and which worker of the data has died."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.data.worker_deaths import WorkerDeaths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.checkpoint.loop.data import Source
    from colabkit.checkpoint.time_use import StepClock


class BatchFetcher:
    """The batches of the epoch that is open; one is read when it is asked for, and none ahead.

    Args:
        source: The data.
        clock: Is told how long each batch was waited for.

    Attributes:
        source: The data.
    """

    def __init__(self, source: Source, clock: StepClock) -> None:
        self.source = source
        self._clock = clock
        self._deaths = WorkerDeaths()
        self._opened: Iterator[Any] | None = None
        self._left: Iterator[Any] = iter(())

    def open(self, epoch: int) -> None:
        """Open an epoch at its beginning."""
        self._left = self._opened = self.source.begin(epoch)
        self._deaths.install()

    def open_nothing(self) -> None:
        """Open an epoch whose batches are over."""
        self._left = iter(())

    def skip(self, done: int, position: dict[str, Any], *, shared_by: int | None) -> int:
        """Go on behind the batches that are done; returns how many they are, in batches of the present size.

        Args:
            done: How many an earlier process has trained on.
            position: What the source said there.
            shared_by: How many processes had shared the samples out, where it is another number now.
        """
        assert self._opened is not None  # noqa: S101 - an epoch is open
        self._left, done = self.source.skip(self._opened, done, position, shared_by=shared_by)
        return done

    def fetch(self) -> Any:
        """Read the next batch; a worker's death that was held back is raised here.

        Raises:
            StopIteration: The batches are over.
        """
        deaths, began = self._deaths, time.monotonic()
        deaths.fetching = True
        try:
            if deaths.pending is not None:
                raise deaths.pending
            batch = next(self._left)
            self._clock.waited(time.monotonic() - began)
        finally:
            deaths.fetching = False
        return batch

    def failed_to_open(self, error: Exception) -> Exception:
        """Translate an error of opening an epoch, and end what was opened for it."""
        return self.source.failed(error, self._opened)

    def failed(self, error: Exception) -> Exception:
        """Translate an error of reading a batch, and end the workers of the data."""
        return self.source.failed(error, self._left)

    def close(self) -> None:
        """Give the signal of dying workers back."""
        self._deaths.restore()
