"""How often and how long to try again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

# A generator of our own: a draw from the global one, by a thread that retries, would change what a user's seed gives.
_CHANCE = random.Random()  # noqa: S311 - spreads load, guards nothing


@dataclass(kw_only=True)
class Backoff:
    """A budget of tries whose waits double, renewed where something gets done in between.

    Args:
        tries: Failures in a row that are forgiven.
        first: Seconds of the first wait; each further one is twice as long.
        longest: The longest wait that we choose ourselves, in seconds.
        patience: The longest wait that a server may ask for, in seconds.
        jitter: The share of a wait that is drawn by chance, so that many clients do not come back at once.

    Example:
        >>> budget = Backoff(tries=2, first=1.0, jitter=0.0)
        >>> budget.wait(), budget.wait(), budget.wait()
        (1.0, 2.0, None)
        >>> budget.renew()
        >>> budget.wait(requested=7)
        7
    """

    tries: int = 6
    first: float = 0.5
    longest: float = 30.0
    patience: float = 120.0
    jitter: float = 0.25
    failures: int = field(default=0, init=False)
    _progress: float = field(default=0.0, init=False)

    def wait(self, requested: float | None = None) -> float | None:
        """Count one failure and return the seconds to wait, or None when the budget is used up.

        Args:
            requested: What the other side asked us to wait, in seconds.
        """
        if self.failures >= self.tries or (requested is not None and requested > self.patience):
            return None
        # Bounded, since 2**1024 is more than a float holds: an outage of a day has as many failures.
        own: float = min(self.longest, self.first * 2.0 ** min(self.failures, 60))
        own *= 1 - self.jitter * _CHANCE.random()
        self.failures += 1
        return own if requested is None else max(own, requested)

    def renew(self) -> None:
        """Forget the failures: something got done since."""
        self.failures = 0

    def renew_after(self, progress: float, least: float) -> None:
        """Forget the failures if enough got done since the last time.

        Args:
            progress: What is done by now.
            least: How much more that must be.
        """
        if progress - self._progress >= least:
            self._progress = progress
            self.renew()

    def start_over(self) -> None:
        """Begin with nothing done again, and with the tries that are left."""
        self._progress = 0.0
