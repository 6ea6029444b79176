"""Contents that join what a folder holds: each file appears whole, and what exists and differs is left alone."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from colabkit import config
from colabkit._archive import extraction
from colabkit._archive.choice import ALL, Choice
from colabkit._engine.fetch_task import Fetched
from colabkit._engine.source import key
from colabkit._internal.disk.files import map_os_errors, sync_folder, write_json
from colabkit._internal.display.few import few
from colabkit.errors import ArchiveError, ColabKitError, ExistsError
from colabkit.transfer.destination import Destination

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._engine.fetch_task import Options

_FORMAT = 1
_NAMED = 5
_PACKED = {b"\x1f\x8b": ".tar.gz", b"BZh": ".tar.bz2", b"\xfd7zXZ": ".tar.xz", b"\x28\xb5\x2f\xfd": ".tar.zst"}
"""What each compression begins with."""


def find(identity: str, folder: Path) -> dict[str, tuple[int, int]] | None:
    """Return the files that an earlier fetch of this source left in a folder, or None if one of them is not there.

    Args:
        identity: Tells the source from all others.
        folder: Where its contents went.

    Returns:
        For each relative path its size and its time of change, as they were.
    """
    files = _manifest(identity, folder)
    return files if files and all(os.path.lexists(folder / below) for below in files) else None


@dataclass(frozen=True, kw_only=True)
class Joining:
    """How contents join what a folder holds.

    Attributes:
        format: What their archive must be, whatever it is called; "" by its name.
        strip: How many leading parts of the path of each member are taken off.
        members: Those that are wanted; None for all.
        existing: What is done with files of the same names that differ.
    """

    format: str = ""
    strip: int = 0
    members: Choice | None = None
    existing: Literal["refuse", "replace", "keep"] = "refuse"

    def identity_of(self, archive: str) -> str:
        """Tell what is taken out of an archive from what else two steps of a line may take."""
        chosen = self.members.identity if self.members else ""
        return "\0".join([archive, *([f"strip {self.strip}"] if self.strip else []), *([chosen] if chosen else [])])


def merge_unpacked(
    identity: str,
    shown: str,
    folder: Path,
    options: Options,
    how: Joining,
    obtain: Callable[[], Fetched],
    *,
    keep: bool,
) -> Fetched:
    """Unpack an archive into a folder that may hold other things.

    Args:
        identity: Tells the archive from all others.
        shown: What it is called in messages.
        folder: Where its members go.
        options: How to fetch.
        how: How they join what is there.
        obtain: Brings the archive.
        keep: It stays where it is.

    Raises:
        ExistsError: Something else has the name of a member, and may not be replaced.
        ArchiveError: It is damaged.
    """
    packed: list[Fetched] = []

    def fill(files: Path) -> tuple[str, str]:
        packed.append(obtain())
        name = _as(packed[0].path, how.format)
        extraction.unpack(packed[0].path, files, name, replace=True, choice=how.members or ALL)
        if not files.is_dir():
            raise ArchiveError(
                f"{packed[0].path.name} is not an archive",
                why="it is one compressed file, which has no members",
                hint="unpack it by gunzip, xz -d and the like, or with unpack=True",
            )
        return packed[0].source, packed[0].checksum

    fetched = merge(how.identity_of(identity), shown, folder, options, how, fill)
    if packed and not keep and not packed[0].from_cache:
        packed[0].path.unlink(missing_ok=True)
    return fetched


def merge_copied(path: Path, folder: Path, options: Options, how: Joining) -> Fetched:
    """Copy what a folder of this machine holds into another."""

    def fill(files: Path) -> tuple[str, str]:
        shutil.copytree(path, files, symlinks=True)
        return str(path), ""

    return replace(merge(str(path.resolve()), str(path), folder, options, how, fill), from_cache=True)


def merge(
    identity: str,
    shown: str,
    folder: Path,
    options: Options,
    how: Joining,
    fill: Callable[[Path], tuple[str, str]],
    *,
    goes_on: bool = False,
) -> Fetched:
    """Bring many files into a folder that may hold others.

    Args:
        identity: Tells them from all else.
        shown: What they are called in messages.
        folder: Where they go.
        options: How to fetch.
        how: How they join what is there.
        fill: Puts them into a hidden folder and returns their source and checksum.
        goes_on: It knows what an earlier try has left in that folder; else the folder is empty.

    Raises:
        ExistsError: Something else has the name of one, and may not be replaced.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise ExistsError(f"{folder} is not a folder", why="the files would go into it", hint="choose another place")

    def noted() -> Fetched | None:
        if options.overwrite or not options.use_cache or (files := find(identity, folder)) is None:
            return None
        return Fetched(
            path=folder, source=shown, from_cache=True, checksum="", size=sum(size for size, _ in files.values())
        )

    if known := noted():
        return known
    with Destination(identity, f"{folder}{os.sep}", options).locked("merge", shown) as part:
        if known := noted():
            return known
        files, ready = part / "files", part / "ready.json"
        if (told := _read(ready, identity)) is None:
            if not goes_on:
                shutil.rmtree(files, ignore_errors=True)
            with map_os_errors(part):
                part.mkdir(parents=True, exist_ok=True)
            try:
                source, checksum = fill(files)
            except BaseException:
                with contextlib.suppress(OSError):
                    part.rmdir()  # unless it holds what the next try goes on with
                raise
            if how.strip:
                _strip(files, how.strip)
            told = {"source": source, "checksum": checksum}
        with map_os_errors(folder):
            _check(files, folder, _manifest(identity, folder), "replace" if options.overwrite else how.existing)
            # From here on a process that comes after a kill only goes on moving.
            write_json(ready, {"format": _FORMAT, "identity": key(identity), **told})
            moved = _move(files, folder)
            if options.use_cache:
                _note(identity, folder, moved)
        shutil.rmtree(part, ignore_errors=True)
    size = sum(size for size, _ in moved.values())
    return Fetched(path=folder, source=told["source"] or shown, from_cache=False, checksum=told["checksum"], size=size)


