"""The callback that tracks a Keras `fit`: `model.fit(..., callbacks=[run.resume(), ck.track(run)])`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._patches import keras_steps
from colabkit.tracking import jsonl
from colabkit.tracking.base import Record
from colabkit.tracking.group import TrackerGroup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colabkit.tracking.base import Tracker
    from colabkit.tracking.event_file import EventFiles


class TrackCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs the metrics every so many steps and at the end of each epoch.

    It begins at the first step, when it is known where a resumed training goes on; whoever resumes it.

    Args:
        folder: Where the local log lies.
        trackers: The run's own logs, the local one first; if one of them fails, all stops.
        events: The one of them that takes histograms.
        sinks: Where records go besides; one that fails stops alone.
        every: Steps between two records in the middle of an epoch; 0 for none.
        histograms: Epochs between two histograms of the weights; 0 for none.
    """

    stateless = True  # where it goes on is in the local log

    def __init__(
        self,
        folder: Path,
        trackers: Sequence[Tracker],
        *,
        events: EventFiles,
        sinks: Sequence[Tracker] = (),
        every: int,
        histograms: int,
    ) -> None:
        super().__init__()
        self._log = folder / jsonl.NAME
        self._logs = TrackerGroup(trackers, sinks)
        self._events = events
        self._every = every
        self._histograms = histograms
        self._begun = False
        self._epoch = 0
        self._step = 0  # before the present execution
        self._base = 0  # before the present epoch

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._begun = False
        if (fit := keras_steps.running_fit(self.model)) is not None:  # else there is a record an epoch, and no more
            keras_steps.tell_steps(fit, self._step_done)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._epoch = epoch
        if self._begun:
            self._base = self._step

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if not self._begun:
            self._begin(batch)

    def _step_done(self, batch: int, logs: Any) -> None:
        before, self._step = self._step, self._base + batch + 1
        if steps := self.params.get("steps"):  # the last execution of several steps may be short
            self._step = min(self._step, self._base + steps)
        if self._every and before // self._every < self._step // self._every:
            self._write(None, keras_steps.plain_logs(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._write(epoch + 1, logs)
        if self._histograms and epoch % self._histograms == 0:
            arrays = [
                (variable.path, keras.ops.convert_to_numpy(variable.value)) for variable in self.model.trainable_weights
            ]
            self._logs.trying(lambda: self._events.histograms(arrays, epoch=epoch + 1))

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._logs.each(lambda tracker: tracker.close())

    def _begin(self, done: int) -> None:
        """Find out where the training goes on, `done` steps after the beginning of the present epoch."""
        records = jsonl.read(self._log)
        steps = self.params.get("steps") or 0
        ends = [record.step for record in records if record.epoch == self._epoch]
        # What was logged says how long the epochs before were; another batch size may have changed that.
        self._base = 0 if not self._epoch else ends[-1] if ends else self._epoch * steps
        self._step = self._base + done
        kept = [record for record in records if record.step <= self._step]
        self._logs.each(lambda tracker: tracker.resume(kept, epoch=self._epoch))
        self._begun = True

    def _write(self, epoch: int | None, logs: Any) -> None:
        # A metric for each class gives an array, which neither log has a place for.
        values = {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}
        record = Record(step=self._step, epoch=epoch, values=values)
        self._logs.each(lambda tracker: tracker.log(record))
