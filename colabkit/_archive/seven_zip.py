"""7z archives, by the package py7zr: it finds and decodes the members, and what is written is ours to judge."""

from __future__ import annotations

import contextlib
import stat
import struct
from typing import IO, TYPE_CHECKING, Any

from colabkit._archive.target import corrupt_archive, encrypted
from colabkit._internal.disk.files import map_os_errors
from colabkit._internal.log import notify
from colabkit._internal.optional import require
from colabkit._internal.os_errors import is_shortage, translate
from colabkit.errors import ArchiveError, ColabKitError

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._archive.choice import Chosen
    from colabkit._archive.target import ExtractionTarget, SizeBudget

_LONGEST_LINK = 4096


def unpack_into(archive: Path, tree: ExtractionTarget, room: SizeBudget, chosen: Chosen) -> None:
    """Unpack the chosen members below a tree.

    Raises:
        ArchiveError: The archive is damaged or encrypted, or a member is hostile.
        DiskFullError: There is no room.
        MissingDependencyError: py7zr is not installed.
    """
    py7zr = require("py7zr", extra="7z", why="unpacking .7z archives needs it")
    # From an open file it works in this one thread, so that the members come one after the other.
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(archive.open("rb"))
        try:
            packed = stack.enter_context(py7zr.SevenZipFile(file, "r"))
            _check_password(packed.needs_password(), archive)
            _write(packed, tree, room, chosen)
            _tell_junk(file, archive)
        except ColabKitError:
            raise
        except py7zr.exceptions.PasswordRequired:
            _check_password(True, archive)
        except py7zr.exceptions.UnsupportedCompressionMethodError as error:
            raise ArchiveError(
                f"cannot unpack {archive.name}",
                why=f"py7zr does not support its compression: {str(error.args[-1])[:100]}",
                hint="pass unpack=False, and unpack it with: 7z x",
            ) from error
        except py7zr.exceptions.CrcError as error:
            wrong = ValueError(f"the checksum of the member {str(error.args[-1])[:200]!r} is wrong")
            raise corrupt_archive(archive.name, wrong, "") from error
        except Exception as error:
            if is_shortage(error):
                raise translate(error, archive.name, doing="unpack") from error
            raise corrupt_archive(archive.name, error, type(error).__name__) from error
    tree.finish()


def _tell_junk(file: IO[bytes], archive: Path) -> None:
    file.seek(12)
    offset, size = struct.unpack("<2Q", file.read(16))  # of the list of members, which is the last thing in it
    if (junk := archive.stat().st_size - 32 - offset - size) > 0:
        notify("%s has %s bytes after its end that belong to no member", archive.name, f"{junk:,}")


def _check_password(needed: bool, archive: Path) -> None:
    if needed:
        raise encrypted(archive.name, archive)


def _write(packed: Any, tree: ExtractionTarget, room: SizeBudget, chosen: Chosen) -> None:
    members: dict[str, _Member] = {}
    links: dict[str, _Link] = {}
    places: dict[str, str] = {}
    written: dict[str, str] = {}
    for packed_file in packed.files:
        name = str(packed_file.filename)
        place = chosen.place(name, folder=packed_file.is_directory)
        if place is None:
            continue
        if packed_file.is_directory:
            tree.folder(place, _changed(packed_file))
        elif packed_file.is_symlink or packed_file.is_junction:
            links[name], places[name] = _Link(name), place
        elif packed_file.is_socket:
            raise ArchiveError(f"the member {name[:200]!r} is refused", why="it is a socket", hint="do not trust it")
        else:
            path = tree.reserve(place)
            members.pop(written.get(place, ""), None)  # which a later one replaces, where that is asked for
            members[name], written[place] = _Member(name, path, room), name
    try:
        # By name, as the folders are made already, and py7zr refuses one called ".".
        if members or links:
            packed.extract(targets=[*members, *links], factory=_Factory({**members, **links}))
    finally:
        for member in members.values():
            member.close()
    for packed_file in packed.files:
        if (done := members.get(str(packed_file.filename))) is not None:
            executable = bool((packed_file.posix_mode or 0) & stat.S_IXUSR)
            tree.settle(done.path, executable=executable, changed=_changed(packed_file))
    for name, link in links.items():
        tree.link(places[name], link.target())


def _changed(member: Any) -> float | None:
    time = member.lastwritetime
    return None if time is None else time.totimestamp()


class _Factory:
    """Hands py7zr the place for each member."""

    def __init__(self, places: dict[str, Any]) -> None:
        self._places = places

    def create(self, name: str) -> Any:
        if name not in self._places:
            raise ArchiveError(f"the member {name[:200]!r} is refused", why="it has two names", hint="do not trust it")
        return self._places[name]


class _Sink:
    """What py7zr wants of a place to write to, beside writing."""

    def read(self, size: int | None = None) -> bytes:  # noqa: ARG002 - py7zr names it
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:  # noqa: ARG002
        return 0

    def flush(self) -> None:
        """Nothing is kept back."""

    def size(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing is open."""


class _Member(_Sink):
    """Writes one file as py7zr delivers it."""

    def __init__(self, name: str, path: Path, room: SizeBudget) -> None:
        self._name = name
        self.path = path
        self._room = room
        self._file: IO[bytes] | None = None
        with map_os_errors(path):
            path.touch()  # an empty member is never written to

    def write(self, data: bytes | bytearray) -> int:
        self._room.take(len(data), self._name)
        with map_os_errors(self.path):
            if self._file is None:
                self._room.note_pointer(data, self._name)
                self._file = open(self.path, "wb")  # noqa: SIM115 - closed by close(), member by member
            return self._file.write(data)

    def close(self) -> None:
        if self._file is not None:
            with map_os_errors(self.path):
                self._file.close()
            self._file = None


class _Link(_Sink):
    """Keeps where a link leads; it is made at the end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._data = bytearray()

    def write(self, data: bytes | bytearray) -> int:
        self._data += data
        if len(self._data) > _LONGEST_LINK:
            raise ArchiveError(f"the member {self._name[:200]!r} is a link of more than {_LONGEST_LINK:,} bytes")
        return len(data)

    def target(self) -> str:
        return self._data.decode("utf-8", "surrogateescape")