def _entries(files: Path) -> list[Path]:
    """List what is to be moved: files and links, and folders that hold nothing."""
    entries = []
    for top, folders, names in os.walk(files):
        links = [name for name in folders if Path(top, name).is_symlink()]
        entries += [Path(top, name) for name in (*names, *links)]
        if not folders and not names and Path(top) != files:
            entries.append(Path(top))
    return sorted(entries)


def _as(archive: Path, wanted: str) -> str:
    """Return a name that tells the format of an archive: of a tar it is what it begins with."""
    name = archive.name
    kind = extraction.kind_of(name) or extraction.compression_of(name)
    if not wanted or (wanted == "7z" and kind) or kind == wanted or (wanted == "tar" and kind.startswith("tar")):
        return name
    if wanted != "tar":
        return f"{name}.{wanted}"
    with archive.open("rb") as file:
        start = file.read(6)
    return name + next((ending for magic, ending in _PACKED.items() if start.startswith(magic)), ".tar")


def _strip(files: Path, count: int) -> None:
    """Take leading parts off the paths of all members; what has no more goes away."""
    stripped = files.with_name("stripped")
    for entry in _entries(files):
        parts = entry.relative_to(files).parts[count:]
        if parts:
            place = stripped.joinpath(*parts)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(entry, place)
    shutil.rmtree(files)
    stripped.mkdir(exist_ok=True)
    os.replace(stripped, files)


def _check(
    files: Path, folder: Path, known: dict[str, tuple[int, int]], existing: Literal["refuse", "replace", "keep"]
) -> None:
    """Stop before anything is moved if it would replace what is not ours."""
    taken = []
    for entry in _entries(files):
        below = entry.relative_to(files)
        place = folder / below
        blocked = next((one for one in _above(below) if _is_file(folder / one)), None)
        if blocked is not None or (place.is_dir() and not place.is_symlink() and not _is_plain_folder(entry)):
            raise ExistsError(
                f"{folder / (blocked or below)} is in the way of {below}",
                why="one is a file and the other a folder",
                hint="move it away, or choose another place; nothing there was changed",
            )
        if os.path.lexists(place) and not _is_plain_folder(entry) and not _is_same(entry, place):
            status = place.lstat()
            if existing == "keep":
                entry.unlink()
            elif known.get(below.as_posix()) != (status.st_size, status.st_mtime_ns):
                taken.append(below.as_posix())
    if taken and existing == "refuse":
        raise ExistsError(
            f"{folder} holds other files of these names: {few(taken, _NAMED)}",
            why="they were put there by something else, or changed since",
            hint="pass overwrite=True to replace them, or choose another place; nothing there was changed",
        )


def _above(below: Path) -> list[Path]:
    return list(below.parents)[-2::-1]


def _is_file(path: Path) -> bool:
    return os.path.lexists(path) and not path.is_dir()


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


def _move(files: Path, folder: Path) -> dict[str, tuple[int, int]]:
    moved = {}
    places = set()
    for entry in _entries(files):
        below = entry.relative_to(files)
        place = folder / below
        place.parent.mkdir(parents=True, exist_ok=True)
        if _is_plain_folder(entry):
            place.mkdir(exist_ok=True)
            continue
        os.replace(entry, place)
        places.add(place.parent)
        status = place.lstat()
        moved[below.as_posix()] = (status.st_size, status.st_mtime_ns)
    for place in places:
        sync_folder(place)
    return moved


def _note(identity: str, folder: Path, moved: dict[str, tuple[int, int]]) -> None:
    """Write down what there is; failing to costs one more fetch."""
    place = _place(identity, folder)
    with contextlib.suppress(ColabKitError), map_os_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, {"format": _FORMAT, "identity": key(identity), "files": moved})


def _manifest(identity: str, folder: Path) -> dict[str, tuple[int, int]]:
    value = _read(_place(identity, folder), identity)
    try:
        return {str(below): (int(size), int(modified)) for below, (size, modified) in (value or {})["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _read(path: Path, identity: str) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
        return value if (value["format"], value["identity"]) == (_FORMAT, key(identity)) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _place(identity: str, folder: Path) -> Path:
    return config.cache_dir() / "fetch" / "merged" / f"{key(identity, os.path.abspath(folder))}.json"  # noqa: PTH100
