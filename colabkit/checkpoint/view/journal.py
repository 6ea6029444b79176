"""What a loop logs: none twice and none missing, whatever killed the run. Its files are opened at the first metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colabkit.tracking import Tracker
    from colabkit.tracking.loop import LoopLog


class Journal:
    """The metrics of a loop.

    Args:
        folder: The run's.

    Attributes:
        latest: The newest value of each metric.
        more: Where they go besides, as for `track`.
    """

    def __init__(self, folder: Path) -> None:
        self.latest: dict[str, float] = {}
        self.more: Sequence[Tracker | str] = ()
        self._folder = folder
        self._at = 0, 0
        self._log: LoopLog | None = None

    def go_on(self, step: int, epoch: int) -> None:
        """Forget what was logged after a place, as it is logged again."""
        self._at = step, epoch

    def log(self, step: int, epoch: int | None, values: dict[str, float]) -> None:
        """Keep the metrics of a step; with an epoch, of that many whole epochs."""
        self.latest |= values
        if self._log is None:
            from colabkit.tracking.loop import LoopLog

            self._log = LoopLog(self._folder, step=self._at[0], epoch=self._at[1], more=self.more)
        self._log.write(step, epoch, values)
        self._at = step, self._at[1] if epoch is None else epoch

    def close(self) -> None:
        """Close the files."""
        if self._log is not None:
            self._log.close()
            self._log = None
