"""What was pushed to Kaggle last, so that the same line, run again, makes no second version and no second submission.

Making one cannot be asked for twice safely: if the answer is lost, only looking tells whether it was made.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Literal

from colabkit import config
from colabkit._engine.source import key
from colabkit._internal.disk.files import map_os_errors, write_json
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._clients.kaggle.handle import Handle
    from colabkit._engine.uploads.kaggle import Item

State = Literal["", "asked", "made"]


class SubmissionJournal:
    """The last push to one place.

    Args:
        handle: The place.
        items: What is pushed now.
        message: What is said about it.

    Attributes:
        state: "asked" when this very push was asked for and no answer came, "made" when it was done, else "".
        version: The version that it makes.
        at: When it was asked for, in seconds since 1970.
    """

    def __init__(self, handle: Handle, items: Sequence[Item], message: str) -> None:
        self._path = config.cache_dir() / "push" / f"{key('asked', str(handle))}.json"
        marks = (json.dumps([item.below, dict(item.marks)], sort_keys=True) for item in items)
        self._what = key(message, *marks)
        self.state: State = ""
        self.version, self.at = 0, 0.0
        try:
            value: Any = json.loads(self._path.read_bytes())
            if value["what"] == self._what and value["state"] in ("asked", "made"):
                self.version, self.at, self.state = int(value["version"]), float(value["at"]), value["state"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
            pass

    def note(self, state: State, version: int = 0) -> None:
        """Write down how far it is; failing to costs a second version at worst."""
        value = {"what": self._what, "state": state, "version": version, "at": time.time()}
        with contextlib.suppress(ColabKitError), map_os_errors(self._path):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(self._path, value, mode=0o600)
