"""Where an archive is unpacked to: members that stay below one folder, and a budget that stops what explodes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
from typing import IO, TYPE_CHECKING

from colabkit._internal.disk import lfs_pointer
from colabkit._internal.disk.files import map_os_errors, umask
from colabkit._internal.display.progress import amount
from colabkit._internal.log import notify
from colabkit._safe_text import TURNS
from colabkit.errors import ArchiveError, DiskFullError

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1 << 20
_RATIO = 250
_SMALL = 256 << 20
_MOST_MEMBERS = 2_000_000
_FEW_MEMBERS = 20_000
_SMALLEST_MEMBER = 16
_FEW_FOLDERS = 5_000
_SMALLEST_FOLDER = 64
"""Bytes that a file and an empty folder take of an archive at the least: one that holds more of them is an attack."""
_DEEPEST = 200
_BLANKS = "\t\r"
"""Control characters that names of real files have, such as the Icon\\r of every Mac; others steer terminals."""
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_DRIVE_ON_WINDOWS = re.compile(r"[A-Za-z]:")


def why_refused(name: str, *, windows: bool = sys.platform == "win32") -> str:
    """Say why a member of that name is not unpacked; "" where it is.

    Args:
        name: The member's path.
        windows: Whether it must do on Windows too, where a letter and a colon name a drive.

    Example:
        >>> why_refused("../../etc/passwd"), why_refused("images/0001.png")
        ('its path climbs out of the folder', '')
    """
    if name.startswith(("/", "\\")) or (_DRIVE_ON_WINDOWS if windows else _DRIVE).match(name):
        return "its path is absolute"
    if any(".." in name.split(separator) for separator in "/\\"):
        return "its path climbs out of the folder"
    if any(letter < " " or "\x7f" <= letter <= "\x9f" for letter in name if letter not in _BLANKS):
        return "its name has control characters"
    if any(mark in name for mark in TURNS):
        return "its name has characters that turn the direction of writing, so that it looks like another"
    if any(len(os.fsencode(part)) > 255 for part in name.split("/")):
        return "its name is too long"
    if name.count("/") > _DEEPEST:
        return f"it lies more than {_DEEPEST} folders deep"
    return ""


def corrupt_archive(name: str, error: Exception, otherwise: str) -> ArchiveError:
    """Make the error for an archive that cannot be read.

    Args:
        name: The archive.
        error: What its reader said.
        otherwise: What is said if that is nothing.
    """
    return ArchiveError(
        f"{name} is damaged",
        why=" ".join(str(error).split())[:200] or otherwise,
        hint="fetch it again with overwrite=True; if it fails again, it is damaged at the source",
    )


def encrypted(what: str, archive: Path) -> ArchiveError:
    """Make the error for what needs a password.

    Args:
        what: The archive, or its member.
        archive: The archive.
    """
    return ArchiveError(
        f"{what} is encrypted",
        why="fetch takes no passwords of archives, so that none gets into logs and receipts",
        hint=f"pass unpack=False, then run in a terminal, which asks for the password: 7z x {archive.name}",
    )


class SizeBudget:
    """Counts what is written, and stops an archive that explodes or does not fit.

    Args:
        archive: The archive, whose size decides what is too much.
        folder: Where it is unpacked.

    Attributes:
        written: The bytes so far.
        pointers: The members that git-lfs left in the place of large files.
    """

    def __init__(self, archive: Path, folder: Path) -> None:
        self._most = max(_SMALL, _RATIO * archive.stat().st_size)
        self._folder = folder
        self._check_at = 0
        self._read = 0
        size = archive.stat().st_size
        self._files_left = min(_MOST_MEMBERS, max(_FEW_MEMBERS, size // _SMALLEST_MEMBER))
        self._folders_left = max(_FEW_FOLDERS, size // _SMALLEST_FOLDER)
        self.written = 0
        self.pointers: list[str] = []

    def note_pointer(self, data: bytes | bytearray, member: str) -> None:
        """Keep the name of a member whose first bytes say that it stands for another file."""
        if lfs_pointer.is_pointer(data):
            self.pointers.append(member)

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
                hint="if you trust it, pass unpack=False and unpack it yourself",
            )
        if self.written >= self._check_at:
            free = shutil.disk_usage(self._folder).free
            if free < _BLOCK:
                raise DiskFullError(
                    f"no room to unpack into {self._folder}",
                    why=f"{amount(self.written)} are written and {amount(free)} are free",
                    hint="free some space there, or choose another folder with to=",
                )
            self._check_at = self.written + min(64 << 20, max(_BLOCK, free // 8))

    def read(self, size: int) -> None:
        """Count bytes that were uncompressed, members and all between them.

        Raises:
            ArchiveError: They are too many for an archive of this size.
        """
        self._read += size
        if self._read > 2 * self._most:
            raise ArchiveError(
                "the archive explodes between its members",
                why=f"it has grown to more than {2 * _RATIO} times its size, {amount(self._read)}",
                hint="if you trust it, pass unpack=False and unpack it yourself",
            )

    def file(self, name: str) -> None:
        """Count a file that is about to be made, which may have folders of its own.

        Raises:
            ArchiveError: There are too many for an archive of this size.
        """
        self._files_left -= 1
        self._folders_left += 2
        if self._files_left < 0:
            raise _too_many("files", name)

    def folder(self, name: str) -> None:
        """Count a folder that is about to be made.

        Raises:
            ArchiveError: There are too many for an archive of this size.
        """
        self._folders_left -= 1
        if self._folders_left < 0:
            raise _too_many("folders", name)


def _too_many(what: str, name: str) -> ArchiveError:
    return ArchiveError(
        f"the archive explodes at the member {name[:200]!r}",
        why=f"it has more {what} than an archive of its size can reasonably hold",
        hint="if you trust it, pass unpack=False and unpack it yourself",
    )


class ExtractionTarget:
    """Writes members below one folder, and refuses each that would leave it or meet another.

    Args:
        root: The folder; it is made.
        archive: The name of the archive, for messages.
        room: Counts what is written.
        later_wins: A member takes the place of an earlier one of the same name, as in a tar that was appended to.
    """

    def __init__(self, root: Path, archive: str, room: SizeBudget, *, later_wins: bool = False) -> None:
        self._later_wins = later_wins
        self._replaced = 0
        self._root = root
        self._archive = archive
        self._room = room
        self._files: set[tuple[str, ...]] = set()
        self._folders: set[tuple[str, ...]] = {()}
        self._links: dict[tuple[str, ...], tuple[str, str]] = {}
        self._times: list[tuple[tuple[str, ...], float]] = []
        self._mask = umask()
        root.mkdir()

    def folder(self, name: str, changed: float | None = None) -> None:
        """Make a folder; it gets its time of change at the end, when nothing is put into it any more."""
        parts = self._parts(name)
        self._make(parts, name)
        if changed is not None and parts:
            self._times.append((parts, changed))

    def file(self, name: str, reader: IO[bytes], mode: int, changed: float | None = None) -> None:
        """Write a file from what can be read."""
        path = self.reserve(name)
        copy(reader, path, self._room, name)
        if mode & stat.S_IXUSR:  # else it has the mode that a new file gets
            self.settle(path, executable=True)
        set_changed(path, changed)

    def settle(self, path: Path, *, executable: bool, changed: float | None = None) -> None:
        """Give a complete file its mode, which the umask decides but for whether it can be run, and its time."""
        path.chmod((0o777 if executable else 0o666) & ~self._mask)
        set_changed(path, changed)

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
        self.reserve(name)
        # Of a link to itself by "a//." Python's realpath says "/", which would deceive whoever asks it.
        self._links[parts] = (name, re.sub("/{2,}", "/", target))

    def hard_link(self, name: str, target: str) -> None:
        """Make a second name of a file that was written before."""
        original = self._parts(target)
        if self._later_wins and original == self._parts(name) and original in self._files:
            return
        if original not in self._files or original in self._links:
            raise self._refused(name, f"it is a link to {target[:100]!r}, which is not a file before it")
        path = self.reserve(name)
        with map_os_errors(path):
            os.link(self._root.joinpath(*original), path)

    def finish(self) -> None:
        """Make the links, after all that could have been written through one, and give folders their times."""
        if self._replaced:
            text = "%s of the members of %s took the place of earlier ones that had the same name, as with tar"
            notify(text, f"{self._replaced:,}", self._archive)
        for parts, (_, target) in self._links.items():
            path = self._root.joinpath(*parts)
            with map_os_errors(path):
                path.symlink_to(target)
        for parts, changed in sorted(self._times, reverse=True):  # those that lie deepest first
            set_changed(self._root.joinpath(*parts), changed)

    def reserve(self, name: str) -> Path:
        """Return where a member is to be written, and keep the place.

        Raises:
            ArchiveError: The member is refused.
        """
        parts = self._parts(name)
        if self._later_wins and parts in self._files:
            self._drop(parts)
        if not parts or parts in self._files or parts in self._folders:
            raise self._refused(name, "another member has the same name")
        self._make(parts[:-1], name)
        self._room.file(name)
        self._files.add(parts)
        return self._root.joinpath(*parts)

    def _drop(self, parts: tuple[str, ...]) -> None:
        self._replaced += 1
        self._files.discard(parts)
        if self._links.pop(parts, None) is None:  # a link is not made yet
            path = self._root.joinpath(*parts)
            with map_os_errors(path):
                path.unlink()

    def _make(self, parts: tuple[str, ...], name: str) -> None:
        if parts in self._folders:
            return
        for end in range(1, len(parts) + 1):
            above = parts[:end]
            if above in self._files:
                raise self._refused(name, "it lies below another member that is not a folder")
            if above not in self._folders:
                self._room.folder(name)
                with map_os_errors(self._root):
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
            hint="do not trust this archive; with unpack=False it stays packed",
        )


def set_changed(path: Path, changed: float | None) -> None:
    """Give what was unpacked the time of change that it had, as unzip and tar do; a time that no disk takes is none."""
    if changed is not None:
        with contextlib.suppress(OSError, OverflowError, ValueError):
            os.utime(path, (changed, changed))


def copy(reader: IO[bytes], path: Path, room: SizeBudget, member: str) -> None:
    """Write a member's bytes to a new file, and count them."""
    with contextlib.ExitStack() as stack:
        with map_os_errors(path):
            writer = stack.enter_context(open(path, "xb"))
        is_first = True
        while block := reader.read(_BLOCK):  # outside writing_to: damage in the archive is no fault of the disk
            room.take(len(block), member)
            if is_first:
                room.note_pointer(block, member)
                is_first = False
            with map_os_errors(path):
                writer.write(block)
