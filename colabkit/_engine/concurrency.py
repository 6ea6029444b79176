"""How many connections a file has: as many as bring more, and as several files leave it."""

from __future__ import annotations

import threading
import time

FIRST = 8
MOST = 16
FURTHEST = 24
"""Connections beside the one that began; when these have shown that ranges work; and where each one more brings more,
as from a server that gives every connection the same share."""

_PROBE = 0.1
_TRIAL = 0.25
_MORE = 4
_WORTH = 0.5
"""Seconds until the second number, seconds for each step beyond it, its connections, and how much of their fair share
they must have brought for the next step."""
_LEAST = 0.1
"""How much faster all together must be than one alone."""


class ConnectionBudget:
    """Connections that several files share: each has one of its own, and takes more as long as some are left.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._left = threading.Semaphore(count)

    def take(self) -> bool:
        """Take one, if there is one."""
        return self._left.acquire(blocking=False)

    def give(self) -> None:
        """Give one back."""
        self._left.release()


class FileConnections:
    """The open connections of one file: the first is its own, each further one comes out of the shared budget.

    Args:
        shared: Where those beyond the first are taken from; None has any number of them.

    Attributes:
        count: How many are open.
    """

    def __init__(self, shared: ConnectionBudget | None) -> None:
        self._shared = shared
        self.count = 0

    def take(self) -> bool:
        """Open one, if there is one."""
        if self.count and self._shared is not None and not self._shared.take():
            return False
        self.count += 1
        return True

    def give(self) -> None:
        """Close one; the last is the file's own."""
        self.count -= 1
        if self.count and self._shared is not None:
            self._shared.give()


class Concurrency:
    """Adapts the number of connections: it grows in steps, as long as each step was worth it.

    Args:
        chosen: The number that the user chose, or None.
        count: The bytes that are there at the beginning.
        rate_alone: The bytes a second of the first answer while it was the only one, if it is the lead.

    Attributes:
        limit: How many there may be now.
    """

    def __init__(self, chosen: int | None, count: int, *, rate_alone: float) -> None:
        self.limit = chosen or FIRST
        self._most = chosen or FURTHEST
        self._looked_at = time.monotonic()
        self._count = count
        self._rate_alone = rate_alone
        self._last = (0, 0.0)  # the connections of the step before, and its bytes a second

    @property
    def expected(self) -> int:
        """How many there will soon be."""
        return max(self.limit, min(self._most, MOST))

    def adapt(self, count: int, *, leads: bool) -> bool:
        """Allow more where those of the last step were worth it.

        Args:
            count: The bytes that are there now.
            leads: The lead still goes on.

        Returns:
            Whether more are worth anything: False where the lead alone was as fast as all of them.
        """
        now = time.monotonic()
        seconds = now - self._looked_at
        if self.limit >= self._most or seconds < (_PROBE if self.limit < MOST else _TRIAL):
            return True
        (before, rate_before), rate = self._last, (count - self._count) / seconds
        self._last, self._looked_at, self._count = (self.limit, rate), now, count
        if self.limit < MOST:
            self.limit = min(self._most, MOST, self.limit * 2)
        elif leads and rate < self._rate_alone * (1 + _LEAST):
            return False
        elif rate > rate_before * (1 + _WORTH * (self.limit / before - 1)):
            self.limit = min(self._most, self.limit + _MORE)
        else:
            self._most = self.limit
        return True

    def reduce(self, limit: int) -> None:
        """Allow fewer from now on: the server said that it is busy."""
        self.limit = self._most = max(1, limit)
