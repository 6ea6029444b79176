"""The trackers of one training together: what fails is told once, and never ends the training."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from colabkit._internal.log import warn
from colabkit.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colabkit.tracking.base import Tracker


class TrackerGroup:
    """Passes each call on to several trackers.

    Args:
        own: The run's own logs, the local one first; if one of them fails, all stops.
        sinks: Where records go besides; one that fails stops alone.
    """

    def __init__(self, own: Sequence[Tracker], sinks: Sequence[Tracker] = ()) -> None:
        self._own = list(own)
        self._sinks = list(sinks)

    def each(self, act: Callable[[Tracker], None]) -> None:
        """Do something with each tracker."""
        for tracker in self._own:
            if not self.trying(lambda tracker=tracker: act(tracker)):  # type: ignore[misc]
                return
        for sink in list(self._sinks):
            try:
                act(sink)
            except StorageError as error:
                warn("tracking continues without this one: %s", error)
                self._sinks.remove(sink)
                _close(sink)

    def trying(self, act: Callable[[], None]) -> bool:
        """Do something with the run's own logs, and say whether they still work."""
        if not self._own:
            return False
        try:
            act()
        except StorageError as error:
            warn("tracking stops here: %s", error)
            stopped = [*self._own, *self._sinks]
            self._own, self._sinks = [], []
            for tracker in stopped:
                _close(tracker)
            return False
        return True


def _close(tracker: Tracker) -> None:
    with contextlib.suppress(StorageError):
        tracker.close()
