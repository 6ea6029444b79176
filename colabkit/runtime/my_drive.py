"""drive:FOLDER/FILE, a place below My Drive: the one reader of its address, and the one hint how to mount."""

from __future__ import annotations

import os
import unicodedata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._internal.disk.paths import on_this_machine
from colabkit.errors import AddressError, UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath

MOUNT = "in a cell, run: import colabkit as ck; ck.drive.mount()"
_MAX_NAMED = 200
_MOUNTPOINTS = ("content/drive", "content/gdrive")

stand_ins: list[Path] = []
"""The folders that this session has in the place of My Drive, newest last; `colab_shim` puts them here."""


def path_to_write(path: StrPath, hint: str) -> Path:
    """Return a path of this machine, or of its mounted Drive, that is written to.

    Args:
        path: What the user wrote.
        hint: What does it with an address; `{}` stands for that.

    Raises:
        AddressError: It is empty, an address, or no path.
        UnsupportedError: It lies where Drive would be mounted, and nothing is.

    Example:
        >>> path_to_write("models/digits.zip", "").as_posix()
        'models/digits.zip'
    """
    target = on_this_machine(path, hint)
    refuse_unmounted(target)
    return target


def refuse_unmounted(path: Path) -> None:
    """Refuse to write where Colab mounts Drive and nothing is mounted.

    Raises:
        UnsupportedError: It would be a folder of this machine, which is thrown away, and be in the way of the mount.
    """
    if is_unmounted(path):
        raise UnsupportedError(
            f"{path} is not on your Drive",
            why="Google Drive is not mounted: it would be a folder of this machine, which is thrown away, and Drive "
            "could not be mounted there any more",
            hint=MOUNT,
        )


def is_unmounted(path: Path) -> bool:
    """Say whether a path lies where Colab mounts Drive, and nothing is mounted there.

    Example:
        >>> from pathlib import Path
        >>> is_unmounted(Path("/tmp/x"))
        False
    """
    absolute = os.path.abspath(path)  # noqa: PTH100 - resolve() would ask a mount
    if "/content/" not in absolute:
        return False
    from colabkit.runtime import detect

    runtime = detect()
    places = [str(config.machine_root() / name) for name in _MOUNTPOINTS]
    inside = any(f"{absolute}/".startswith(f"{place}/") for place in places)
    return inside and runtime.host == "colab" and runtime.persistent_dir is None


def place_of(address: str) -> PurePosixPath:
    r"""Read an address; nothing is looked up, so that a wrong one is told the same on every machine.

    Args:
        address: What the user wrote, with `drive:` before it; a slash at its end says nothing here.

    Returns:
        The path from My Drive down.

    Raises:
        AddressError: It names nothing below My Drive.

    Example:
        >>> place_of("drive:runs/digits/")
        PurePosixPath('runs/digits')
        >>> place_of("drive:../x")
        Traceback (most recent call last):
            ...
        colabkit.errors.AddressError: 'drive:../x' is not a place on your Drive
        Why: it climbs out of My Drive
        What to do: write it as "drive:runs/digits"
    """
    rest = address.partition(":")[2]
    path = PurePosixPath(rest)
    if why := _why_not(rest, path):
        raise AddressError(
            f"{f'drive:{rest[:_MAX_NAMED]}'!r} is not a place on your Drive",
            why=why,
            hint='write it as "drive:runs/digits"',
        )
    return path


def _why_not(rest: str, path: PurePosixPath) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in rest):
        return "it holds a control character or half a character"
    if path.is_absolute():
        return "it begins with a slash, and it counts from My Drive, not from the root of this machine"
    if ".." in path.parts:
        return "it climbs out of My Drive"
    return "" if path.parts else "it names no folder"
