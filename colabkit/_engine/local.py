"""Sources that are here already: paths and file: addresses."""

from __future__ import annotations

import os
import re
import shutil
import stat
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._engine.source import ParsedSource
from colabkit._internal.disk.checksum import Checksum, of_file
from colabkit._internal.disk.files import atomic_write, map_os_errors
from colabkit._internal.disk.paths import expand
from colabkit._internal.disk.staging import staging_folder
from colabkit._internal.log import notify
from colabkit.errors import AddressError, ExistsError, IntegrityError, NotFoundError, StorageError
from colabkit.runtime import my_drive

if TYPE_CHECKING:
    from colabkit._internal.display.progress import Progress
    from colabkit._types import StrPath

_BLOCK = 4 << 20
_HOST = re.compile(r"(?:[\w-]+\.)+(?:[a-z]{2,3}|info|cloud)")


def open_source(text: str) -> ParsedSource:
    """Read a path or a file: address into a source.

    Raises:
        AddressError: As for `local_path`.
    """
    return ParsedSource(source=local_path(text))


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
        return expand(text)
    host, slash, path = "", "", text[len("file:") :].partition("#")[0].partition("?")[0]
    if path.startswith("//"):
        host, slash, path = path[2:].partition("/")
    path = urllib.parse.unquote(slash + path)
    if host not in ("", "localhost") or not path or "\0" in path:
        raise AddressError(
            f"cannot read the address {text[:200]!r}",
            why="it names another machine" if host else "it has no path",
            hint="write it as file:///FOLDER/FILE",
        )
    return Path(path)


def check(path: Path, checksum: Checksum | None) -> None:
    """Make sure that a local source is there and is what the user expects.

    Raises:
        NotFoundError: Nothing is there.
        IntegrityError: The checksum differs.
    """
    with map_os_errors(path):
        exists = path.exists()
    if not exists:
        raise NotFoundError(f"there is no file at {path}", hint=_meant(path))
    if not path.is_file() and not path.is_dir():
        raise AddressError(f"{path} is a device or a pipe", why="it may have no end", hint="pass a file or a folder")
    if checksum is None:
        return
    if path.is_dir():
        raise AddressError(f"{path} is a folder", why="a checksum is for one file", hint="leave out checksum=")
    actual = of_file(path, checksum.algorithm)
    if actual != checksum:
        raise IntegrityError(
            f"{path} is not the expected file",
            why=f"you said {checksum}, the file has {actual}",
            hint="check the path and the checksum",
        )


def _meant(path: Path) -> str:
    """Say what a path that leads nowhere may have been meant as."""
    text = path.as_posix()
    host = text.partition("/")[0]
    if my_drive.is_unmounted(path):
        return f"Google Drive is not mounted; {my_drive.MOUNT}"
    if _HOST.fullmatch(host) and "/" in text:
        return f"if it is a web address: https://{text}"
    if text.count("/") == 1 and "." not in text and not path.parent.exists():
        return f'check the path; a dataset is "kaggle:{text}" or "hf:datasets/{text}"'
    return "check the path; web addresses begin with https://"


def copy(path: Path, target: Path, bar: Progress, *, overwrite: bool) -> None:
    """Copy a file or a folder so that it appears whole or not at all.

    Raises:
        ExistsError: The target is there and may not be replaced.
        StorageError: It cannot be written.
    """
    if target.exists() and path.samefile(target):
        return
    refuse_special(target)
    if target.exists() and (not overwrite or target.is_dir()):
        raise taken(target, folder=target.is_dir())
    with map_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        _copy_folder(path, target)
        return
    size = path.stat().st_size
    with path.open("rb") as reader, atomic_write(target) as writer:
        done = 0
        begun = os.fstat(reader.fileno())
        while block := reader.read(_BLOCK):
            writer.write(block)
            done += len(block)
            bar.update(done, size)
        refuse_changed(path, begun, os.fstat(reader.fileno()))


def _copy_folder(path: Path, target: Path) -> None:
    if target.resolve().is_relative_to(path.resolve()):
        raise AddressError(f"{target} lies in {path}", hint="choose a place outside of what is copied")

    def special(folder: str, names: list[str]) -> list[str]:
        irregular = [name for name in names if not _is_ordinary(Path(folder, name))]
        for name in irregular:
            notify("%s is left out: it is not a file", Path(folder, name))
        return irregular

    with map_os_errors(target), staging_folder(target) as place:
        try:
            shutil.copytree(path, place / "copy", symlinks=True, ignore=special)
        except shutil.Error as error:  # a list of (file, copy, reason)
            file, _, why = error.args[0][0]
            raise OSError(f"{file}: {why}") from error
        os.replace(place / "copy", target)


def _is_ordinary(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def refuse_changed(path: StrPath, before: os.stat_result, after: os.stat_result) -> None:
    """Refuse bytes that were read while others were written over them; what was only added to is whole so far.

    Raises:
        StorageError: The file was changed in its place.
    """
    if before.st_mtime_ns != after.st_mtime_ns and after.st_size <= before.st_size:
        raise StorageError(
            f"{path} changed while it was read",
            why="a part of one version and a part of another would have been put together",
            hint="wait until nothing writes to it, then run it again",
        )


def refuse_special(path: Path) -> bool:
    """Refuse to replace what is neither a file nor a folder: a device, a pipe, a socket.

    Returns:
        Whether something is there.

    Raises:
        ExistsError: It is such a thing.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ExistsError(
            f"{path} is a device or a pipe", why="a file would replace it for good", hint="choose another name"
        )
    return True


def taken(target: Path, *, folder: bool = False) -> ExistsError:
    """Make the error for a destination that already exists."""
    if folder:
        return ExistsError(
            f"{target} is a folder that exists", hint="choose another name with to=, or remove that folder first"
        )
    return ExistsError(
        f"{target} exists and is not known to come from this source",
        why="it was put there by something else, or changed since",
        hint="pass overwrite=True to replace it, or checksum= to accept it if it is the right file",
    )
