"""Zip archives: the list of members at the end is counted, and names are read in the encoding that wrote them."""

from __future__ import annotations

import contextlib
import importlib
import io
import mmap
import struct
import time
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

from colabkit._archive import zip_names
from colabkit._internal.disk.streams import CompressedStream
from colabkit._internal.log import notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_END = b"PK\x05\x06"
_END_SIZE = 22
_LOCATOR, _LOCATOR_SIZE = b"PK\x06\x07", 20
_END_64, _END_64_SIZE = b"PK\x06\x06", 56
_LISTED, _MEMBER = b"PK\x01\x02", b"PK\x03\x04"
_HEADER_SIZE = 30
_MOST_DISKS = 0xFFFF
_WRAPS = 1 << 16
_UTF_8 = 0x800
_PATCHED = 0x20
_DEFLATE_64, _ZSTD, _XZ = 9, 93, 95
_INFLATED_AT_ONCE = 16 << 10
_UNICODE_PATH, _TIMES = 0x7075, 0x5455
WINDOWS = (0, 10, 11, 14)
"""The systems that write "\\" between the parts of a path: FAT, NTFS as two programs number it, VFAT."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose end is sound.

    Raises:
        zipfile.BadZipFile: It is damaged, or has fewer members than it counts.
    """
    with path.open("rb") as file:
        stop, counted, wide = _end(file)
        junk = path.stat().st_size - stop
        with zipfile.ZipFile(_Window(file, stop) if junk else file) as archive:
            listed = len(archive.infolist())
            if (listed if wide else listed % _WRAPS) != counted and not (counted == _WRAPS - 1 and not wide):
                raise zipfile.BadZipFile(f"it counts {counted:,} members and lists {listed:,}")
            if junk:
                notify("%s has %s bytes after its end that belong to no member", path.name, f"{junk:,}")
            yield archive


def _end(file: IO[bytes]) -> tuple[int, int, bool]:
    """Find the record at the end: where the archive ends, how many members it counts, and whether in 64 bits."""
    if not file.seek(0, io.SEEK_END):
        raise zipfile.BadZipFile("it is empty")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = len(data)
        while (at := data.rfind(_END, 0, at)) >= 0:
            record = data[at : at + _END_SIZE]
            if len(record) < _END_SIZE:
                continue
            _, disk, _, _, count, size, offset, comment = struct.unpack("<4s4H2LH", record)
            end, wide = at, False
            if data[max(0, at - _LOCATOR_SIZE) : at - _LOCATOR_SIZE + 4] == _LOCATOR:
                start = at - _LOCATOR_SIZE - _END_64_SIZE
                if start >= 0 and data[start : start + 4] == _END_64:
                    count, size, offset = struct.unpack("<3Q", data[start + 32 : start + _END_64_SIZE])
                    end, wide = start, True
            if 0 < disk < _MOST_DISKS and at + _END_SIZE + comment == len(data):
                raise NotImplementedError(f"it is the last of {disk + 1} parts, and the others are not in it")
            begin = end - size
            if begin < 0 or (size and data[begin : begin + 4] != _LISTED):
                continue
            if offset != begin and data[:4] == _MEMBER:
                raise zipfile.BadZipFile("the list at its end belongs to another archive, or a part of it is missing")
            return min(len(data), at + _END_SIZE + comment), count, wide
    raise zipfile.BadZipFile("the list of its members is missing or damaged; it may have been cut")


class _Window(io.RawIOBase):
    """The beginning of a file, as if it ended there."""

    def __init__(self, file: IO[bytes], stop: int) -> None:
        self._file = file
        self._stop = stop

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset, whence = self._stop + offset, io.SEEK_SET
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._stop - self._file.tell())
        return self._file.read(left if size is None or size < 0 else min(size, left))


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Open a member to read, also one that is packed in a way that `zipfile` does not know but this machine does.

    Args:
        archive: The open archive.
        member: The member.

    Raises:
        NotImplementedError: Nothing here can unpack it.
    """
    try:
        return archive.open(member)
    except NotImplementedError:
        reader = _Foreign(archive, member)
        return io.BufferedReader(reader, 256 << 10)


class _Foreign(io.RawIOBase):
    """Reads a member that is packed by Deflate64, as Windows does with more than 2 GB, by zstd or by xz."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        file: Any = archive.fp
        file.seek(member.header_offset)
        header = file.read(_HEADER_SIZE)
        if member.flag_bits & _PATCHED or header[:4] != _MEMBER:
            raise NotImplementedError("it is a patch of another archive")
        self._at = member.header_offset + _HEADER_SIZE + sum(struct.unpack("<2H", header[26:30]))
        self._stop = self._at + member.compress_size
        self._file = file
        self._member = member
        self._crc = self._size = 0
        self._left = b""
        packed = io.BufferedReader(_Slice(self))
        if member.compress_type == _DEFLATE_64:
            self._source: Any = _Inflate64(packed)
        elif member.compress_type in (_ZSTD, _XZ):
            self._source = CompressedStream(packed, "zst" if member.compress_type == _ZSTD else "xz")
        else:
            raise NotImplementedError(f"it is packed by the method {member.compress_type}, which is not supported here")

    def readable(self) -> bool:
        return True

    def raw(self, size: int) -> bytes:
        """Return the next packed bytes."""
        self._file.seek(self._at)
        data: bytes = self._file.read(min(size, self._stop - self._at))
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self._left or self._source.read(len(buffer))
        data, self._left = data[: len(buffer)], data[len(buffer) :]
        self._crc, self._size = zlib.crc32(data, self._crc), self._size + len(data)
        if not data and (self._size, self._crc) != (self._member.file_size, self._member.CRC):
            raise zipfile.BadZipFile(f"the member {self._member.filename[:200]!r} is damaged")
        buffer[: len(data)] = data
        return len(data)


