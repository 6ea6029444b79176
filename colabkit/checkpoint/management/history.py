"""The numbers of a run's epochs, as its newest checkpoint tells them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from colabkit.checkpoint.format import file
from colabkit.errors import CheckpointError, ColabKitError

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.checkpoint.run_store import RunStore


def history(run: RunStore) -> dict[str, list[float]]:
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
    recorded = file.verify(path).get("history")
    values = recorded.get("values") if isinstance(recorded, dict) else None
    if not isinstance(values, dict):
        return {}
    # A metric for each class gives a list an epoch, which is not a line of a plot.
    return {name: series for name, series in values.items() if all(isinstance(value, int | float) for value in series)}


def saved_words(run: RunStore) -> str:
    """Say what of a run is saved, for the display."""
    try:
        status = run.status()
    except (ColabKitError, OSError):
        return ""
    if status.saved_step is None:
        return f"not saved: {status.error.splitlines()[0]}" if status.error else ""
    words = f"step {status.saved_step} saved"
    if status.mirror is not None:
        words += f", {status.mirrored_step or 'nothing'} mirrored"
        words += f", {status.confirmed_step} confirmed" if status.confirmed_step is not None else ""
    return f"{words}; {status.error.splitlines()[0]}" if status.error else words
