"""HDF5 files of weights that others made: looked through before Keras reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.optional import require
from colabkit.errors import ColabKitError, ModelFileError, UnsafeModelError

if TYPE_CHECKING:
    from pathlib import Path

_MOST_PACKED = 20  # times; weights hardly pack at all
_ALWAYS = 64 << 20  # bytes that the arrays may need in any case
_MOST_ITEMS = 1_000_000
_DEEPEST = 100


def check(file: Path, name: str) -> int:
    """Refuse a file that is damaged, or that would make the reader open other files or fill the memory.

    Args:
        file: The file.
        name: What to call it in messages.

    Returns:
        How many numbers its arrays have.

    Raises:
        ModelFileError: It is damaged.
        UnsafeModelError: It has a link, or an array that is stored elsewhere or far larger than the file.
    """
    h5py = require("h5py", extra="train", why="weights are stored in HDF5")
    try:
        with h5py.File(file, "r") as content:
            walk = _Walk(h5py, name)
            walk.group(content, "")
            size = content.id.get_filesize()
    except ColabKitError:
        raise
    except Exception as error:  # h5py raises whatever its library or NumPy make of damaged bytes
        raise ModelFileError(
            f"{name} is damaged", why=str(error).partition("\n")[0], hint="save it again, or take another copy"
        ) from error
    if walk.stored > max(_ALWAYS, size * _MOST_PACKED):
        raise UnsafeModelError(
            f"the arrays of {name} need {walk.stored:,} bytes",
            why=f"the file has {size:,}",
            hint="do not use this file",
        )
    return walk.numbers


class _Walk:
    """Visits each object of a file once, however many names lead to it."""

    def __init__(self, h5py: Any, name: str) -> None:
        self._h5py = h5py
        self._name = name
        self._seen: set[tuple[int, int]] = set()
        self._items = 0
        self.stored = 0
        self.numbers = 0

    def group(self, group: Any, place: str) -> None:
        """Look at all that a group holds."""
        if place.count("/") > _DEEPEST:
            raise self._refusal(f"{place[:80]}… in {self._name} is nested too deeply", why="no model is")
        for key in group:
            if not isinstance(group.get(key, getlink=True), self._h5py.HardLink):
                raise self._refusal(f"{place}/{key} in {self._name} is a link", why="it may lead to any file")
            item = group[key]
            self._items += 1
            if self._items > _MOST_ITEMS:
                raise self._refusal(f"{self._name} has more than {_MOST_ITEMS:,} arrays", why="no model has")
            status = self._h5py.h5o.get_info(item.id)
            if (status.fileno, status.addr) in self._seen:
                continue
            self._seen.add((status.fileno, status.addr))
            if isinstance(item, self._h5py.Group):
                self.group(item, f"{place}/{key}")
            elif isinstance(item, self._h5py.Dataset):
                if item.external or item.is_virtual:
                    raise self._refusal(
                        f"{place}/{key} in {self._name} is stored in another file", why="weights never are"
                    )
                self.numbers += int(item.size or 0)
                self.stored += int(item.size or 0) * item.dtype.itemsize

    def _refusal(self, what: str, *, why: str) -> UnsafeModelError:
        return UnsafeModelError(what, why=why, hint="do not use this file")
