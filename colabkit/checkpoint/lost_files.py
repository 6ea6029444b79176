"""Files of the best model that other callbacks write: told where they have stayed on another machine."""

from __future__ import annotations

import os

from colabkit._internal.log import warn

_told: set[str] = set()


def is_lost(path: object, *, owner: str) -> bool:
    """Tell whether a file or folder that a callback wrote earlier in a run is missing here, and warn of it once.

    Args:
        path: Where it was written; nothing, where nothing was.
        owner: Who wrote it, as a user calls it.
    """
    if not path or os.path.exists(text := os.fspath(path)):  # type: ignore[call-overload] # noqa: PTH110
        return False
    if text not in _told:
        _told.add(text)
        warn(
            "%s wrote the best model so far to %s, which is not on this machine. The training continues exactly; what "
            "loads that file misses it until a better one is written. Inside run.dir it travels with the run, and "
            "best= of the resuming callback keeps the best state as well",
            owner,
            text,
        )
    return True
