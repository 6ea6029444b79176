"""Zip files that others made: opened without trust."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.errors import ColabKitError, ModelFileError, UnsafeModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_MOST_PACKED = 20  # times; weights hardly pack at all, and Keras does not pack them
_ALWAYS = 32 << 20  # bytes that a member may unpack to in any case
_ALL_ALWAYS = 256 << 20  # bytes that all members may unpack to in any case


@contextlib.contextmanager
def opened(
    file: IO[bytes], name: str, *, needed: tuple[str, ...], allowed: tuple[str, ...]
) -> Iterator[zipfile.ZipFile]:
    """Open a zip of a known form.

    Args:
        file: The open file.
        name: What to call it in messages.
        needed: Members that must be there.
        allowed: Members, or folders that end with a slash, that may be there.

    Raises:
        ModelFileError: It is damaged, or lacks a member.
        UnsafeModelError: It has a member that climbs out, is a link, is not of this form or unpacks to far too much.
    """
    try:
        archive = zipfile.ZipFile(file)
    except Exception as error:  # whatever a damaged zip makes of its reader
        raise ModelFileError(
            f"{name} is damaged", why=str(error), hint="save it again, or take another copy"
        ) from error
    with archive:
        for member in archive.infolist():
            inside = member.filename
            climbs = inside.startswith(("/", "\\")) or ".." in inside.replace("\\", "/").split("/") or ":" in inside
            if climbs or member.external_attr >> 28 == 0xA:
                raise UnsafeModelError(
                    f"{name} has a member {inside[:100]!r}",
                    why="it would be written outside",
                    hint="do not use this file",
                )
            if inside not in needed and not any(inside == one or inside.startswith(one) for one in allowed):
                raise UnsafeModelError(
                    f"{name} has a member {inside[:100]!r}", why="no such file has one", hint="do not use this file"
                )
            if member.file_size > max(_ALWAYS, member.compress_size * _MOST_PACKED):
                raise UnsafeModelError(
                    f"the member {inside!r} of {name} unpacks to {member.file_size:,} bytes",
                    why=f"it is packed more than {_MOST_PACKED} times",
                    hint="do not use this file",
                )
        _check_total(archive, file, name)
        present = archive.namelist()
        if missing := [one for one in needed if one not in present]:
            raise ModelFileError(
                f"{name} has no member {missing[0]!r}", why="it is of another form, or cut off", hint="save it again"
            )
        yield archive


def _check_total(archive: zipfile.ZipFile, file: IO[bytes], name: str) -> None:
    """Refuse many members that are each bearable: they may share the same packed bytes."""
    total, size = sum(member.file_size for member in archive.infolist()), file.seek(0, io.SEEK_END)
    if total > max(_ALL_ALWAYS, size * _MOST_PACKED):
        raise UnsafeModelError(
            f"the members of {name} unpack to {total:,} bytes",
            why=f"the file has {size:,}",
            hint="do not use this file",
        )


def read(archive: zipfile.ZipFile, member: str, name: str, *, most: int) -> bytes:
    """Read a member whole.

    Args:
        archive: The zip.
        member: Which of it.
        name: What to call the zip in messages.
        most: Bytes that it may have.

    Raises:
        ModelFileError: It is damaged, or longer.
    """
    if archive.getinfo(member).file_size > most:
        raise ModelFileError(f"the member {member!r} of {name} is too long", hint="save it again, or take another copy")
    with _translated(member, name), archive.open(member) as file:
        return file.read(most + 1)


@contextlib.contextmanager
def extracted(archive: zipfile.ZipFile, member: str, name: str) -> Iterator[Path]:
    """Unpack a member into a temporary file, for a reader that goes to and fro in it.

    Raises:
        ModelFileError: It is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, Path(member).name)  # readers look at its ending
        with _translated(member, name), archive.open(member) as file, open(path, "wb") as target:
            shutil.copyfileobj(file, target, 1 << 20)
        yield path


@contextlib.contextmanager
def _translated(member: str, name: str) -> Iterator[None]:
    try:
        yield
    except ColabKitError:
        raise
    except Exception as error:  # whatever a damaged member makes of the readers of its packing
        raise ModelFileError(
            f"the member {member!r} of {name} is damaged", why=str(error), hint="save it again, or take another copy"
        ) from error
