"""A list of very many objects in little memory: a hundred bytes for each, where objects of Python take six hundred."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from colabkit.storage.base import Stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Listing(Sequence[Stored]):
    """Objects as `list` returns them; each is made anew when it is looked at.

    Args:
        objects: What it holds; they are read once, one after the other.

    Example:
        >>> listing = Listing([Stored(name="a", size=3, modified=0.0, version="17")])
        >>> len(listing), listing[0].name, listing == [Stored(name="a", size=3, modified=0.0, version="17")]
        (1, 'a', True)
    """

    def __init__(self, objects: Iterable[Stored]) -> None:
        self._texts = bytearray()
        self._ends = array.array("q")
        self._sizes = array.array("q")
        self._times = array.array("d")
        for stored in objects:
            self._texts += f"{stored.name}\0{stored.version}".encode("utf-8", "surrogatepass")  # no name holds a zero
            self._ends.append(len(self._texts))
            self._sizes.append(stored.size)
            self._times.append(stored.modified)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, at: int) -> Stored: ...
    @overload
    def __getitem__(self, at: slice) -> list[Stored]: ...
    def __getitem__(self, at: int | slice) -> Stored | list[Stored]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        number = range(len(self))[at]
        start = self._ends[number - 1] if number else 0
        text = self._texts[start : self._ends[number]].decode("utf-8", "surrogatepass")
        name, _, version = text.rpartition("\0")
        return Stored(name=name, size=self._sizes[number], modified=self._times[number], version=version)

    def __iter__(self) -> Iterator[Stored]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str) or len(self) != len(other):
            return NotImplemented if not isinstance(other, Sequence) else False
        return all(mine == other_entry for mine, other_entry in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Listing of {len(self):,} objects>"
