"""A run as one file to hand over: packed with a card, unpacked elsewhere, and each file of it proven by its hash."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from colabkit._internal.disk.files import atomic_path, map_os_errors
from colabkit._internal.disk.paths import on_this_machine
from colabkit._internal.display.progress import amount
from colabkit._version import __version__
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.location import resolve_location
from colabkit.checkpoint.management import inspect
from colabkit.checkpoint.management.card import card_of
from colabkit.checkpoint.mirror import lease
from colabkit.errors import ArchiveError, CheckpointError, DiskFullError, ExistsError, IntegrityError, NotFoundError
from colabkit.runtime import my_drive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit._types import StrPath

SUFFIX = ".run.zip"
MANIFEST, CARD = "colabkit-run.json", "CARD.md"
_PHASES = "phases"
_LEFT_OUT = {naming.FOLDER, _PHASES, "lock", lease.NAME, MANIFEST, CARD}
_STORED = (".safetensors", ".png", ".zip", ".keras", ".h5")  # do not get smaller
_CHUNK = 1 << 20
_LARGEST_MANIFEST = 1 << 24
_PART = re.compile(r"[^\x00-\x1f\\/:*?\"<>|]+")


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A run in a file.

    Attributes:
        path: The file, or the folder it was unpacked to.
        name: The run's name.
        step: Steps trained.
        files: How many files it holds.
        size: Their bytes.
    """

    path: Path
    name: str
    step: int
    files: int
    size: int


def pack(where: StrPath, to: StrPath | None = None, *, name: str = "") -> Packed:
    """Write a run into one file: its newest and its best state, proven whole, its other files, and a card.

    Args:
        where: The run's address.
        to: The file; `NAME.run.zip` here when None. An existing one is replaced when the new one is whole.
        name: What the run is called; the last part of its address when empty.

    Raises:
        NotFoundError: There is no such run.
        CheckpointError: No state of it is whole.
        StorageError: The file cannot be written, or the run's storage does not answer.
    """
    run = inspect.survey(where)
    place = resolve_location(where)
    name = name or place.name
    file = to if to is not None else Path(f"{name}{SUFFIX}")
    target = my_drive.path_to_write(file, 'pack it here, then ck.push(FILE, "{}")')
    if target.is_dir():
        target /= f"{name}{SUFFIX}"
    with tempfile.TemporaryDirectory(prefix="colabkit-pack-") as made:
        states = Path(made)
        step = _put_states(run, states / naming.FOLDER)
        for phase in sorted((place.folder / _PHASES).glob("*/")):
            if any((phase / naming.FOLDER).glob("step-*")):
                _put_states(inspect.survey(phase), states / _PHASES / phase.name / naming.FOLDER)
        sources = {_name(states, path): path for path in _files(states)}
        if place.folder.is_dir():
            sources |= {_name(place.folder, path): path for path in _files(place.folder) if _belongs(place, path)}
        (states / CARD).write_text(card_of(name, run.points[0].meta, place.folder), encoding="utf-8")
        return _write(target, {CARD: states / CARD} | sources, name=name, step=step)


def unpack(file: StrPath, to: StrPath | None = None) -> Packed:
    """Take a run out of its file; nothing is there before all of it is proven.

    Args:
        file: The file.
        to: The run's folder; `colabkit-runs/NAME` when None.

    Raises:
        NotFoundError: There is no such file.
        ArchiveError: It is not a packed run, or holds names that lead out of the folder.
        IntegrityError: A file in it is not what was packed.
        ExistsError: The folder holds something already.
        DiskFullError: There is no room for it.
    """
    from colabkit.checkpoint.location import default_folder

    source = on_this_machine(file, 'bring it here first: ck.fetch("{}", unpack=False)')
    with _opened(source) as archive:
        manifest = _manifest(archive, source)
        folder = on_this_machine(to, "unpack it here") if to is not None else Path(default_folder(manifest["name"]))
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ExistsError(
                f"{folder} holds something already", hint="name another folder: --to FOLDER, or unpack(file, FOLDER)"
            )
        size = sum(entry["size"] for entry in manifest["files"].values())
        _check_room(folder, size)
        with map_os_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
                for member, entry in manifest["files"].items():
                    _take(archive, source, member, entry, Path(name) / "run" / member)
                if folder.is_dir():
                    folder.rmdir()
                os.replace(Path(name) / "run", folder)
    return Packed(path=folder, name=manifest["name"], step=manifest["step"], files=len(manifest["files"]), size=size)


def _put_states(run: inspect.RunInfo, folder: Path) -> int:
    """Write the newest state that is whole, and the best one; gives the step of the newest."""
    folder.mkdir(parents=True)
    newest = _put_state(run, folder, None)
    best = run.best_step
    if best is not None and best != newest and any(point.step == best for point in run.points):
        _put_state(run, folder, best)
    return newest


