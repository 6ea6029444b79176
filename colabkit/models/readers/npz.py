"""Arrays of an `.npz` file that others made: no objects, and no more of them than the file can reasonably hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.foreign import reading
from colabkit.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MOST_PACKED = 100  # times that the arrays may be packed
_ALWAYS = 256 << 20  # bytes that they may unpack to in any case


def read_npz(path: Path, *, hint: str, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Read the arrays of a file.

    Args:
        path: The file.
        hint: What data can be given instead.
        names: The arrays to read, as far as they are there; all when None.

    Raises:
        NotFoundError: There is no such file.
        DataError: It is damaged, holds objects, or unpacks to far more than it is.
    """
    import numpy as np

    if not path.is_file():  # a pipe would be waited for
        raise NotFoundError(f"there is no file at {path}", hint="check the path")
    # np.load gives a bare array, no archive, for a .npy file: that has no context manager
    with (
        reading(lambda why: DataError(f"{path} is not an .npz file of arrays", why=why, hint=hint)),
        np.load(path, allow_pickle=False) as file,
    ):
        size = sum(member.file_size for member in file.zip.infolist())
        if size > max(_ALWAYS, path.stat().st_size * _MOST_PACKED):
            raise DataError(
                f"the arrays in {path} unpack to {size:,} bytes",
                why=f"they are packed more than {_MOST_PACKED} times",
                hint="do not use this file",
            )
        return {name: file[name] for name in (file.files if names is None else names) if name in file}
