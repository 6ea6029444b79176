"""Pushing to a path: a disk of this machine, or anything that is mounted like one."""

from __future__ import annotations

import contextlib
import filecmp
import os
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._engine import local
from colabkit._engine.parallel import parallel_map
from colabkit._engine.uploads.body import all_blocks
from colabkit._engine.uploads.walk import LocalFile, files_below
from colabkit._internal.disk.files import atomic_write, map_os_errors
from colabkit._internal.disk.paths import expand, own_name
from colabkit._internal.display.progress import progress as open_progress
from colabkit.errors import AddressError, ExistsError
from colabkit.runtime import my_drive
from colabkit.transfer.pushing import Pushed, refuse_different

if TYPE_CHECKING:
    from colabkit._engine.parallel import Watch
    from colabkit._engine.uploads.body import UploadBody
    from colabkit._internal.display.progress import Progress
    from colabkit.transfer.pushing import PushOptions


def push_to(target: str, source: Path | UploadBody, options: PushOptions) -> Pushed:
    """Push to a path, or into the folder that it names by a slash at its end."""
    place, inside = expand(target), target.endswith(("/", os.sep))
    my_drive.refuse_unmounted(place)
    if not isinstance(source, Path):
        if inside:
            raise AddressError(f"{place} is a folder", why="bytes have no name", hint="name the file to make")
        return _push_content(place, source, options)
    if inside:
        place /= own_name(source)
    if source.is_dir():
        return _push_folder(place, source, options)
    size = source.stat().st_size
    with open_progress(source.name[:40], show=options.show) as bar:
        sent = _copy(source, place, bar, overwrite=options.overwrite)
    return Pushed(target=str(place), files=1, sent=int(sent), size=size)


def _push_folder(place: Path, folder: Path, options: PushOptions) -> Pushed:
    if place.resolve().is_relative_to(folder.resolve()):
        raise AddressError(f"{place} lies in {folder}", hint="choose a place outside of what is pushed")
    files = files_below(folder)
    with map_os_errors(place):
        missing = [file for file in files if not _is_same(file.path, place / file.below)]
        different = [file.below for file in missing if os.path.lexists(place / file.below)]
    refuse_different(different, len(files), overwrite=options.overwrite)

    def send(file: LocalFile, watch: Watch) -> bool:
        with open_progress(file.below, show=watch) as bar:
            return _copy(file.path, place / file.below, bar, overwrite=options.overwrite)

    parallel_map(missing, lambda: contextlib.nullcontext(send), options.show, at_once=1)  # a disk has one arm
    return Pushed(target=str(place), files=len(files), sent=len(missing), size=sum(file.size for file in files))


def _copy(path: Path, place: Path, bar: Progress, *, overwrite: bool) -> bool:
    with map_os_errors(place):
        if _is_same(path, place):
            return False
    if place.exists() and not (overwrite and place.is_file()):
        raise _taken(place)
    local.copy(path, place, bar, overwrite=overwrite)
    return True


def _push_content(place: Path, content: UploadBody, options: PushOptions) -> Pushed:
    if os.path.lexists(place):
        if content.size is not None and _holds(place, content):
            return Pushed(target=str(place), files=1, sent=0, size=content.size)
        if not (options.overwrite and place.is_file()):
            raise _taken(place)
    done = 0
    with map_os_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    with open_progress(place.name[:40], show=options.show) as bar, atomic_write(place) as writer:
        for block in all_blocks(content):
            writer.write(block)
            done += len(block)
            bar.update(done, content.size)
    return Pushed(target=str(place), files=1, sent=1, size=done)


def _holds(place: Path, content: UploadBody) -> bool:
    if not place.is_file() or place.stat().st_size != content.size:
        return False
    with map_os_errors(place), open(place, "rb") as existing:
        return all(existing.read(len(block)) == block for block in all_blocks(content))


def _is_same(path: Path, place: Path) -> bool:
    return place.is_file() and path.stat().st_size == place.stat().st_size and filecmp.cmp(path, place, shallow=False)


def _taken(place: Path) -> ExistsError:
    kind, way = "there with another content", "pass overwrite=True to replace a file"
    if place.is_dir():
        kind, way = "a folder", f"to put it into that folder write {place}{os.sep}"
    return ExistsError(f"{place} is {kind}", hint=f"{way}, or choose another name; nothing was copied")
