"""Zip files that others made: opened without trust."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from typing import TYPE_CHECKING

from colabkit.errors import ModelFileError, UnsafeModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_MOST_PACKED = 200  # times; weights hardly pack at all


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
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelFileError(f"{name} is damaged", why=str(error), do="save it again, or take another copy") from error
    with archive:
        for member in archive.infolist():
            inside = member.filename
            climbs = inside.startswith(("/", "\\")) or ".." in inside.replace("\\", "/").split("/") or ":" in inside
            if climbs or member.external_attr >> 28 == 0xA:
                raise UnsafeModelError(
                    f"{name} has a member {inside[:100]!r}",
                    why="it would be written outside",
                    do="do not use this file",
                )
            if inside not in needed and not any(inside == one or inside.startswith(one) for one in allowed):
                raise UnsafeModelError(
                    f"{name} has a member {inside[:100]!r}", why="no such file has one", do="do not use this file"
                )
            if member.file_size > max(member.compress_size, 1 << 10) * _MOST_PACKED:
                raise UnsafeModelError(
                    f"the member {inside!r} of {name} unpacks to {member.file_size:,} bytes",
                    why=f"it is packed more than {_MOST_PACKED} times",
                    do="do not use this file",
                )
        present = archive.namelist()
        if missing := [one for one in needed if one not in present]:
            raise ModelFileError(
                f"{name} has no member {missing[0]!r}", why="it is of another form, or cut off", do="save it again"
            )
        yield archive


def read(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    """Read a member whole.

    Raises:
        ModelFileError: It is damaged.
    """
    try:
        return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise ModelFileError(
            f"the member {member!r} of {name} is damaged", why=str(error), do="save it again, or take another copy"
        ) from error
