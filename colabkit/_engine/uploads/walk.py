"""The files below a folder that is to be sent: found in one walk, with what cannot be sent told by name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors
from colabkit._internal.log import notify
from colabkit.errors import AddressError, NotFoundError


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A file below a folder.

    Attributes:
        path: Where it is.
        below: Where it lies below the folder, with "/" between the parts.
        size: Bytes.
    """

    path: Path
    below: str
    size: int


def files_below(folder: Path) -> list[LocalFile]:
    """List the files below a folder, sorted by name.

    Links to files are followed. Links to folders are not, as they may lead in a circle; they are left out and named
    in the log, as are pipes, sockets and devices. Half-written files of colabkit are left out too.

    Raises:
        AddressError: A file's name is not text.
        NotFoundError: There are none, or one is a link that leads nowhere.
    """
    files: list[LocalFile] = []
    todo = [("", folder)]
    while todo:
        before, place = todo.pop()
        with map_os_errors(place):
            entries = list(os.scandir(place))
        for entry in entries:
            below = f"{before}{entry.name}"
            if TEMP_MARKER in entry.name and entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                todo.append((f"{below}/", Path(entry.path)))
            elif entry.is_file():
                files.append(LocalFile(path=Path(entry.path), below=_as_text(below, folder), size=entry.stat().st_size))
            elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110 - a plain text
                raise NotFoundError(f"{entry.path} is a link that leads nowhere", hint="remove it, or restore its file")
            else:
                notify("%s is left out: it is not a file", entry.path)
    if not files:
        raise NotFoundError(f"there are no files in {folder}", why="an object store has no empty folders")
    return sorted(files, key=lambda file: file.below)


def _as_text(below: str, folder: Path) -> str:
    try:
        below.encode()
    except UnicodeEncodeError:
        raise AddressError(
            f"a file in {folder} has a name that is not text: {below!r}", why="it is not UTF-8", hint="rename it"
        ) from None
    return below
