"""Neptune, offline only: its service ended in March 2026, so what is written stays where it is.

For code that is built on Neptune's logs, and to read them: `read_neptune`. New work is better off with another tracker.
"""

from __future__ import annotations

import logging
import os
import shutil
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify
from colabkit._internal.optional import require
from colabkit.tracking.trackers import registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colabkit.tracking.base import Record

_FOLDER = "NEPTUNE_DATA_DIRECTORY"  # which Neptune reads when a run begins


class NeptuneTracker:
    """Writes an offline run of Neptune into the run's folder.

    Such a run cannot be opened again, so each process writes a whole one with all that still holds, and the one before
    goes.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / "tracking" / "neptune"
        self._name = run.name
        self._neptune = require("neptune", extra="neptune", why='tracker="neptune" writes with it')
        self._run: Any = None

    def resume(self, kept: Sequence[Record], *, epoch: int) -> None:  # noqa: ARG002 - the contract of a tracker
        """Begin with all that still holds."""
        notify("neptune: its service ended in March 2026; the offline log is written, and can no longer be uploaded")
        with registry.translated("neptune"):
            before = list(self._folder.glob("offline/run__*"))
            logging.getLogger("neptune").setLevel(logging.WARNING)  # it prints on stdout what it does
            outside = os.environ.get(_FOLDER)
            os.environ[_FOLDER] = str(self._folder.absolute())
            try:
                self._run = self._neptune.init_run(
                    mode="offline",
                    name=self._name,
                    capture_hardware_metrics=False,
                    capture_stdout=False,
                    capture_stderr=False,
                    capture_traceback=False,
                    git_ref=False,
                    source_files=[],
                )
            finally:
                os.environ.pop(_FOLDER) if outside is None else os.environ.update({_FOLDER: outside})
            for record in kept:
                self._log(record)
            self._run.wait(disk_only=True)
            for folder in before:
                shutil.rmtree(folder)

    def log(self, record: Record) -> None:
        """Append a record."""
        with registry.translated("neptune"):
            self._log(record)
            self._run.wait(disk_only=True)

    def close(self) -> None:
        """Close the run."""
        if self._run is not None:
            with registry.translated("neptune"):
                self._run.stop()
            self._run = None

    def _log(self, record: Record) -> None:
        for name, value in registry.named(record).items():
            self._run[f"metrics/{name}"].append(value, step=record.step, timestamp=record.time)
