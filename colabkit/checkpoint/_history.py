"""The numbers of a run's epochs, as its newest checkpoint tells them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from colabkit.checkpoint import container
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.checkpoint.run import Run


def history(run: Run) -> dict[str, list[float]]:
    """Return what Keras' history holds for the epochs that are saved: a list of numbers for each metric.

    Args:
        run: The run; it may be one that trains now, in this process or in another.

    Returns:
        The numbers by the metrics' names; empty when no epoch is saved, or the run is not one of Keras.

    Example:
        >>> import tempfile
        >>> from colabkit.checkpoint import open_run
        >>> history(open_run(tempfile.mkdtemp()))
        {}
    """
    for entry in run.checkpoints():
        try:
            return _of_file(entry.path)
        except (CheckpointError, OSError):  # damaged, or deleted since it was listed
            continue
    return {}


@functools.lru_cache(16)  # a checkpoint's name carries its hash, and proving it reads it all
def _of_file(path: Path) -> dict[str, list[float]]:
    found = container.verify(path).get("history")
    values = found.get("values") if isinstance(found, dict) else None
    if not isinstance(values, dict):
        return {}
    # A metric for each class gives a list an epoch, which is no line of a plot.
    return {name: series for name, series in values.items() if all(isinstance(value, int | float) for value in series)}
