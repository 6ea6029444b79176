"""drive:FOLDER/FILE, a place below My Drive: the one reader of its address, and the one hint how to mount."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from pathlib import Path

MOUNT = "in a cell, run: import colabkit as ck; ck.drive.mount()"
_MAX_NAMED = 200

stand_ins: list[Path] = []
"""The folders that this session has in the place of My Drive, newest last; `colab_shim` puts them here."""


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
