"""The end of a run's folder: what would be deleted, and the deletion; copies in a mirror stay."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import FileLock, map_os_errors
from colabkit._internal.disk.holder import described
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.location import resolve_location
from colabkit.errors import NotFoundError, RunBusyError

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What would be deleted.

    Attributes:
        folder: The run's folder on this machine.
        files: How many files are in it.
        bytes: Their size together.
        mirror: Where copies stay; empty where there are none.
    """

    folder: Path
    files: int
    bytes: int
    mirror: str = ""


def plan_removal(where: StrPath) -> Removal:
    """Say what deleting a run would delete on this machine.

    Raises:
        NotFoundError: There is no run at that address here.
    """
    place = resolve_location(where)
    if not (place.folder / naming.FOLDER).is_dir():
        raise NotFoundError(f"there is no run at {where}", hint="name the run's folder, as colabkit-runs/digits")
    sizes = [path.stat().st_size for path in place.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    mirror = place.storage.address if place.storage is not None else ""
    return Removal(folder=place.folder, files=len(sizes), bytes=sum(sizes), mirror=mirror)


def remove(removal: Removal) -> None:
    """Delete a run's folder, unless a process writes to it.

    Raises:
        RunBusyError: One does.
        StorageError: It cannot be deleted.
    """
    lock = FileLock(removal.folder / "lock")
    if (holder := lock.acquire()) is not None:
        who, _ = described(holder, where="this host")
        raise RunBusyError(
            f"{removal.folder.name} is being written by {who}", hint="end the training, then delete the run"
        )
    try:
        with map_os_errors(removal.folder):
            shutil.rmtree(removal.folder)
    finally:
        lock.release()
