"""Where the states of one of several fits of a run lie: in a folder of the run's, and below it in the mirror."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.storage import Storage, Stored

FOLDER = "phases"
_NAME = re.compile(r"[\w-][\w.-]{0,79}")


def place_of(folder: Path, name: str, storage: Storage | None) -> tuple[Path, Storage | None, bool]:
    """Make the folder of a phase.

    Args:
        folder: The run's folder.
        name: The phase's name.
        storage: The storage of the run; None for a run that is only here.

    Returns:
        The phase's folder, its part of the storage, and whether the folder is new.

    Raises:
        AddressError: The name cannot be a folder's.
    """
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise AddressError(
            f"{name!r} cannot be the name of a phase",
            why="it is a folder of the run: letters, digits, dots, dashes and underscores",
            hint='write it as run.phase("fine-tune")',
        )
    own = folder / FOLDER / name
    fresh = not own.exists()
    (own / "checkpoints").mkdir(parents=True, exist_ok=True)
    return own, None if storage is None else _Below(storage, f"{FOLDER}/{name}/"), fresh


class _Below:
    """A folder of a storage, as a storage."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix
        self.address = f"{storage.address.rstrip('/')}/{prefix.rstrip('/')}"
        self.lag = storage.lag
        self.atomic = storage.atomic

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def put(self, name: str, source: bytes | StrPath, *, only_if: Any = None, progress: Any = None) -> Stored:
        if only_if is not None and not isinstance(only_if, str):
            only_if = replace(only_if, name=self._prefix + only_if.name)
        return self._short(self._storage.put(self._prefix + name, source, only_if=only_if, progress=progress))

    def get(self, name: str, path: StrPath, *, progress: Any = None) -> Stored:
        return self._short(self._storage.get(self._prefix + name, path, progress=progress))

    def read(self, name: str, *, size: int | None = None) -> bytes:
        return self._storage.read(self._prefix + name, size=size)

    def entry(self, name: str) -> Stored | None:
        stored = self._storage.entry(self._prefix + name)
        return None if stored is None else self._short(stored)

    def list(self, prefix: str = "") -> Sequence[Stored]:
        return [self._short(each) for each in self._storage.list(self._prefix + prefix)]

    def delete(self, name: str) -> None:
        self._storage.delete(self._prefix + name)

    def confirmed(self, name: str) -> Any:
        return self._storage.confirmed(self._prefix + name)

    def _short(self, stored: Stored) -> Stored:
        return replace(stored, name=stored.name.removeprefix(self._prefix))
