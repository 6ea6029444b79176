"""Runs that survive: checkpoints that prove themselves, and training that continues where it was killed."""

from colabkit.checkpoint._history import history
from colabkit.checkpoint.place import default_folder
from colabkit.checkpoint.run import Run, Saved, Status, open_run

__all__ = ["Run", "Saved", "Status", "default_folder", "history", "open_run"]
