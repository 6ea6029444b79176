"""trackio: a run in a local SQLite file, in TRACKIO_DIR where that is set, else in the run's folder."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING, Any

from colabkit._internal.optional import require
from colabkit.tracking.trackers import registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colabkit.tracking.base import Record

_FOLDER = "TRACKIO_DIR"  # which trackio reads once, at its import


class TrackioTracker:
    """Keeps one trackio run for a run of ours, whatever process trains it.

    It writes in a thread of its own, so a kill costs it half a second: that is filled in from the local log.

    Args:
        run: The run's folder; its name is the run's.
    """

    def __init__(self, run: Path) -> None:
        self._name = run.name
        os.environ.setdefault(_FOLDER, str((run / "tracking" / "trackio").absolute()))
        self._trackio = require("trackio", extra="trackio", why='tracker="trackio" writes with it')
        self._run: Any = None
        self._logged: set[tuple[int, bool]] = set()

    def resume(self, kept: Sequence[Record], *, epoch: int) -> None:  # noqa: ARG002 - the contract of a tracker
        """Open the run of an earlier process again, or begin one; then add what it lacks."""
        with registry.translated("trackio"), _quiet():
            self._run = self._trackio.init(
                project=registry.PROJECT,
                name=self._name,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            rows = self._trackio.SQLiteStorage.get_logs(registry.PROJECT, self._name)
            self._logged = {(row["step"], "epoch" in row) for row in rows}
        for record in kept:
            self.log(record)

    def log(self, record: Record) -> None:
        """Take a record; trackio writes it within half a second."""
        if (record.step, record.epoch is not None) not in self._logged:
            with registry.translated("trackio"):
                self._run.log(registry.named(record), step=record.step)

    def close(self) -> None:
        """Wait until all is written."""
        if self._run is not None:
            with registry.translated("trackio"), _quiet():
                self._trackio.finish()  # its own run of this process, and told so: else it finishes it again at exit
            self._run = None


def _quiet() -> contextlib.AbstractContextManager[object]:
    """It prints what it does, and stdout is for what a command has to say."""
    return contextlib.redirect_stdout(io.StringIO())
