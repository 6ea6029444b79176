"""Occasions to save beside the interval: the host is about to end the session, or the disk fills up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from colabkit._internal.display.progress import amount
from colabkit.checkpoint import policy
from colabkit.runtime import resources

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_BEFORE_THE_END = 300.0  # seconds; long enough to copy a large state to a mirror
_NEAR_THE_END = 30.0  # seconds between two saves from then on: the limit is not kept to the second
_AFTER_THE_END = 600.0  # seconds; a session that outlives its limit so long has another one
_DISK_CHECK_INTERVAL = 5.0  # seconds between two looks at the disk


class SaveTriggers:
    """Says when something calls for a save that no interval foresees.

    Args:
        folder: The run's folder, whose disk is watched.
        session_left: Seconds until the host ends the session at the latest; None where it has no known limit.
        clock: Tells the time in seconds.
        disk: Measures the disk of a folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        session_left: float | None,
        clock: Callable[[], float] = time.monotonic,
        disk: Callable[[Path], resources.Disk | None] = resources.disk,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._disk = disk
        self._ends_at = None if session_left is None else clock() + session_left
        self._disk_checked_at = clock() - _DISK_CHECK_INTERVAL
        self._disk_is_low = False

    def now(self, *, saved_at: float) -> str:
        """Say in words why to save now; empty when there is no occasion.

        Args:
            saved_at: When it was saved last, by the clock.
        """
        now = self._clock()
        if self._ends_at is not None:
            begins = self._ends_at - _BEFORE_THE_END
            if begins <= now < self._ends_at + _AFTER_THE_END:
                if saved_at < begins:
                    return f"the host ends this session in about {max(1, round((self._ends_at - now) / 60))} minutes"
                if now - saved_at >= _NEAR_THE_END:
                    return "the session ends at any moment"
        if now - self._disk_checked_at >= _DISK_CHECK_INTERVAL:
            self._disk_checked_at = now
            return self._low_disk()
        return ""

    def _low_disk(self) -> str:
        disk = self._disk(self._folder)
        before, self._disk_is_low = (
            self._disk_is_low,
            disk is not None and disk.free < 2 * policy.disk_reserve(disk.total),
        )
        if disk is None or before or not self._disk_is_low:
            return ""  # once, not at every look
        return f"the disk of {self._folder} has only {amount(disk.free)} left"


def session_left() -> float | None:
    """Return the seconds until the host ends this session at the latest, as far as it is known.

    The start of the session is taken for that of the machine: it is not later.
    """
    from colabkit.runtime import detect

    runtime = detect()
    if runtime.max_session_hours is None or runtime.session_age is None:
        return None
    return runtime.max_session_hours * 3600 - runtime.session_age
