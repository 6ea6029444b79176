"""Archives: unpacked into a temporary folder that appears whole, or refused with the name of the member."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from colabkit._archive import tar, zip_file
from colabkit._archive.choice import ALL, Choice, Chosen
from colabkit._archive.target import ExtractionTarget, SizeBudget, copy, corrupt_archive, encrypted, set_changed
from colabkit._http import error_page
from colabkit._http.coding import begins_with, is_packed_name
from colabkit._internal.disk import lfs_pointer
from colabkit._internal.disk.checksum import Checksum, of_file
from colabkit._internal.disk.files import atomic_write, map_os_errors, sync_folder
from colabkit._internal.disk.staging import staging_folder
from colabkit._internal.disk.streams import CompressedStream, StreamError
from colabkit._internal.log import notify, warn
from colabkit._internal.os_errors import is_shortage, translate
from colabkit.errors import ArchiveError, ColabKitError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARCHIVES = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar.gz",
    ".tgz": "tar.gz",
    ".taz": "tar.gz",
    ".tar.gzip": "tar.gz",
    ".tar.bz2": "tar.bz2",
    ".tbz2": "tar.bz2",
    ".tbz": "tar.bz2",
    ".tb2": "tar.bz2",
    ".tz2": "tar.bz2",
    ".tar.bz": "tar.bz2",
    ".tar.bzip2": "tar.bz2",
    ".tar.xz": "tar.xz",
    ".txz": "tar.xz",
    ".tlz": "tar.xz",
    ".tar.lzma": "tar.xz",
    ".tar.zst": "tar.zst",
    ".tzst": "tar.zst",
    ".tar.zstd": "tar.zst",
    ".7z": "7z",
}
_SINGLE = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".lzma": "xz", ".zst": "zst", ".zstd": "zst"}
_MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x1f\x8b\x08": "gz",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zst",
}
_PART_OF_SEVERAL = re.compile(r"\.(z\d\d|(zip|7z|tar|tgz|gz|rar)\.\d{3}|part\d+\.rar|r\d\d)$", re.IGNORECASE)

_ELSEWHERE = {
    ".lz4": "lz4 -d",
    ".br": "brotli -d",
    ".z": "uncompress",
    ".lz": "lzip -d",
    ".lzo": "lzop -d",
    ".rar": "unrar x",
}
_ELSEWHERE |= dict.fromkeys((".iso", ".cab", ".arj", ".ace", ".dmg", ".deb", ".rpm", ".lzh"), "7z x")
"""Kinds that are packed, and none of ours, with the program that unpacks them."""

_ELSE = "unpack it with: {}"
_OTHERS = {
    b"Rar!\x1a\x07": ("a RAR archive, which is not supported here", _ELSE.format("unrar x")),
    b"MSCF": ("a cabinet of Windows, which is not supported here", _ELSE.format("7z x")),
    b"\x04\x22\x4d\x18": ("compressed by lz4, which is not supported here", _ELSE.format("lz4 -d")),
    b"LZIP": ("compressed by lzip, which is not supported here", _ELSE.format("lzip -d")),
    b"\x1f\x9d": ("compressed by compress, which is not supported here", _ELSE.format("uncompress")),
    b"%PDF-": ("a PDF document", "open it"),
    b"\x89HDF\r\n": ("an HDF5 file", "give it a name that ends with .h5"),
    b"PAR1": ("a Parquet file", "give it a name that ends with .parquet"),
    b"\x93NUMPY": ("an array of NumPy", "give it a name that ends with .npy"),
}
"""What files begin with that come under the name of an archive, with what to do."""

_LONGEST_TEXT = 64 << 10
_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"


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


def _kind(name: str, kinds: dict[str, str]) -> tuple[str, str]:
    low = name.lower() if "." in name else ""
    suffixes = [suffix for suffix in kinds if low.endswith(suffix) and len(name) > len(suffix)] if low else []
    best = max(suffixes, key=len, default="")
    return kinds.get(best, ""), best


def unpack(archive: Path, target: Path, name: str = "", *, replace: bool = False, choice: Choice = ALL) -> int:
    """Unpack an archive to a folder, or a compressed file to a file, that appears whole or not at all.

    Args:
        archive: The archive.
        target: The folder or file to make; it must not be there, or `replace` must be True.
        name: The name that tells the kind; the archive's own by default.
        replace: Put the new one in the place of what is there.
        choice: The members that are wanted.

    Returns:
        The number of bytes that were written.

    Raises:
        NotFoundError: A word of the choice fits no member.
        ArchiveError: The archive is damaged, or a member is hostile; the message names it.
        DiskFullError: There is no room.
    """
    name = name or archive.name
    kind = _kind_inside(archive, kind_of(name) or compression_of(name), name)
    with staging_folder(target) as place:
        made = place / "new"
        room = SizeBudget(archive, target.parent)
        chosen = Chosen(choice, name)
        over = bool(choice.flat) and choice.twice == "replace"
        with _told_of_parts(name), _damage(name):
            if kind == "zip":
                _unpack_zip(archive, ExtractionTarget(made, name, room, later_wins=over), name, chosen)
            elif kind.startswith("tar"):
                _unpack_tar(archive, kind, ExtractionTarget(made, name, room, later_wins=True), room, name, chosen)
            elif kind == "7z":
                from colabkit._archive.seven_zip import unpack_into

                unpack_into(archive, ExtractionTarget(made, name, room, later_wins=over), room, chosen)
            else:
                _unpack_single(archive, kind, made, room, name)
            if kind in ("zip", "7z") or kind.startswith("tar"):
                chosen.finish()
        with map_os_errors(target):
            if replace and target.exists():
                os.replace(target, place / "old")
            os.replace(made, target)
            sync_folder(target.parent)
    if room.pointers:
        few = ", ".join(member[:100] for member in room.pointers[:3]) + ", …" * (len(room.pointers) > 3)
        warn(
            "%s of the files that were unpacked from %s are no data but git-lfs pointers to it (%s); %s",
            len(room.pointers),
            name,
            few,
            lfs_pointer.way_to_file(),
        )
    return room.written


@contextlib.contextmanager
def _told_of_parts(name: str) -> Iterator[None]:
    """Call what ends too early one part of several, where its name says that it is."""
    try:
        yield
    except ArchiveError as error:
        if _PART_OF_SEVERAL.search(name) is None or "explodes" in str(error):
            raise
        raise _unreadable(name) from error


def _unreadable(name: str) -> ArchiveError:
    """Make the error for a file that is no archive which can be unpacked here."""
    if _PART_OF_SEVERAL.search(name):
        return ArchiveError(
            f"{name} is one part of an archive",
            why="it was split into several",
            hint="fetch all parts with unpack=False, and unpack them with: 7z x",
        )
    ending = f".{name.rpartition('.')[2].lower()}"
    if ending in _ELSEWHERE:
        return ArchiveError(
            f"cannot unpack {name}",
            why=f"{ending} is not supported here",
            hint=f"pass unpack=False, and unpack it with: {_ELSEWHERE[ending]}",
        )
    return ArchiveError(f"{name} is not an archive", why="its ending is not known", hint="pass unpack=False")


def _refuse_text(archive: Path, head: bytes, name: str) -> None:
    """Tell what a server gave instead of the archive that its name promises.

    Raises:
        ArchiveError: It is a text of a kind that is known.
    """
    if lfs_pointer.is_pointer(head):
        what, hint = lfs_pointer.described(head), lfs_pointer.way_to_file()
    elif error_page.is_page(head, ""):
        what, hint = "a web page", "open the address in a browser"
    elif re.match(rb'\s*\{\s*"', head):
        what, hint = "JSON", "read what it says"
    elif (other := next((known for magic, known in _OTHERS.items() if head.startswith(magic)), None)) is not None:
        what, hint = other
    elif text := _text(archive):
        what, hint = f"text that begins: {text}", "read what it says"
    else:
        return
    is_sure = not what.startswith("text")  # which may be what is left of an archive
    raise ArchiveError(
        f"{name} is not an archive" if is_sure else f"{name} is damaged, or not an archive",
        why=f"it is {what}",
        hint=f"{hint}; unpack=False keeps it as it came",
    )


def _text(file: Path) -> str:
    """Return how a short text begins; "" where it is none, or so long that an archive may lie behind it."""
    if file.stat().st_size > _LONGEST_TEXT:
        return ""
    line = " ".join(file.read_bytes().decode(errors="replace").split())
    return line[:60] if line.isprintable() and "\ufffd" not in line else ""


def _kind_inside(archive: Path, kind: str, name: str) -> str:
    """Return the kind that the first bytes tell, as every program looks at those; the name's where they tell none.

    Raises:
        ArchiveError: Neither tells one.
    """
    with map_os_errors(archive), archive.open("rb") as file:
        head = file.read(512)
    inside = next((kind_of_magic for magic, kind_of_magic in _MAGIC.items() if head.startswith(magic)), "")
    if not inside and tar.is_header(head):
        inside = "tar"
    if not kind and inside:
        return _tar_or_single(archive, inside)
    if not inside and (kind or lfs_pointer.is_pointer(head)):
        _refuse_text(archive, head, name)
    if not kind:
        raise _unreadable(name)
    if not inside or inside == kind or kind == f"tar.{inside}":
        return kind
    if inside in _SINGLE.values() and kind not in _SINGLE.values():
        inside = f"tar.{inside}" if kind.startswith("tar") else _tar_or_single(archive, inside)
        if not inside.startswith("tar") and kind in ("zip", "7z"):
            program = {"gz": "gunzip", "bz2": "bunzip2", "xz": "unxz", "zst": "unzstd"}[inside]
            raise ArchiveError(
                f"{name} is not an archive",
                why=f"it is one file, compressed as .{inside}",
                hint=f"pass to='{stem(name)}.{inside}', or unpack=False and unpack it with: {program} -c",
            )
        if not inside.startswith("tar"):
            return kind
    elif kind in _SINGLE.values() and inside not in _SINGLE.values():
        return kind  # one file is wanted out of it, and this is none
    notify("%s is really %s, whatever its name says; it was unpacked as that", name, inside)
    return inside


def _tar_or_single(archive: Path, kind: str) -> str:
    """Say whether what is compressed is a tar archive or another file."""
    if kind in _SINGLE.values():
        with contextlib.suppress(StreamError, ColabKitError), _opened(archive, kind) as reader:
            if tar.is_header(reader.read(512)):
                return f"tar.{kind}"
    return kind


def extract_single(packed: Path, target: Path, expected: Checksum | None = None) -> None:
    """Put the one file that a zip holds in the place of its target, in one step.

    Args:
        packed: The zip.
        target: Where the file goes.
        expected: What it must have.

    Raises:
        IntegrityError: The file is not the wanted one.
        ArchiveError: The zip is damaged, holds something else than one file, or explodes.
        DiskFullError: There is no room.
    """
    with _damage(target.name), zip_file.opened(packed) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) != 1:
            raise ArchiveError(
                f"{target.name} came packed in a zip of {len(members):,} files",
                why="the server packs a single file now and then, and this is something else",
                hint="fetch the whole folder or dataset instead",
            )
        with zip_file.open_member(archive, members[0]) as reader:
            _put(reader, target, SizeBudget(packed, target.parent), expected)


def uncompress(packed: Path, target: Path, expected: Checksum | None = None) -> None:
    """Put a file that its server labels as gzip in the place of its target, in one step: as it was published.

    A checksum says whether that is the file as it came or what it holds. Without one, a file whose name ends in .gz
    stays as it came unless it was compressed twice, and what is called compressed and is not is taken as it is.

    Args:
        packed: The file as it came.
        target: Where the file goes.
        expected: What it must have.

    Raises:
        ArchiveError: It is damaged, or explodes.
        DiskFullError: There is no room.
        IntegrityError: The file is not the wanted one.
    """
    with packed.open("rb") as plain:
        head = plain.read(1 << 16)
    as_it_came = not head.startswith(_GZIP)
    if expected is not None:
        as_it_came = as_it_came or of_file(packed, expected.algorithm) == expected
    elif is_packed_name("gzip", [target.name]):
        as_it_came = as_it_came or not begins_with("gzip", head).startswith(_GZIP)
    with _damage(target.name), _opened(packed, "" if as_it_came else "gz") as reader:
        _put(reader, target, SizeBudget(packed, target.parent), expected)
        _tell_junk(reader, target.name)


def _put(reader: IO[bytes], target: Path, room: SizeBudget, expected: Checksum | None) -> None:
    with atomic_write(target) as writer:
        while block := reader.read(_BLOCK):
            room.take(len(block), target.name)
            writer.write(block)
        writer.flush()
        actual = None if expected is None else of_file(Path(writer.name), expected.algorithm)
        if actual != expected:
            raise IntegrityError(
                f"{target.name} is not the expected file",
                why=f"you said {expected}, the file has {actual}",
                hint="check the checksum; it is that of the file itself, not of how it is packed",
            )


@contextlib.contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except ColabKitError:
        raise
    except NotImplementedError as error:
        raise ArchiveError(
            f"cannot unpack {name}", why=str(error), hint="pass unpack=False, and unpack it with: 7z x"
        ) from error
    except (MemoryError, RecursionError) as error:
        raise ArchiveError(
            f"{name} needs more memory than this machine has",
            why="unpacking it fills the memory",
            hint="with unpack=False it stays packed; unpack it where there is more memory, if you trust it",
        ) from error
    except Exception as error:  # the readers of archives raise whatever damage leads them to
        if is_shortage(error):
            raise translate(error, name, doing="unpack") from error
        raise corrupt_archive(name, error, "it ends early") from error


def _unpack_zip(archive: Path, tree: ExtractionTarget, display: str, chosen: Chosen) -> None:
    with zip_file.opened(archive) as packed:
        for member, stored in zip_file.names(packed, display):
            folder = stored.endswith("/")
            if (name := chosen.place(stored, folder=folder)) is None:
                continue
            mode = member.external_attr >> 16
            if member.flag_bits & 1:
                raise encrypted(f"the member {name[:200]!r}", archive)
            if folder:
                tree.folder(name, zip_file.changed(member))
            elif stat.S_ISLNK(mode) and member.create_system not in zip_file.WINDOWS:  # there these bits are garbage
                if member.file_size > 4096:
                    raise ArchiveError(f"the member {name[:200]!r} is a link of {member.file_size:,} bytes")
                tree.link(name, os.fsdecode(packed.read(member)))
            else:
                with zip_file.open_member(packed, member) as reader:
                    tree.file(name, reader, mode, zip_file.changed(member))
    tree.finish()


def _unpack_tar(
    archive: Path, kind: str, tree: ExtractionTarget, room: SizeBudget, display: str, chosen: Chosen
) -> None:
    compression = kind.partition(".")[2]
    with _opened(archive, compression) as file:
        for member, reader in tar.members(file, display, room.read, compressed=bool(compression)):
            if (name := chosen.place(member.name, folder=member.isdir())) is None:
                continue
            if member.isdir():
                tree.folder(name, member.mtime)
            elif member.issym():
                tree.link(name, member.linkname)
            elif member.islnk():
                if not chosen.takes(member.linkname):
                    raise _left_out(member.name, member.linkname)
                tree.hard_link(name, chosen.renamed(member.linkname))
            else:
                tree.file(name, reader, member.mode, member.mtime)
        _tell_junk(file, display)
    tree.finish()


def _left_out(name: str, target: str) -> ArchiveError:
    return ArchiveError(
        f"the member {name[:200]!r} cannot be unpacked alone",
        why=f"it is a second name of {target[:200]!r}, which is not chosen",
        hint="name it too",
    )


def _unpack_single(archive: Path, kind: str, made: Path, room: SizeBudget, name: str) -> None:
    with _opened(archive, kind) as file:
        copy(file, made, room, name)
        _tell_junk(file, name)
    set_changed(made, _packed_at(archive, kind))


def _packed_at(archive: Path, kind: str) -> float:
    """Return when a compressed file was last changed: as its header says, or else as the disk knows it."""
    with archive.open("rb") as file:
        head = file.read(8)
    changed = int.from_bytes(head[4:], "little") if kind == "gz" else 0
    return changed or archive.stat().st_mtime


def _opened(archive: Path, compression: str) -> Any:
    file = archive.open("rb")
    return CompressedStream(file, compression) if compression else file


def _tell_junk(file: Any, name: str) -> None:
    if junk := getattr(file, "junk", 0):
        notify("%s has %s bytes after its end that belong to nothing; all before them is intact", name, f"{junk:,}")
