"""HDF5 files of weights that others made: looked through before Keras reads them."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from colabkit._tools.optional import require
from colabkit.errors import ModelFileError, UnsafeModelError

if TYPE_CHECKING:
    from pathlib import Path

_MOST_PACKED = 200


def check(file: Path | IO[bytes], name: str) -> None:
    """Refuse a file that is damaged, or that would make the reader open other files or fill the memory.

    Args:
        file: The file.
        name: What to call it in messages.

    Raises:
        ModelFileError: It is damaged.
        UnsafeModelError: It has a link, or an array that is stored elsewhere or far larger than the file.
    """
    h5py = require("h5py", extra="train", why="weights are stored in HDF5")
    try:
        with h5py.File(file, "r") as content:
            stored = _walk(h5py, content, "", name)
            size = content.id.get_filesize()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"{name} is damaged", why=str(error).partition("\n")[0], do="save it again, or take another copy"
        ) from error
    if stored > max(size, 1 << 20) * _MOST_PACKED:
        raise UnsafeModelError(
            f"the arrays of {name} need {stored:,} bytes", why=f"the file has {size:,}", do="do not use this file"
        )


def _walk(h5py: Any, group: Any, place: str, name: str) -> int:
    stored = 0
    for key in group:
        link = group.get(key, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise UnsafeModelError(
                f"{place}/{key} in {name} is a link", why="it may lead to any file", do="do not use this file"
            )
        item = group[key]
        if isinstance(item, h5py.Group):
            stored += _walk(h5py, item, f"{place}/{key}", name)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise UnsafeModelError(
                    f"{place}/{key} in {name} is stored in another file",
                    why="weights never are",
                    do="do not use this file",
                )
            stored += item.size * item.dtype.itemsize
    return stored
