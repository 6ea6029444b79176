"""Runs that survive: checkpoints that prove themselves, and training that continues where it was killed."""

from __future__ import annotations

# Each name is imported when it is first used: who asks where a thing lies waits for nothing that moves it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from colabkit.checkpoint._history import history as history
    from colabkit.checkpoint.place import default_folder as default_folder
    from colabkit.checkpoint.run import Run as Run
    from colabkit.checkpoint.run import Saved as Saved
    from colabkit.checkpoint.run import Status as Status
    from colabkit.checkpoint.run import open_run as open_run
else:
    _HOMES = {
        "Run": "colabkit.checkpoint.run",
        "Saved": "colabkit.checkpoint.run",
        "Status": "colabkit.checkpoint.run",
        "default_folder": "colabkit.checkpoint.place",
        "history": "colabkit.checkpoint._history",
        "open_run": "colabkit.checkpoint.run",
    }

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value


__all__ = [
    "Run",
    "Saved",
    "Status",
    "default_folder",
    "history",
    "open_run",
]
