"""Archives: unpacked into a temporary folder that appears whole, or refused with the name of the member."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import importlib
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from colabkit._tools.files import PART, atomic, sync_folder, umask, writing_to
from colabkit._tools.progress import amount
from colabkit.errors import ArchiveError, ColabKitError, DiskFullError, IntegrityError, MissingDependencyError
from colabkit.transfer._checksum import Checksum, of_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ARCHIVES = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".tar.bz2": "tar.bz2",
    ".tbz2": "tar.bz2",
    ".tar.xz": "tar.xz",
    ".txz": "tar.xz",
    ".tar.zst": "tar.zst",
    ".tzst": "tar.zst",
    ".7z": "7z",
}
_SINGLE = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst"}

_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
_RATIO = 250
_SMALL = 256 << 20
_MOST_MEMBERS = 2_000_000
_DRIVE = re.compile(r"[A-Za-z]:")
# bz2 says OSError, zipfile now and then ValueError or struct.error.
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    *(OSError, ValueError, struct.error),
)


def kind_of(name: str) -> str:
    """Tell the kind of an archive by its name: zip, tar, tar.gz, 7z …; "" for anything else.

    Example:
        >>> kind_of("Images.TGZ"), kind_of("digits.csv.gz"), kind_of("model.keras")
        ('tar.gz', '', '')
    """
    return _kind(name, _ARCHIVES)[0]


def compression_of(name: str) -> str:
    """Tell the kind of a single compressed file by its name: gz, bz2, xz or zst; "" for anything else."""
    return "" if kind_of(name) else _kind(name, _SINGLE)[0]


def stem(name: str) -> str:
    """Return the name of what an archive or a compressed file unpacks to.

    Example:
        >>> stem("images.tar.gz"), stem("digits.csv.gz")
        ('images', 'digits.csv')
    """
    suffix = _kind(name, _ARCHIVES)[1] or _kind(name, _SINGLE)[1]
    return name[: -len(suffix)] if suffix else name


def _kind(name: str, known: dict[str, str]) -> tuple[str, str]:
    suffixes = [suffix for suffix in known if name.lower().endswith(suffix) and len(name) > len(suffix)]
    best = max(suffixes, key=len, default="")
    return known.get(best, ""), best


def unpack(archive: Path, target: Path, name: str = "", *, replace: bool = False) -> int:
    """Unpack an archive to a folder, or a compressed file to a file, that appears whole or not at all.

    Args:
        archive: The archive.
        target: The folder or file to make; it must not be there, or `replace` must be True.
        name: The name that tells the kind; the archive's own by default.
        replace: Put the new one in the place of what is there.

    Returns:
        The number of bytes that were written.

    Raises:
        ArchiveError: The archive is damaged, or a member is hostile; the message names it.
        DiskFullError: There is no room.
    """
    name = name or archive.name
    kind = kind_of(name) or compression_of(name)
    if not kind:
        raise ArchiveError(f"{name} is no archive", why="its name has no ending that is known", do="pass unpack=False")
    with writing_to(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}{PART}", dir=target.parent))
    try:
        made = staging / "new"
        room = Room(archive, target.parent)
        with _damage(name):
            if kind == "zip":
                _unpack_zip(archive, Tree(made, name, room))
            elif kind.startswith("tar"):
                _unpack_tar(archive, kind, Tree(made, name, room))
            elif kind == "7z":
                from colabkit.transfer._seven_zip import unpack_into

                unpack_into(archive, Tree(made, name, room), room)
            else:
                _unpack_single(archive, kind, made, room, name)
        with writing_to(target):
            if replace and target.exists():
                os.replace(target, staging / "old")
            os.replace(made, target)
            sync_folder(target.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return room.written


def why_refused(name: str) -> str:
    """Say why a member of that name is not unpacked; "" where it is.

    Example:
        >>> why_refused("../../etc/passwd"), why_refused("images/0001.png")
        ('its path climbs out of the folder', '')
    """
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        return "its path is absolute"
    if any(".." in name.split(separator) for separator in "/\\"):
        return "its path climbs out of the folder"
    if any(ord(letter) < 32 for letter in name) or any(len(os.fsencode(part)) > 255 for part in name.split("/")):
        return "its name has control characters or is too long"
    return ""


def take_out(packed: Path, target: Path, wanted: Checksum | None = None) -> None:
    """Put the one file that a zip holds in the place of its target, in one step.

    Args:
        packed: The zip.
        target: Where the file goes.
        wanted: What it must have.

    Raises:
        IntegrityError: The file is not the wanted one.
        ArchiveError: The zip is damaged, holds something else than one file, or explodes.
        DiskFullError: There is no room.
    """
    with _damage(target.name), zipfile.ZipFile(packed) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise ArchiveError(
                f"{target.name} came packed in a zip of {len(members):,} files",
                why="the server packs a single file now and then, and this is something else",
                do="fetch the whole folder or dataset instead",
            )
        with archive.open(members[0]) as reader:
            _put(reader, target, Room(packed, target.parent), wanted)


def uncompress(packed: Path, target: Path, wanted: Checksum | None = None) -> None:
    """Put what a gzip file holds in the place of its target, in one step.

    A file that is called compressed and is not, as happens in storages whose labels people write, is taken as it is.

    Args:
        packed: The gzip file.
        target: Where the file goes.
        wanted: What it must have.

    Raises:
        ArchiveError: It is damaged, or explodes.
        DiskFullError: There is no room.
        IntegrityError: The file is not the wanted one.
    """
    with packed.open("rb") as plain:
        is_gzip = plain.read(2) == _GZIP
    with _damage(target.name), _opened(packed, "gz" if is_gzip else "") as reader:
        _put(reader, target, Room(packed, target.parent), wanted)


def _put(reader: IO[bytes], target: Path, room: Room, wanted: Checksum | None) -> None:
    with atomic(target) as writer:
        while block := reader.read(_BLOCK):
            room.take(len(block), target.name)
            writer.write(block)
        writer.flush()
        found = None if wanted is None else of_file(Path(writer.name), wanted.algorithm)
        if found != wanted:
            raise IntegrityError(
                f"{target.name} is not the file that was promised",
                why=f"you said {wanted}, the file has {found}",
                do="check the checksum; it is that of the file itself, not of how it is packed",
            )


def damaged(name: str, error: Exception, otherwise: str) -> ArchiveError:
    """Make the error for an archive that cannot be read.

    Args:
        name: The archive.
        error: What its reader said.
        otherwise: What is said if that is nothing.
    """
    return ArchiveError(
        f"{name} is damaged",
        why=" ".join(str(error).split())[:200] or otherwise,
        do="fetch it again with overwrite=True; if it fails alike, it is damaged at the source",
    )


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except ColabKitError:
        raise
    except _DAMAGE as error:
        raise damaged(name, error, "it ends early") from error
    except NotImplementedError as error:
        raise ArchiveError(f"cannot unpack {name}", why=str(error), do="unpack it with 7z or unzip") from error


class Room:
    """Counts what is written, and stops an archive that explodes or does not fit.

    Args:
        archive: The archive, whose size decides what is too much.
        folder: Where it is unpacked.

    Attributes:
        written: The bytes so far.
    """

    def __init__(self, archive: Path, folder: Path) -> None:
        self._most = max(_SMALL, _RATIO * archive.stat().st_size)
        self._folder = folder
        self._check_at = 0
        self.written = 0

    def take(self, size: int, member: str) -> None:
        """Count bytes that are about to be written.

        Raises:
            ArchiveError: They are too many for an archive of this size.
            DiskFullError: There is no room for them.
        """
        self.written += size
        if self.written > self._most:
            raise ArchiveError(
                f"the archive explodes at the member {member!r}",
                why=f"it has grown to more than {_RATIO} times its size, {amount(self.written)}",
                do="if you trust it, pass unpack=False and unpack it yourself",
            )
        if self.written >= self._check_at:
            free = shutil.disk_usage(self._folder).free
            if free < _BLOCK:
                raise DiskFullError(
                    f"no room to unpack into {self._folder}",
                    why=f"{amount(self.written)} are written and {amount(free)} are free",
                    do="free some space there, or choose another folder with to=",
                )
            self._check_at = self.written + min(64 << 20, max(_BLOCK, free // 8))


class Tree:
    """Writes members below one folder, and refuses each that would leave it or meet another.

    Args:
        root: The folder; it is made.
        archive: The name of the archive, for messages.
        room: Counts what is written.
    """

    def __init__(self, root: Path, archive: str, room: Room) -> None:
        self._root = root
        self._archive = archive
        self._room = room
        self._files: set[tuple[str, ...]] = set()
        self._folders: set[tuple[str, ...]] = {()}
        self._links: dict[tuple[str, ...], tuple[str, str]] = {}
        self._mask = umask()
        root.mkdir()

    def folder(self, name: str) -> None:
        """Make a folder."""
        self._make(self._parts(name), name)

    def file(self, name: str, reader: IO[bytes], mode: int) -> None:
        """Write a file from what can be read."""
        path = self.claim(name)
        _copy(reader, path, self._room, name)
        if mode & stat.S_IXUSR:  # else it has the mode that a new file gets
            self.settle(path, executable=True)

    def settle(self, path: Path, *, executable: bool) -> None:
        """Give a complete file its mode, which the umask decides but for whether it can be run."""
        path.chmod((0o777 if executable else 0o666) & ~self._mask)

    def link(self, name: str, target: str) -> None:
        """Note a symbolic link; all are made at the end, so that nothing is ever written through one."""
        parts = self._parts(name)
        if not parts:
            raise self._refused(name, "it replaces the folder itself")
        steps = target.split("/")
        ups = 0
        while ups < len(steps) and steps[ups] in ("..", "."):
            ups += 1
        climbs = steps[:ups].count("..")
        # From a real folder up, then only down: no link in between can turn the way.
        if target.startswith("/") or "\\" in target or ".." in steps[ups:] or climbs >= len(parts) or not target:
            raise self._refused(name, f"it is a link that leads out, to {target[:100]!r}")
        self.claim(name)
        self._links[parts] = (name, target)

    def hard_link(self, name: str, target: str) -> None:
        """Make a second name of a file that was written before."""
        original = self._parts(target)
        if original not in self._files or original in self._links:
            raise self._refused(name, f"it is a link to {target[:100]!r}, which is no file before it")
        path = self.claim(name)
        with writing_to(path):
            os.link(self._root.joinpath(*original), path)

    def finish(self) -> None:
        """Make the links, after all that could have been written through one."""
        for parts, (_, target) in self._links.items():
            path = self._root.joinpath(*parts)
            with writing_to(path):
                path.symlink_to(target)

    def claim(self, name: str) -> Path:
        """Return where a member is to be written, and keep the place.

        Raises:
            ArchiveError: The member is refused.
        """
        parts = self._parts(name)
        if not parts or parts in self._files or parts in self._folders:
            raise self._refused(name, "another member has the same name")
        self._make(parts[:-1], name)
        self._files.add(parts)
        if len(self._files) > _MOST_MEMBERS:
            raise self._refused(name, f"the archive has more than {_MOST_MEMBERS:,} members")
        return self._root.joinpath(*parts)

    def _make(self, parts: tuple[str, ...], name: str) -> None:
        if parts in self._folders:
            return
        for end in range(1, len(parts) + 1):
            above = parts[:end]
            if above in self._files:
                raise self._refused(name, "it lies below another member that is no folder")
            if above not in self._folders:
                with writing_to(self._root):
                    self._root.joinpath(*above).mkdir()
                self._folders.add(above)

    def _parts(self, name: str) -> tuple[str, ...]:
        if why := why_refused(name):
            raise self._refused(name, why)
        return tuple(part for part in name.split("/") if part not in ("", "."))

    def _refused(self, name: str, why: str) -> ArchiveError:
        return ArchiveError(
            f"the archive {self._archive} holds the member {name[:200]!r}, which is refused",
            why=why,
            do="do not trust this archive; with unpack=False it stays packed",
        )


def _unpack_zip(archive: Path, tree: Tree) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            mode = member.external_attr >> 16
            name = member.orig_filename if "\0" in member.orig_filename else member.filename
            if member.flag_bits & 1:
                raise ArchiveError(
                    f"the member {name[:200]!r} is encrypted",
                    why="there is no password to open it",
                    do="pass unpack=False and unpack it yourself",
                )
            if member.is_dir():
                tree.folder(name)
            elif stat.S_ISLNK(mode):
                if member.file_size > 4096:
                    raise ArchiveError(f"the member {name[:200]!r} is a link of {member.file_size:,} bytes")
                tree.link(name, os.fsdecode(packed.read(member)))
            else:
                with packed.open(member) as reader:
                    tree.file(name, reader, mode)
    tree.finish()


def _unpack_tar(archive: Path, kind: str, tree: Tree) -> None:
    with _opened(archive, kind.partition(".")[2]) as stream, tarfile.open(fileobj=stream, mode="r|") as packed:
        for member in packed:
            if member.isdir():
                tree.folder(member.name)
            elif member.issym():
                tree.link(member.name, member.linkname)
            elif member.islnk():
                tree.hard_link(member.name, member.linkname)
            elif member.isreg():
                reader = packed.extractfile(member)
                if reader is not None:
                    tree.file(member.name, reader, member.mode)
            else:
                raise ArchiveError(
                    f"the member {member.name[:200]!r} is refused",
                    why="it is a device or a pipe",
                    do="do not trust this archive; with unpack=False it stays packed",
                )
            packed.members = []  # type: ignore[attr-defined]  # or a million members stay in memory
    tree.finish()


def _unpack_single(archive: Path, kind: str, made: Path, room: Room, name: str) -> None:
    with _opened(archive, kind) as reader:
        _copy(reader, made, room, name)


def _copy(reader: IO[bytes], path: Path, room: Room, member: str) -> None:
    with contextlib.ExitStack() as stack:
        with writing_to(path):
            writer = stack.enter_context(open(path, "xb"))
        while block := reader.read(_BLOCK):  # outside writing_to: damage in the archive is no fault of the disk
            room.take(len(block), member)
            with writing_to(path):
                writer.write(block)


def _opened(archive: Path, compression: str) -> Any:
    openers: dict[str, Callable[[Path], Any]] = {
        "": lambda path: path.open("rb"),
        "gz": gzip.open,
        "bz2": bz2.open,
        "xz": lzma.open,
        "zst": _open_zst,
    }
    return openers[compression](archive)


def _open_zst(path: Path) -> IO[bytes]:
    for module in ("compression.zstd", "backports.zstd", "zstandard"):
        with contextlib.suppress(ModuleNotFoundError):
            return cast("IO[bytes]", importlib.import_module(module).open(path, "rb"))
    raise MissingDependencyError(
        f"cannot unpack {path.name}",
        why="reading .zst needs Python 3.14 or the package zstandard",
        do="run: pip install zstandard",
    )
