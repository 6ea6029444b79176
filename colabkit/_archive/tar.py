"""Tar archives, read from front to back: each header is held against its checksum, and the rest is read too."""

from __future__ import annotations

import contextlib
import tarfile
from typing import TYPE_CHECKING, Any, Self

from colabkit._internal.log import notify, warn
from colabkit.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_tarfile: Any = tarfile  # its errors for headers have no types
_BLOCK = 512
_INPUT = 256 << 10
_LONGEST_HEADER = 1 << 20
_MAGIC, _GNU = slice(257, 265), b"ustar  \0"
_ALL_HEADERS = 4 << 20
"""Bytes of a header with all that belongs to it: names, notes, the map of a file with holes."""
_FIELDS = frozenset([*tarfile.PAX_FIELDS, "hdrcharset"])
_NUMBERS = frozenset(name.encode() for name in ("size", *_tarfile.PAX_NUMBER_FIELDS))
_LONGEST_NUMBER = 100
_EXTENDED = frozenset(b"xgXLK")
_LABEL, _DUMP, _REST_OF_A_VOLUME = b"V", b"D", b"M"
_PLAIN = (*tarfile.REGULAR_TYPES, b"S")
_IRREGULAR = {tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe"}


class TarStream:
    """What tarfile reads from: bytes that come one after the other and can only be passed over, not gone back to.

    Args:
        file: The archive, uncompressed.
        count: Told how many bytes came; raises if they are too many.

    Attributes:
        unmarked: The archive ended without the blocks of zeros that mark its end.
        junk: Bytes behind the end that belong to nothing.
        archives: How many archives were joined end to end.
    """

    def __init__(self, file: Any, count: Callable[[int], None]) -> None:
        self._file = file
        self._count = count
        self._buffer = b""
        self._taken = 0
        self._at = 0
        self._stop: int | None = None
        self.unmarked = False
        self.junk = 0
        self.archives = 1

    def read(self, size: int) -> bytes:
        """Return as many bytes as are asked for; fewer only at the end."""
        if self._stop is not None and self._at + size > self._stop:
            raise _too_long(self._at + size - self._stop + _ALL_HEADERS)
        parts = []
        missing = size
        while missing > 0:
            if self._taken == len(self._buffer):
                self._buffer, self._taken = self._file.read(_INPUT), 0
                if not self._buffer:
                    break
                self._count(len(self._buffer))
            part = self._buffer[self._taken : self._taken + missing]
            self._taken += len(part)
            missing -= len(part)
            parts.append(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._at += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them."""
        data = self.read(size)
        self._buffer, self._taken = data + self._buffer[self._taken :], 0
        self._at -= len(data)
        return data

    @contextlib.contextmanager
    def header(self) -> Iterator[None]:
        """Bound what is read as one header, with those that it leads to: `tarfile` keeps all of it in memory."""
        if self._stop is not None:  # the header of a header
            yield
            return
        self._stop = self._at + _ALL_HEADERS
        try:
            yield
        finally:
            self._stop = None

    @contextlib.contextmanager
    def between(self) -> Iterator[None]:
        """Take the bound away for what stands between two headers."""
        self._stop = None
        try:
            yield
        finally:
            self._stop = self._at + _ALL_HEADERS

    def tell(self) -> int:
        """Return how many bytes were taken."""
        return self._at

    def seek(self, place: int) -> int:
        """Pass over all bytes before a place."""
        if place < self._at:
            raise tarfile.ReadError("a member lies before the one that it follows")
        while self._at < place and self.read(min(_INPUT, place - self._at)):
            pass
        return self._at

    def close(self) -> None:
        """The file is closed by its owner."""


class _Member(tarfile.TarInfo):
    """A header; none is passed over because it is damaged, which `tarfile` does with all but the first."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> Self:
        """Read the next header."""
        stream: TarStream = tarfile.fileobj
        with stream.header():
            return cls._read(tarfile, stream)

    @classmethod
    def _read(cls, tarfile: Any, stream: TarStream) -> Self:
        _forget_notes(tarfile.pax_headers)
        block = stream.read(_BLOCK)
        if not block:
            stream.unmarked = True
            raise _tarfile.EmptyHeaderError("empty header")
        if not block.strip(b"\0") and len(block) == _BLOCK:
            with stream.between():
                block = _behind_the_end(stream)
        try:
            header = cls.frombuf(block, tarfile.encoding, tarfile.errors)
        except _tarfile.HeaderError as error:
            raise _tarfile.ReadError(f"the header at byte {stream.tell() - len(block):,} is damaged: {error}") from None
        if block[_MAGIC] == _GNU:
            # GNU's headers have times where POSIX has a prefix of the name; tarfile takes them for one.
            name = _tarfile.nts(block[:100], tarfile.encoding, tarfile.errors)
            header.name = name.rstrip("/") if header.isdir() else name
        if header.size < 0:
            raise _tarfile.ReadError(f"the member {header.name[:200]!r} has a negative size")
        header.offset = stream.tell() - _BLOCK
        if header.type[0] in _EXTENDED:
            _check_extended(header, stream)
        member: Self = header._proc_member(tarfile)  # type: ignore[attr-defined]  # noqa: SLF001 - of the base class
        return member


def _behind_the_end(stream: TarStream) -> bytes:
    """Read on behind a block of zeros: return the header of an archive that was joined to this one."""
    zeros = 1
    while block := stream.read(_BLOCK):
        if not block.strip(b"\0"):
            zeros += 1
            continue
        if is_header(block):
            if stream.junk:
                raise tarfile.ReadError("a part of it is damaged, and members follow that part")
            stream.archives += 1
            return block
        if zeros == 1:
            raise tarfile.ReadError("a header is blank")  # two blocks of zeros are the end
        stream.junk += len(block)
    raise _tarfile.EOFHeaderError("end of file header")


def is_header(block: bytes) -> bool:
    """Say whether a block is a sound header of a member."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except _tarfile.HeaderError:
        return False
    return True


def _check_extended(header: tarfile.TarInfo, stream: TarStream) -> None:
    """Refuse a header that would fill the memory, or whose records are damaged: tarfile passes over those."""
    if header.size > _LONGEST_HEADER:
        raise _too_long(header.size)
    if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE):
        records = stream.peek(header.size).rstrip(b"\0")
        at = 0
        while at < len(records):
            digits, blank, _ = records[at : at + 10].partition(b" ")
            end = at + int(digits) if blank and digits.isdigit() else 0
            if end <= at or records[end - 1 : end] != b"\n" or b"=" not in records[at:end]:
                raise tarfile.ReadError("the extended header of a member is damaged")
            key, _, value = records[at + len(digits) + 1 : end - 1].partition(b"=")
            if key in _NUMBERS and len(value) > _LONGEST_NUMBER:  # half a million digits take a minute to read
                raise tarfile.ReadError(f"a number in the header of a member has {len(value):,} digits")
            at = end


def _too_long(size: int) -> ArchiveError:
    return ArchiveError(
        f"the header of a member is {size:,} bytes long, or more",
        why="a name, a note or a map of that length means an attack or damage",
        hint="do not trust this archive; with unpack=False it stays packed",
    )


def _forget_notes(headers: dict[str, str]) -> None:
    """Drop what no reader needs of the headers for all members: `tarfile` copies them for each."""
    for key in [key for key in headers if key not in _FIELDS and not key.startswith("GNU.sparse.")]:
        del headers[key]


def members(file: Any, name: str, count: Callable[[int], None], *, compressed: bool) -> Iterator[tuple[Any, Any]]:
    """Read a tar archive to its end.

    Args:
        file: The archive, uncompressed.
        name: What it is called.
        count: Told how many bytes came; raises if they are too many.
        compressed: It came compressed, so that a cut would have been seen.

    Yields:
        Each header, and an open file where the member is a plain one.

    Raises:
        ArchiveError: A member is of a kind that cannot be unpacked.
        tarfile.TarError: The archive is damaged.
    """
    stream = TarStream(file, count)
    archive = _tarfile.TarFile(fileobj=stream, mode="r", tarinfo=_Member, encoding="utf-8", errors="surrogateescape")
    with archive:
        for member in archive:
            if member.type == _LABEL:
                notify("%s is the volume %s", name, member.name)
            elif member.type == _DUMP:
                member.type = tarfile.DIRTYPE
                yield member, None
            elif member.isdir() or member.issym() or member.islnk():
                yield member, None
            else:
                _refuse_irregular(member)
                yield member, archive.extractfile(member)
            archive.members = []  # or a million members stay in memory
    if stream.unmarked and not compressed:
        warn(
            "%s has no end: the blocks of zeros that end a tar archive are missing. All its members are whole and were "
            "unpacked, as tar does; if some are missing, it was cut between two of them",
            name,
        )
    if stream.archives > 1:
        notify("%s is %s archives joined end to end; all were unpacked", name, stream.archives)
    if stream.junk:
        notify("%s has %s bytes after its end that belong to no member", name, f"{stream.junk:,}")


def _refuse_irregular(member: tarfile.TarInfo) -> None:
    if (kind := _IRREGULAR.get(member.type)) is not None:
        raise ArchiveError(
            f"the member {member.name[:200]!r} is refused",
            why=f"it is {kind}",
            hint="do not trust this archive; with unpack=False it stays packed",
        )
    if member.type == _REST_OF_A_VOLUME:
        raise ArchiveError(
            f"the member {member.name[:200]!r} begins in another volume",
            why="the archive is one part of several",
            hint="fetch all parts with unpack=False, and unpack them with: tar xMf",
        )
    if member.type not in _PLAIN:
        notify(
            "the member %r is of the unknown kind %r; it was unpacked as a plain file", member.name[:200], member.type
        )
