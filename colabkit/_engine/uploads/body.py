"""What is sent: bytes, files and streams, read from any place as far as they can be, with their checksum on the way."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Protocol

from colabkit._engine.local import refuse_changed
from colabkit._internal.disk import checksum
from colabkit._internal.disk.files import map_os_errors
from colabkit.errors import AddressError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

UNIT = 256 << 10
"""A resumable upload keeps whole units of what arrives; only the end may be shorter."""

_SEALS = "crc32c"
"""The checksum that Cloud Storage takes with the last bytes, to refuse what differs."""

_BLOCK = 1 << 20
_BUFFER = 8 << 20


@dataclass
class Chunk:
    """The bytes of one request.

    It is an iterable with a length, which is what an HTTP library needs to send a body without holding it.

    Attributes:
        start: Where they begin.
        stop: Where they end.
        total: The size of the whole, when it is known.
    """

    start: int
    stop: int
    total: int | None
    blocks: Callable[[], Iterator[bytes]] = field(repr=False)

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[bytes]:
        return self.blocks()

    @property
    def last(self) -> bool:
        """Whether the object is complete with these."""
        return self.stop == self.total


class UploadBody(Protocol):
    """Something to send."""

    @property
    def size(self) -> int | None:
        """Bytes in all; None when only the end will tell."""

    def window(self, start: int) -> Chunk:
        """Return what is to be sent after the first `start` bytes.

        Raises:
            StorageError: Those bytes cannot be had again.
        """

    def digits(self) -> str:
        """Return the checksum of all that was read so far, in hexadecimal digits."""


class _Running:
    """A checksum that may be fed the same bytes again; it counts each once."""

    def __init__(self, algorithm: str) -> None:
        self._hash = checksum.new(algorithm) if algorithm else None
        self.at = 0

    def add(self, start: int, data: bytes) -> None:
        fresh = data[max(0, self.at - start) :]
        if fresh:
            if self._hash is not None:
                self._hash.update(fresh)
            self.at += len(fresh)

    def digits(self) -> str:
        return "" if self._hash is None else str(self._hash.hexdigest())


class FileContent:
    """A file of known size that can be read from any place.

    Args:
        file: Open for reading.
        size: Bytes from where the file stands now.
        shown: Its name for messages.
        algorithm: The checksum that is taken on the way, or "" for none.
        begun: What the system knew of the file when it was opened; None for what is no file of a disk.
    """

    def __init__(
        self, file: IO[bytes], size: int, shown: str, algorithm: str = "", begun: os.stat_result | None = None
    ) -> None:
        self.size: int = size
        self._begun = begun
        self._sealed = algorithm == _SEALS
        self._file = file
        self._base = file.tell()
        self._shown = shown
        self._sum = _Running(algorithm)

    def window(self, start: int) -> Chunk:
        """Return the rest; where a checksum can go with the end, the rest up to the last unit, or that."""
        cut = max(0, self.size - 1) // UNIT * UNIT
        stop = cut if self._sealed and start < cut else self.size
        for _ in self._blocks(self._sum.at, start):
            pass  # what an earlier process sent counts too
        return Chunk(start, stop, self.size, lambda: self._blocks(start, stop))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def whole(self) -> bytes:
        """Return all of it; for small files."""
        return b"".join(self._blocks(0, self.size))

    def digits(self) -> str:
        for _ in self._blocks(self._sum.at, self.size):
            pass
        return self._sum.digits()

    def _blocks(self, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            with map_os_errors(self._shown):
                self._file.seek(self._base + start)
                data = self._file.read(min(_BLOCK, stop - start))
            if not data:
                raise StorageError(
                    f"{self._shown} became shorter while it was sent",
                    why=f"{start:,} of {self.size:,} bytes were there",
                    hint="wait until nothing writes to it, then run it again",
                )
            self._sum.add(start, data)
            start += len(data)
            if start == self.size and self._begun is not None:  # before the last bytes go, so that nothing appears
                refuse_changed(self._shown, self._begun, os.fstat(self._file.fileno()))
            yield data


class StreamContent:
    """A stream that can be read once, from its beginning to its end; the last few bytes are kept for another try.

    Args:
        file: Open for reading.
        shown: Its name for messages.
        algorithm: The checksum that is taken on the way, or "" for none.
    """

    size = None

    def __init__(self, file: IO[bytes], shown: str, algorithm: str = "") -> None:
        self._file = file
        self._shown = shown
        self._sum = _Running(algorithm)
        self._base = 0
        self._kept = bytearray()
        self._ended = False

    def window(self, start: int) -> Chunk:
        if start < self._base:
            raise StorageError(
                f"{self._shown} cannot be sent again from its byte {start:,}",
                why="the upload was interrupted for too long, and a stream is read only once",
                hint="run it again from the beginning, or save it to a file first, which can be resumed",
            )
        del self._kept[: start - self._base]
        self._base = start
        while len(self._kept) < _BUFFER + 1 and not self._ended:  # one more tells whether this is the end
            data = self._file.read(_BUFFER + 1 - len(self._kept))
            if data is not None and not isinstance(data, bytes):
                raise AddressError(f"{self._shown} gives text", why="bytes are needed", hint='open it with "rb"')
            self._ended = not data
            self._sum.add(self._base + len(self._kept), data or b"")
            self._kept += data or b""
        length = len(self._kept) if self._ended and len(self._kept) <= _BUFFER else _BUFFER
        total = start + length if self._ended and length == len(self._kept) else None
        chunk = bytes(self._kept[:length])
        return Chunk(start, start + length, total, lambda: iter([chunk] if chunk else []))

    def digits(self) -> str:
        return self._sum.digits()


def open_stream(source: bytes | bytearray | memoryview | IO[bytes], algorithm: str = "") -> FileContent | StreamContent:
    """Make content of bytes or of an open file; one that can seek is read from where it stands.

    Args:
        source: What is sent.
        algorithm: The checksum that is taken on the way, or "" for none.

    Raises:
        AddressError: It is neither.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return open_bytes(bytes(source), algorithm)
    if not callable(getattr(source, "read", None)):
        raise AddressError(
            f"cannot push a {type(source).__name__}", hint="pass a path, bytes, or a file that is open for reading"
        )
    shown = str(getattr(source, "name", "") or "the stream")
    if hasattr(source, "encoding"):
        raise AddressError(f"{shown} gives text", why="bytes are needed", hint='open it with "rb"')
    if getattr(source, "closed", False) or not getattr(source, "readable", lambda: True)():
        why = "it is closed" if getattr(source, "closed", False) else "it is open for writing only"
        raise AddressError(f"{shown} cannot be read", why=why, hint='open it with "rb", or pass its path')
    if callable(getattr(source, "seekable", None)) and source.seekable():
        here = source.tell()
        size = source.seek(0, io.SEEK_END) - here
        source.seek(here)
        if here and not size:
            raise AddressError(
                f"{shown} stands at its end",
                why=f"nothing would be pushed of the {here:,} bytes before that",
                hint="go back to its beginning first: seek(0)",
            )
        return FileContent(source, size, shown, algorithm)
    return StreamContent(source, shown, algorithm)


def open_bytes(data: bytes, algorithm: str = "") -> FileContent:
    """Make content of bytes."""
    return FileContent(io.BytesIO(data), len(data), "the bytes", algorithm)


def open_file(path: Path, algorithm: str = "") -> FileContent:
    """Open a file to be sent; its `close` ends it."""
    with map_os_errors(path):
        file = path.open("rb", buffering=0)
        begun = os.fstat(file.fileno())
        return FileContent(file, begun.st_size, str(path), algorithm, begun)


def all_blocks(content: UploadBody) -> Iterator[bytes]:
    """Read all of it, in order."""
    at = 0
    while True:
        window = content.window(at)
        yield from window
        if window.last:
            return
        at = window.stop
