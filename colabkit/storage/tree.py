"""Folders of many small files, which travel as one archive: on a mounted Drive each file costs some round trips."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._archive import extraction
from colabkit._archive.target import why_refused
from colabkit._engine.uploads.walk import files_below
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors
from colabkit._internal.display.progress import amount
from colabkit.errors import AddressError, DiskFullError, NotFoundError, NotWritableError

if TYPE_CHECKING:
    from colabkit._types import StrPath
    from colabkit.storage.base import Progress, Storage, Stored


def put_tree(storage: Storage, name: str, folder: StrPath, *, progress: Progress | None = None) -> Stored:
    """Store a folder as one object: a zip archive, not compressed, with a checksum of each file.

    Links to files are followed, links to folders are left out and named, and a folder without files is not kept.

    Args:
        storage: Where to.
        name: The object's name, as in "data/images.zip"; an object of that name is replaced.
        folder: The folder on this machine. As much room as its files take is needed for a moment, beside other
            temporary files (`TMPDIR`).
        progress: As for `Storage.put`.

    Returns:
        The object as it is stored.

    Raises:
        AddressError: A file's name could not be unpacked safely; it is named, and nothing is stored.
        DiskFullError: No room for the archive.
        NotFoundError: There is no such folder, or no file in it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from colabkit.storage import MemoryStorage, get_tree, put_tree
        >>> here, storage = Path(tempfile.mkdtemp()), MemoryStorage()
        >>> (here / "labels.txt").write_text("0 1 2")
        5
        >>> put_tree(storage, "data.zip", here).name
        'data.zip'
        >>> [path.name for path in get_tree(storage, "data.zip", here / "again").iterdir()]
        ['labels.txt']
    """
    root = Path(folder)
    if not root.is_dir():
        raise NotFoundError(f"there is no folder {root}", hint="check the path")
    files = files_below(root)
    for file in files:
        if why := why_refused(file.below, windows=True):
            raise AddressError(f"the file {file.below!r} in {root} cannot be stored", why=why, hint="rename it")
    with tempfile.TemporaryDirectory(prefix="colabkit-tree-") as temporary:
        needed, free = sum(file.size for file in files), shutil.disk_usage(temporary).free
        if needed > free:
            raise DiskFullError(
                f"no room to pack {root}",
                why=f"its files take {amount(needed)}, and {amount(free)} are free in {tempfile.gettempdir()}",
                hint="free some space, or set TMPDIR to a folder on a larger disk",
            )
        packed = Path(temporary, "tree.zip")
        with map_os_errors(packed), zipfile.ZipFile(packed, "w", strict_timestamps=False) as out:
            for file in files:
                out.write(file.path, file.below)
        return storage.put(name, packed, progress=progress)


def get_tree(
    storage: Storage, name: str, folder: StrPath, *, replace: bool = False, progress: Progress | None = None
) -> Path:
    """Get a folder that `put_tree` has stored; it appears whole, with the checksum of each file verified.

    Args:
        storage: Where from.
        name: The object's name.
        folder: The folder to make.
        replace: Put it in the place of what is there.
        progress: As for `Storage.get`.

    Returns:
        The folder.

    Raises:
        ArchiveError: The object is not an archive, is damaged, or holds a member that leads out; nothing is made.
        NotStoredError: There is no such object.
        NotWritableError: The folder already exists.
    """
    target = Path(folder)
    if os.path.lexists(target) and not replace:
        raise NotWritableError(
            f"{target} already exists", why="it is not touched", hint="pass replace=True, or name another folder"
        )
    with map_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(prefix=f".{target.name[:100]}{TEMP_MARKER}", dir=target.parent)
    with place as temporary:
        packed = Path(temporary, "tree.zip")
        storage.get(name, packed, progress=progress)
        extraction.unpack(packed, target, name if extraction.kind_of(name) == "zip" else f"{name}.zip", replace=replace)
    return target
