"""Sources that are here already: paths and file: addresses."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.files import PART, atomic, writing_to
from colabkit.errors import AddressError, ExistsError, IntegrityError, NotFoundError
from colabkit.transfer._checksum import Checksum, of_file
from colabkit.transfer.base import Order

if TYPE_CHECKING:
    from colabkit._tools.progress import Progress

_BLOCK = 4 << 20


def open_source(text: str) -> Order:
    """Read a path or a file: address into a source.

    Raises:
        AddressError: As for `local_path`.
    """
    return Order(source=local_path(text))


def local_path(source: str | os.PathLike[str]) -> Path:
    """Read a path or a file: address.

    Raises:
        AddressError: A file: address that names another machine, or is malformed.

    Example:
        >>> local_path("file:///data/my%20file.csv").as_posix()
        '/data/my file.csv'
    """
    text = os.fspath(source)
    if not text.lower().startswith("file:"):
        return Path(text).expanduser()
    parts = urllib.parse.urlsplit(text)
    path = urllib.parse.unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path or "\0" in path:
        raise AddressError(
            f"cannot read the address {text[:200]!r}",
            why="it names another machine" if parts.netloc else "it has no path",
            do="write it as file:///FOLDER/FILE",
        )
    return Path(path)


def check(path: Path, checksum: Checksum | None) -> None:
    """Make sure that a local source is there and is what the user expects.

    Raises:
        NotFoundError: Nothing is there.
        IntegrityError: The checksum differs.
    """
    with writing_to(path):
        exists = path.exists()
    if not exists:
        raise NotFoundError(f"there is no file at {path}", do="check the path; web addresses begin with https://")
    if checksum is None:
        return
    if path.is_dir():
        raise AddressError(f"{path} is a folder", why="a checksum is for one file", do="leave out checksum=")
    found = of_file(path, checksum.algorithm)
    if found != checksum:
        raise IntegrityError(
            f"{path} is not the file that was promised",
            why=f"you said {checksum}, the file has {found}",
            do="check the path and the checksum",
        )


def copy(path: Path, target: Path, bar: Progress, *, overwrite: bool) -> None:
    """Copy a file or a folder so that it appears whole or not at all.

    Raises:
        ExistsError: The target is there and may not be replaced.
        StorageError: It cannot be written.
    """
    if target.exists() and path.samefile(target):
        return
    if target.exists() and (not overwrite or target.is_dir()):
        raise taken(target, folder=target.is_dir())
    with writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        _copy_folder(path, target)
        return
    size = path.stat().st_size
    with path.open("rb") as reader, atomic(target) as writer:
        done = 0
        while block := reader.read(_BLOCK):
            writer.write(block)
            done += len(block)
            bar.update(done, size)


def _copy_folder(path: Path, target: Path) -> None:
    with writing_to(target):
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}{PART}", dir=target.parent))
        try:
            shutil.copytree(path, staging / "copy", symlinks=True)
            os.replace(staging / "copy", target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def taken(target: Path, *, folder: bool = False) -> ExistsError:
    """Make the error for a destination that is there already."""
    if folder:
        return ExistsError(
            f"{target} is a folder that exists", do="choose another name with to=, or remove that folder first"
        )
    return ExistsError(
        f"{target} exists and is not known to come from this source",
        why="it was put there by something else, or changed since",
        do="pass overwrite=True to replace it, or checksum= to accept it if it is the right file",
    )
