"""The log of a training loop of the user's own, which `run.loop(...).log(loss=…)` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.tracking import EVENTS_DIR, LOG_DIR, jsonl
from colabkit.tracking.base import Record
from colabkit.tracking.event_file import EventFiles
from colabkit.tracking.group import TrackerGroup
from colabkit.tracking.trackers import registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from colabkit.tracking import Tracker


class LoopLog:
    """Writes the local log and TensorBoard's files of a run.

    Args:
        folder: The run's.
        step: Steps that are done where it goes on; what was logged after them is forgotten.
        epoch: Whole epochs that are done there.
        more: Where the records go besides, as for `track`.
    """

    def __init__(self, folder: Path, *, step: int, epoch: int, more: Sequence[Tracker | str] = ()) -> None:
        besides = [
            registry.open_sink(tracker, folder) if isinstance(tracker, str) else tracker
            for tracker in registry.check(more)
        ]
        self._logs = TrackerGroup([jsonl.JsonLines(folder / LOG_DIR), EventFiles(folder / EVENTS_DIR)], besides)
        records = jsonl.read(folder / LOG_DIR / jsonl.NAME)
        kept = [record for record in records if record.step <= step and (record.epoch is None or record.epoch <= epoch)]
        self._logs.each(lambda tracker: tracker.resume(kept, epoch=epoch))

    def write(self, step: int, epoch: int | None, values: Mapping[str, float]) -> None:
        """Add a record of a step; with an epoch, of that many whole epochs."""
        record = Record(step=step, epoch=epoch, values=dict(values))
        self._logs.each(lambda tracker: tracker.log(record))

    def close(self) -> None:
        """Close the files."""
        self._logs.each(lambda tracker: tracker.close())
