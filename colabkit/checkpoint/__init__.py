"""Runs that survive: checkpoints that prove themselves, and training that continues where it was killed."""

from __future__ import annotations

# Each name is imported when it is first used: who asks where a thing lies waits for nothing that moves it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from colabkit.checkpoint.location import default_folder as default_folder
    from colabkit.checkpoint.management.history import history as history
    from colabkit.checkpoint.run import Run as Run
    from colabkit.checkpoint.run import open_run as open_run
    from colabkit.checkpoint.status import Saved as Saved
    from colabkit.checkpoint.status import Status as Status
else:
    _HOMES = {
        "Run": "colabkit.checkpoint.run",
        "Saved": "colabkit.checkpoint.status",
        "Status": "colabkit.checkpoint.status",
        "default_folder": "colabkit.checkpoint.location",
        "history": "colabkit.checkpoint.management.history",
        "open_run": "colabkit.checkpoint.run",
    }

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        try:
            value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            from colabkit._internal.optional import as_missing

            raise as_missing(error, "what a run saves is arrays") from error
        return value


__all__ = [
    "Run",
    "Saved",
    "Status",
    "default_folder",
    "history",
    "open_run",
]
