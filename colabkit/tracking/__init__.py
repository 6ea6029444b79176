"""Tracking: the metrics of a run in a local log and in TensorBoard's files, continuous whatever killed the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from colabkit._tools.optional import require
from colabkit.errors import DataError
from colabkit.tracking import _jsonl
from colabkit.tracking.base import Record, Tracker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._types import StrPath

__all__ = ["Record", "Tracker", "read_log", "track"]

LOG_DIR = "tracking"
EVENTS_DIR = "tensorboard"


class _HasFolder(Protocol):
    @property
    def dir(self) -> Path: ...


def track(
    run: _HasFolder | StrPath, *, every: int = 50, histograms: int = 0, more: Tracker | Sequence[Tracker] = ()
) -> Any:
    """Make a Keras callback that logs the metrics of a training; `train` adds one by itself.

    They go to `tracking/metrics.jsonl` and, for TensorBoard, to `tensorboard/` in the run's folder. A training that is
    killed and resumed leaves the same records as one that never was: none twice, none missing.

    Args:
        run: The run, or any folder.
        every: Steps between two records in the middle of an epoch; 0 for none. The end of an epoch is always logged.
        histograms: Epochs between two histograms of the weights; 0 for none.
        more: Trackers of your own, see `colabkit.tracking.Tracker`.

    Returns:
        A `keras.callbacks.Callback` for one call of `fit`.

    Raises:
        DataError: A number makes no sense.
        MissingDependencyError: Keras is not installed.

    Example:
        ```python
        run = ck.open_run("./runs/digits")
        model.fit(x, y, epochs=10, callbacks=[run.resume(), ck.track(run, histograms=1)])
        ```
    """
    for name, number in {"every": every, "histograms": histograms}.items():
        if number < 0:
            raise DataError(f"{name}={number} makes no sense", do=f"pass {name}=0 for none, or a number of steps")
    require("keras", extra="train", why="ck.track() makes a callback of Keras")
    from colabkit.tracking._events import EventFiles
    from colabkit.tracking._keras import TrackCallback

    folder = folder_of(run)
    events = EventFiles(folder / EVENTS_DIR)
    own = [more] if hasattr(more, "log") else list(more)
    trackers: list[Tracker] = [_jsonl.JsonLines(folder / LOG_DIR), events, *own]
    return TrackCallback(folder / LOG_DIR, trackers, events=events, every=every, histograms=histograms)


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
    return _jsonl.read(folder_of(run) / LOG_DIR / _jsonl.NAME)


def folder_of(run: Any) -> Path:
    """Return the folder of a run, or the folder that was named."""
    return Path(getattr(run, "dir", run)).expanduser()
