"""Memory for copies of the state, kept and used again.

To copy a gigabyte into memory that the process has touched before takes a third of the time that fresh memory takes,
since the system has to find and clear each fresh page first. So the memory of a copy is kept for the next one. That it
is never handed out while someone still reads the last copy needs no bookkeeping: every array of a copy refers to one
that spans all of them, and when that one is gone, so are they.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from colabkit._internal.process.threads import for_each
from colabkit.runtime import resources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    Array = np.ndarray[Any, Any]

_MOST = 2  # one that is being written, and one that waits or is being filled
_SMALL = 1 << 16  # bytes; a smaller array is copied by itself
_IN_PARALLEL = 64 << 20  # bytes below which threads cost more than they save
_THREADS = 4
_PIECE = 16 << 20
_ALIGNED = 64


class BufferPool:
    """A block of memory that is lent to one copy at a time."""

    def __init__(self, size: int) -> None:
        import numpy as np

        self._block = np.empty(size, np.uint8).data
        self.nbytes = size
        self._array: weakref.ref[Array] | None = None

    @property
    def free(self) -> bool:
        """Whether no array of the last copy is left."""
        return self._array is None or self._array() is None

    def acquire(self) -> Array:
        """Return an array over all of it; views of it keep it alive."""
        import numpy as np

        array = np.frombuffer(self._block, np.uint8)
        self._array = weakref.ref(array)
        return array


class Buffers:
    """Copies sets of arrays into memory that is used again."""

    def __init__(self) -> None:
        self._kept: list[BufferPool] = []
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """The bytes that are kept, in use or not."""
        return sum(memory.nbytes for memory in self._kept)

    def copy(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Copy arrays, of any shapes and dtypes; the copies are the caller's as long as he holds any of them.

        Raises:
            MemoryError: There is no room for them.
        """
        import numpy as np

        large = {name: array for name, array in tensors.items() if array.nbytes >= _SMALL}
        copies = {name: array.copy() for name, array in tensors.items() if name not in large}
        if not large:
            return copies
        sizes = [-(-array.nbytes // _ALIGNED) * _ALIGNED for array in large.values()]
        memory, start = self._take(sum(sizes)), 0
        for (name, array), size in zip(large.items(), sizes, strict=True):
            copies[name] = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
            start += size
        pieces = [piece for name, array in large.items() for piece in _pieces(copies[name], array)]
        threads = min(_THREADS, round(resources.cpus()))
        if sum(sizes) < _IN_PARALLEL or threads < 2:
            for to, of in pieces:
                np.copyto(to, of)
        else:
            for_each(lambda piece: np.copyto(*piece), pieces, threads=threads, name="colabkit-copy")
        return copies

    def release(self) -> None:
        """Give back the memory that is not in use."""
        with self._lock:
            self._kept = [memory for memory in self._kept if not memory.free]

    def release_if_short(self) -> None:
        """Give back the memory that is not in use where the machine has less left than that."""
        left = resources.memory()
        if self._kept and left is not None and left.available < self.nbytes:
            self.release()

    def _take(self, size: int) -> Array:
        """Return memory of at least so many bytes that nobody uses."""
        with self._lock:
            for memory in self._kept:
                if memory.free and size <= memory.nbytes <= 2 * size:
                    return memory.acquire()
            self._kept = [memory for memory in self._kept if not memory.free]  # the state has another size now
            fresh = BufferPool(size)
            if len(self._kept) < _MOST:
                self._kept.append(fresh)
            return fresh.acquire()


def _pieces(to: Array, of: Array) -> Iterator[tuple[Array, Array]]:
    """Cut one copy into pieces of about one size, so that threads share even a single array."""
    import numpy as np

    if not of.flags.c_contiguous:
        yield to, of
        return
    flat_to, flat_of = to.reshape(-1).view(np.uint8), of.reshape(-1).view(np.uint8)
    for start in range(0, of.nbytes, _PIECE):
        yield flat_to[start : start + _PIECE], flat_of[start : start + _PIECE]
