"""The other files of a run's folder: plots, models, reports. They travel with the run, and come back with it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import read_note, write_json
from colabkit._internal.display.progress import progress
from colabkit._internal.log import warn
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.mirror import lease
from colabkit.errors import AddressError, ColabKitError
from colabkit.storage import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colabkit.storage import Storage, Stored

_NOTE = ".colabkit-carried"
_OURS = {naming.FOLDER, "phases", "lock", lease.NAME}
_HIDDEN = {*_OURS, "."}
_LARGEST = 1 << 30  # bytes; a run must not wait at its start for what it may never read


class ArtifactSync:
    """Knows which files of a run's folder the storage has, and carries the others.

    A file is carried again when its size or its time of change differs from what was carried. Files whose names begin
    with a dot stay. Nothing is ever deleted in the storage.

    Args:
        folder: The run's folder.
        storage: Where they go.
        name: The run's name.
    """

    def __init__(self, folder: Path, storage: Storage, *, name: str) -> None:
        self._folder = folder
        self._storage = storage
        self._name = name
        self._refused: set[str] = set()

    def changed(self) -> list[str]:
        """List the files that the storage has not, or not in this form."""
        return self._changed_since(self._uploaded_marks())

    def _changed_since(self, uploaded: dict[str, Any]) -> list[str]:
        return [name for name, mark in self._walk() if uploaded.get(name) != mark and name not in self._refused]

    def upload(self, check: Callable[[], None]) -> None:
        """Copy what changed to the storage; one file that cannot be carried does not keep the others.

        Args:
            check: Called before each file; what it raises ends the work.

        Raises:
            ColabKitError: The first failure, after all were tried.
        """
        failed: ColabKitError | None = None
        uploaded = self._uploaded_marks()
        changed = self._changed_since(uploaded)
        for name in changed:
            check()
            path = self._folder / name
            try:
                mark = _mark(path)
                self._storage.put(name, path)
                uploaded[name] = mark  # as it was before the copy: if it changed meanwhile, it is carried again
            except FileNotFoundError:
                continue
            except AddressError as error:
                self._refused.add(name)
                warn("%s: %s stays on this machine. %s", self._name, name, error)
            except ColabKitError as error:
                failed = failed or error
        if changed:
            write_json(self._folder / _NOTE, uploaded)
        if failed is not None:
            raise failed

    def download(self) -> None:
        """Bring the files to an empty working folder; what cannot be brought is told.

        Raises:
            ColabKitError: The storage does not answer.
        """
        everything = self._storage.list()
        if not any(stored.name.startswith((f"{naming.FOLDER}/", "phases/")) for stored in everything):
            return  # no run lives there yet: what lies there is not ours
        artifacts = [stored for stored in everything if not _HIDDEN.intersection(_marks(stored.name))]
        if not artifacts:
            return
        total, done = sum(stored.size for stored in artifacts), 0
        uploaded: dict[str, Any] = {}
        with progress(f"files of {self._name}") as bar:
            for stored in artifacts:
                if stored.size > _LARGEST:
                    warn("%s: %s is large and stays in %s", self._name, stored.name, self._storage.address)
                    continue
                try:
                    self._download(stored)
                    uploaded[stored.name] = _mark(self._folder / stored.name)
                except (ColabKitError, OSError) as error:
                    warn("%s: the file %s was not downloaded. %s", self._name, stored.name, error)
                done += stored.size
                bar.update(done, total)
        write_json(self._folder / _NOTE, uploaded)

    def _download(self, stored: Stored) -> None:
        target = self._folder / check_name(stored.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            self._storage.get(stored.name, target)

    def _walk(self) -> Iterator[tuple[str, list[int]]]:
        for folder, folders, files in os.walk(self._folder):
            base = Path(folder).relative_to(self._folder)
            folders[:] = sorted(item for item in folders if not item.startswith(".") and str(base / item) not in _OURS)
            for item in sorted(files):
                path, name = Path(folder, item), (base / item).as_posix()
                if not item.startswith(".") and name not in _OURS and not path.is_symlink():
                    with contextlib.suppress(OSError):
                        if stat.S_ISREG(path.stat().st_mode):  # a pipe or a socket holds nothing that could travel
                            yield name, _mark(path)

    def _uploaded_marks(self) -> dict[str, Any]:
        note = read_note(self._folder / _NOTE)
        return note if isinstance(note, dict) else {}


def _marks(name: str) -> set[str]:
    """Return the parts of a name, "." for each that begins with one; a run in a folder of this run hides there too."""
    return {"." if part.startswith(".") else part for part in name.split("/")}


def _mark(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
