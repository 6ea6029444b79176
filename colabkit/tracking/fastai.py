"""The callback that tracks a fastai fit: `learn.fit(..., cbs=[track_fastai(run), run.resume_fastai()])`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.tracking import jsonl
from colabkit.tracking.base import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colabkit.tracking.base import Tracker
    from colabkit.tracking.group import TrackerGroup


class TrackLearner:
    """Logs the smoothed loss every so many steps, and what fastai's Recorder holds at the end of each epoch.

    It begins at the first step, when it is known where a resumed training goes on; whoever resumes it.

    Args:
        folder: Where the local log lies.
        open_logs: Opens the trackers; called for each fit.
        every: Steps between two records in the middle of an epoch; 0 for none.
    """

    name = "track_fastai"
    order = 70  # after the Recorder and what changes its values
    stateless = True  # where it goes on is in the local log

    def __init__(self, folder: Path, open_logs: Callable[[], TrackerGroup], *, every: int) -> None:
        self.learn: Any = None
        self._log = folder / jsonl.NAME
        self._open_logs = open_logs
        self._logs: TrackerGroup | None = None
        self._every = every
        self._before = 0, 0  # epochs and steps of the fits before this one, as in fine_tune

    def __call__(self, event: str) -> None:
        """Take an event of fastai's loop."""
        if event == "after_batch" and self.learn.training:
            self._after_step()
        elif event == "after_epoch" and hasattr(self.learn, "final_record"):
            self._after_epoch()
        elif event == "after_fit":
            epochs, steps = self._before
            self._before = epochs + self.learn.n_epoch, steps + self.learn.n_epoch * len(self.learn.dls.train)
            self._each(lambda tracker: tracker.close())
            self._logs = None

    def _after_step(self) -> None:
        learn = self.learn
        step = self._before[1] + learn.train_iter
        if self._logs is None:
            self._begin([record for record in jsonl.read(self._log) if record.step < step])
        if self._every and step % self._every == 0:
            self._write(step, None, {"train_loss": float(learn.smooth_loss)})

    def _after_epoch(self) -> None:
        learn = self.learn
        step, epoch = self._before[1] + learn.train_iter, self._before[0] + learn.epoch + 1
        if self._logs is None:
            records = jsonl.read(self._log)
            self._begin(
                [record for record in records if record.step < step or (record.step == step and record.epoch is None)]
            )
        pairs = zip(learn.recorder.metric_names[1:], learn.final_record, strict=False)
        self._write(step, epoch, {name: float(value) for name, value in pairs if isinstance(value, int | float)})

    def _begin(self, kept: list[Record]) -> None:
        self._logs = self._open_logs()
        self._each(lambda tracker: tracker.resume(kept, epoch=self._before[0] + self.learn.epoch))

    def _write(self, step: int, epoch: int | None, values: dict[str, float]) -> None:
        record = Record(step=step, epoch=epoch, values=values)
        self._each(lambda tracker: tracker.log(record))

    def _each(self, act: Callable[[Tracker], None]) -> None:
        if self._logs is not None:
            self._logs.each(act)
