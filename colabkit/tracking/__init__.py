"""Tracking: the metrics of a run in a local log and in TensorBoard's files, continuous whatever killed the run."""

from __future__ import annotations

import contextlib
import operator
from typing import TYPE_CHECKING, Any, Protocol

from colabkit._internal.disk.paths import on_this_machine
from colabkit._internal.optional import require
from colabkit.errors import DataError
from colabkit.runtime import my_drive
from colabkit.tracking import jsonl
from colabkit.tracking.base import Record, Tracker
from colabkit.tracking.trackers import registry as sinks
from colabkit.tracking.trackers.neptune_logs import NeptuneRun, read_neptune

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colabkit._types import StrPath

__all__ = ["NeptuneRun", "Record", "Tracker", "read_log", "read_neptune", "track", "track_fastai"]

LOG_DIR = "tracking"
EVENTS_DIR = "tensorboard"


class _HasFolder(Protocol):
    @property
    def dir(self) -> Path: ...


def track(
    run: _HasFolder | StrPath,
    *,
    every: int = 50,
    histograms: int = 0,
    more: Tracker | str | Sequence[Tracker | str] = (),
) -> Any:
    """Make a Keras callback that logs the metrics of a training; `train` adds one by itself.

    They go to `tracking/metrics.jsonl` and, for TensorBoard, to `tensorboard/` in the run's folder. A training that is
    killed and resumed leaves the same records as one that never was: none twice, none missing.

    Args:
        run: The run, or any folder.
        every: Steps between two records in the middle of an epoch; 0 for none. The end of an epoch is always logged.
        histograms: Epochs between two histograms of the weights; 0 for none.
        more: Where the records go besides: "mlflow", "wandb", "trackio" or "neptune", each offline and in the run's
            folder at first; or trackers of your own, see `colabkit.tracking.Tracker`. One that fails is told once.

    Returns:
        A `keras.callbacks.Callback` for one call of `fit`.

    Raises:
        DataError: A number is not valid.
        MissingDependencyError: Keras, or the package of a tracker, is not installed.
        UnknownNameError: There is no tracker of that name.

    Example:
        ```python
        run = ck.open_run("./runs/digits")
        model.fit(x, y, epochs=10, callbacks=[run.resume(), ck.track(run, more="mlflow")])
        ```
    """
    every, histograms = _steps("every", every), _steps("histograms", histograms)
    folder = folder_of(run)
    my_drive.refuse_unmounted(folder)
    require("keras", extra="train", why="ck.track() makes a callback of Keras")
    from colabkit.tracking.event_file import EventFiles
    from colabkit.tracking.keras import TrackCallback

    besides = [
        sinks.open_sink(tracker, folder) if isinstance(tracker, str) else tracker for tracker in sinks.check(more)
    ]
    events = EventFiles(folder / EVENTS_DIR)
    own: list[Tracker] = [jsonl.JsonLines(folder / LOG_DIR), events]
    return TrackCallback(folder / LOG_DIR, own, events=events, sinks=besides, every=every, histograms=histograms)


def track_fastai(
    run: _HasFolder | StrPath, *, every: int = 50, more: Tracker | str | Sequence[Tracker | str] = ()
) -> Any:
    """Make a fastai callback that logs the metrics of a learner, as `track` does for Keras.

    Args:
        run: The run, or any folder.
        every: Steps between two records in the middle of an epoch; 0 for none. The end of an epoch is always logged.
        more: Where the records go besides, as for `track`.

    Returns:
        A callback for one call of `fit`, `fit_one_cycle` and their like, or of `fine_tune`.

    Raises:
        DataError: A number is not valid.
        MissingDependencyError: The package of a tracker is not installed.
        UnknownNameError: There is no tracker of that name.

    Example:
        ```python
        run = ck.open_run("./runs/digits")
        learn.fit_one_cycle(5, cbs=[track_fastai(run, more="mlflow"), run.resume_fastai()])
        ```
    """
    every = _steps("every", every)
    from colabkit.tracking.event_file import EventFiles
    from colabkit.tracking.fastai import TrackLearner
    from colabkit.tracking.group import TrackerGroup

    folder = folder_of(run)
    besides = sinks.check(more)

    def open_logs() -> TrackerGroup:
        return TrackerGroup(
            [jsonl.JsonLines(folder / LOG_DIR), EventFiles(folder / EVENTS_DIR)],
            [sinks.open_sink(tracker, folder) if isinstance(tracker, str) else tracker for tracker in besides],
        )

    return TrackLearner(folder / LOG_DIR, open_logs, every=every)


def _steps(name: str, number: int) -> int:
    """Return how many steps lie between two records.

    Raises:
        DataError: It is no whole number, or below 0.
    """
    with contextlib.suppress(TypeError):
        if (steps := operator.index(number)) >= 0:
            return steps
    raise DataError(
        f"{name}={number!r:.50} is not valid",
        why="it counts steps",
        hint=f"pass {name}=0 for none, or a whole number of steps",
    )


def read_log(run: _HasFolder | StrPath) -> list[Record]:
    """Read what was logged.

    Args:
        run: The run, or its folder.

    Returns:
        The records in order; empty where nothing was logged.

    Example:
        >>> import tempfile
        >>> read_log(tempfile.mkdtemp())
        []
    """
    return jsonl.read(folder_of(run) / LOG_DIR / jsonl.NAME)


def folder_of(run: Any) -> Path:
    """Return the folder of a run, or the folder that was named."""
    return on_this_machine(getattr(run, "dir", run), 'open the run: ck.open_run("{}"), and pass that')
