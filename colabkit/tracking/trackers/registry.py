"""Other places for the records of a run, by name: each one thin file beside this, its package an extra.

All begin offline: what they keep lies in the run's folder and travels with it. The local log is what they are brought
in line with, so that a killed and resumed run has in each of them what one that never was has.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from typing import TYPE_CHECKING, cast

from colabkit._internal.nearest import suggest
from colabkit.errors import StorageError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from colabkit.tracking.base import Record, Tracker

SINKS = {
    "mlflow": "colabkit.tracking.trackers.mlflow.MLflowTracker",
    "neptune": "colabkit.tracking.trackers.neptune.NeptuneTracker",
    "trackio": "colabkit.tracking.trackers.trackio.TrackioTracker",
    "wandb": "colabkit.tracking.trackers.wandb.WandbTracker",
}

_CREDENTIALS = re.compile(r"://[^/\s'\"]*@")

PROJECT = "colabkit"
"""What the runs are grouped under, where the user names nothing else."""


def check(trackers: Tracker | str | Sequence[Tracker | str]) -> list[Tracker | str]:
    """Bring what the user passed into a list.

    Raises:
        UnknownNameError: A name in it is not one of `SINKS`.
    """
    given: list[Tracker | str] = (
        [trackers]  # type: ignore[list-item]
        if isinstance(trackers, str) or hasattr(trackers, "log")
        else list(trackers)
    )
    for tracker in given:
        if isinstance(tracker, str) and tracker not in SINKS:
            raise UnknownNameError(
                f"there is no tracker {tracker!r}",
                hint=f"{suggest(tracker, SINKS)}; or pass an object that is a colabkit.tracking.Tracker",
            )
    return given


def open_sink(name: str, run: Path) -> Tracker:
    """Open a sink by its name; nothing is written yet.

    Args:
        name: One of `SINKS`.
        run: The run's folder.

    Raises:
        MissingDependencyError: Its package is not installed.
    """
    module, _, kind = SINKS[name].rpartition(".")
    return cast("Tracker", getattr(importlib.import_module(module), kind)(run))


def named(record: Record) -> dict[str, float]:
    """Name the values as all sinks get them: plainly at the end of an epoch, `batch_...` in the middle of one.

    Example:
        >>> from colabkit.tracking import Record
        >>> named(Record(step=50, epoch=None, values={"loss": 0.5}))
        {'batch_loss': 0.5}
        >>> named(Record(step=100, epoch=1, values={"loss": 0.25}))
        {'loss': 0.25, 'epoch': 1}
    """
    if record.epoch is None:
        return {f"batch_{name}": value for name, value in record.values.items()}
    return {**record.values, "epoch": record.epoch}


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn whatever a foreign tracker raises into a StorageError, which never ends a training."""
    try:
        yield
    except Exception as error:  # each tracker has errors of its own
        lines = str(error).strip().splitlines()
        words = _CREDENTIALS.sub("://***@", lines[0]) if lines else ""
        raise StorageError(f"{name} does not take the metrics", why=f"{type(error).__name__}: {words}"[:300]) from error