def _put_state(run: inspect.RunInfo, folder: Path, step: int | None) -> int:
    written = folder / "state"
    point, _ = inspect.restore(run, written, step=step)
    os.replace(written, folder / str(naming.CheckpointName(step=point.step, state=point.state)))
    return point.step


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _belongs(place: Any, path: Path) -> bool:
    parts = path.relative_to(place.folder).parts
    if any(part.startswith(".") for part in parts) or parts[0] in _LEFT_OUT - {_PHASES}:
        return False
    return parts[0] != _PHASES or (len(parts) > 2 and parts[2] not in _LEFT_OUT)


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _write(target: Path, sources: dict[str, Path], *, name: str, step: int) -> Packed:
    files: dict[str, dict[str, Any]] = {}
    with map_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as written, zipfile.ZipFile(written, "w", allowZip64=True) as archive:
        for member, path in sources.items():
            info = zipfile.ZipInfo(member, time.gmtime(max(path.stat().st_mtime, 315619200))[:6])
            info.compress_type = zipfile.ZIP_STORED if path.suffix in _STORED else zipfile.ZIP_DEFLATED
            digest, size = hashlib.sha256(), 0
            with path.open("rb") as file, archive.open(info, "w", force_zip64=True) as out:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    out.write(chunk)
            files[member] = {"size": size, "sha256": digest.hexdigest()}
        manifest = {"format": 1, "name": name, "step": step, "colabkit": __version__, "files": files}
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1), zipfile.ZIP_DEFLATED)
    size = sum(entry["size"] for entry in files.values())
    return Packed(path=target, name=name, step=step, files=len(files), size=size)


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise NotFoundError(f"there is no file at {path}", hint="check the path")
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _not_packed(path, str(error)) from error


def _not_packed(path: Path, why: str) -> ArchiveError:
    return ArchiveError(
        f"{path.name} is not a packed run", why=why, hint="pack one with: colabkit runs pack RUN; or copy it here again"
    )


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    try:
        if archive.getinfo(MANIFEST).file_size > _LARGEST_MANIFEST:
            raise _not_packed(path, "its list of files is too long")
        manifest = json.loads(archive.read(MANIFEST))
        name, files = str(manifest["name"]), {str(key): dict(value) for key, value in manifest["files"].items()}
        cleaned: dict[str, Any] = {
            key: {"size": int(entry["size"]), "sha256": str(entry["sha256"])} for key, entry in files.items()
        }
        number, step = int(manifest["format"]), int(manifest["step"])
    except ArchiveError:
        raise
    except Exception as error:  # whatever a damaged file makes of it
        raise _not_packed(path, f"{type(error).__name__}: {error}") from error
    if number != 1:
        raise CheckpointError(f"{path.name} was packed by a newer colabkit", hint="pip install -U colabkit")
    for member in (name, *cleaned):
        parts = member.split("/")
        if any(part in ("", ".", "..") or _PART.fullmatch(part) is None for part in parts) or (
            member == name and len(parts) > 1
        ):
            raise ArchiveError(f"{path.name} holds the name {member!r:.80}", why="it leads out of the run's folder")
    if any(entry["size"] < 0 for entry in cleaned.values()):
        raise _not_packed(path, "a size in it is negative")
    return {"name": name, "step": step, "files": cleaned}


def _check_room(folder: Path, size: int) -> None:
    from colabkit.runtime import resources

    place = next((parent for parent in (folder, *folder.absolute().parents) if parent.is_dir()), Path())
    disk = resources.disk(place)
    if disk is not None and disk.free < size:
        raise DiskFullError(
            f"the run takes {amount(size)}, and {place} has {amount(disk.free)} left", hint="make room, or use --to"
        )


def _take(archive: zipfile.ZipFile, path: Path, member: str, entry: dict[str, Any], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), entry["size"]
    try:
        with archive.open(member) as source, target.open("xb") as file:
            while chunk := _chunk(source, left):
                digest.update(chunk)
                left -= len(chunk)
                file.write(chunk)
    except (KeyError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise IntegrityError(f"{member} in {path.name} cannot be read", why=str(error), hint=_AGAIN) from error
    except Exception as error:
        if type(error).__module__ not in ("zlib", "lzma"):
            raise
        raise IntegrityError(f"{member} in {path.name} is damaged", why=str(error), hint=_AGAIN) from error
    if left or digest.hexdigest() != entry["sha256"]:
        raise IntegrityError(f"{member} in {path.name} is not what was packed", hint=_AGAIN)


_AGAIN = "copy the file here again; nothing was unpacked"


def _chunk(source: IO[bytes], left: int) -> bytes:
    chunk = source.read(min(_CHUNK, left + 1))
    if len(chunk) > left:
        raise ValueError("there is more of it than was packed")
    return chunk
