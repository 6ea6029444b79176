"""How many connections a file has: as many as bring more, and as several files leave it."""

from __future__ import annotations

import threading

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