class _Slice(io.RawIOBase):
    """The packed bytes of one member."""

    def __init__(self, member: _Foreign) -> None:
        self._member = member

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._member.raw(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Inflate64:
    """Unpacks Deflate64, by the package that py7zr brings."""

    def __init__(self, packed: IO[bytes]) -> None:
        try:
            self._decoder = importlib.import_module("inflate64").Inflater()
        except ImportError:
            raise NotImplementedError("it is packed by Deflate64; reading it needs: pip install inflate64") from None
        self._packed = packed

    def read(self, size: int) -> bytes:  # noqa: ARG002 - it gives what the next packed bytes become
        while block := self._packed.read(_INFLATED_AT_ONCE):
            if data := self._decoder.inflate(block):
                return bytes(data)
        return b""


def changed(member: zipfile.ZipInfo) -> float | None:
    """Return when a member was last changed: the moment, where the zip tells it, else a clock's time taken for ours.

    Example:
        >>> member = zipfile.ZipInfo("a.csv", date_time=(2020, 2, 3, 4, 5, 6))
        >>> time.localtime(changed(member))[:6], changed(zipfile.ZipInfo("a.csv"))
        ((2020, 2, 3, 4, 5, 6), None)
    """
    extra = member.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _TIMES and len(field) >= 5 and field[0] & 1:
            return float(struct.unpack_from("<i", field, 1)[0])
    if member.date_time[:3] <= (1980, 1, 1):
        return None  # the first day that a zip can name stands for none
    with contextlib.suppress(OverflowError, ValueError):
        return time.mktime((*member.date_time, 0, 0, -1))
    return None


def names(archive: zipfile.ZipFile, display: str) -> list[tuple[zipfile.ZipInfo, str]]:
    """Read the names of all members.

    A zip tells UTF-8 by a flag, or by a second copy of the name. Without either most are in UTF-8 all the same, or
    in the code page of the Windows that wrote them; that of the first PC is what the format says.

    Args:
        archive: The open archive.
        display: What it is called.
    """
    members = archive.infolist()
    unnamed = [raw for member in members if (raw := _raw(member)) and not _second_name(member.extra, raw)]
    is_utf_8 = all(map(_is_utf_8, unnamed))
    legacy = [] if is_utf_8 else [raw for raw in unnamed if not zip_names.is_surely_utf_8(raw)]
    encoding, language = zip_names.encoding_of(legacy)
    if legacy and encoding != zip_names.DEFAULT:
        notify("%s does not say how its names are encoded; they were read as %s", display, language)
    return [(member, _name(member, encoding, is_utf_8=is_utf_8)) for member in members]


def _raw(member: zipfile.ZipInfo) -> bytes:
    """Return a name whose encoding is not told; b"" for all others."""
    if member.flag_bits & _UTF_8 or member.orig_filename.isascii():
        return b""
    return member.orig_filename.encode("cp437")


def _is_utf_8(raw: bytes) -> bool:
    with contextlib.suppress(UnicodeDecodeError):
        raw.decode()
        return True
    return False


def _name(member: zipfile.ZipInfo, encoding: str, *, is_utf_8: bool) -> str:
    name = member.orig_filename
    if raw := _raw(member):
        plain = "utf-8" if is_utf_8 or zip_names.is_surely_utf_8(raw) else encoding
        name = _second_name(member.extra, raw) or raw.decode(plain)
    if member.create_system in WINDOWS and "/" not in name:
        name = name.replace("\\", "/")
    return name


def _second_name(extra: bytes, raw: bytes) -> str:
    """Read the Info-ZIP Unicode path, which counts only as long as it belongs to the present name."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and field[:1] == b"\x01" and field[1:5] == struct.pack("<L", zlib.crc32(raw)):
            with contextlib.suppress(UnicodeDecodeError):
                return field[5:].decode()
    return ""
