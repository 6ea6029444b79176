"""Pushing to a path: a disk of this machine, or anything that is mounted like one."""

from __future__ import annotations

import contextlib
import filecmp
import os
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.files import atomic, writing_to
from colabkit._tools.progress import progress as open_progress
from colabkit.errors import AddressError, ExistsError
from colabkit.transfer import _local
from colabkit.transfer._content import all_blocks
from colabkit.transfer._local_files import LocalFile, files_below
from colabkit.transfer._many import side_by_side
from colabkit.transfer._push import Pushed, refuse_different

if TYPE_CHECKING:
    from colabkit._tools.progress import Progress
    from colabkit.transfer._content import Content
    from colabkit.transfer._many import Watch
    from colabkit.transfer._push import PushOptions


def push_to(target: str, source: Path | Content, options: PushOptions) -> Pushed:
    """Push to a path, or into the folder that it names by a slash at its end."""
    place, inside = Path(target).expanduser(), target.endswith(("/", os.sep))
    if not isinstance(source, Path):
        if inside:
            raise AddressError(f"{place} is a folder", why="bytes have no name", do="name the file to make")
        return _push_content(place, source, options)
    if inside:
        place /= source.resolve().name
    if source.is_dir():
        return _push_folder(place, source, options)
    size = source.stat().st_size
    with open_progress(source.name[:40], show=options.show) as bar:
        sent = _copy(source, place, bar, overwrite=options.overwrite)
    return Pushed(target=str(place), files=1, sent=int(sent), size=size)


def _push_folder(place: Path, folder: Path, options: PushOptions) -> Pushed:
    if place.resolve().is_relative_to(folder.resolve()):
        raise AddressError(f"{place} lies in {folder}", do="choose a place outside of what is pushed")
    files = files_below(folder)
    with writing_to(place):
        missing = [file for file in files if not _is_same(file.path, place / file.below)]
        different = [file.below for file in missing if os.path.lexists(place / file.below)]
    refuse_different(different, len(files), overwrite=options.overwrite)

    def send(file: LocalFile, watch: Watch) -> bool:
        with open_progress(file.below, show=watch) as bar:
            return _copy(file.path, place / file.below, bar, overwrite=options.overwrite)

    side_by_side(missing, lambda: contextlib.nullcontext(send), options.show, at_once=1)  # a disk has one arm
    return Pushed(target=str(place), files=len(files), sent=len(missing), size=sum(file.size for file in files))


def _copy(path: Path, place: Path, bar: Progress, *, overwrite: bool) -> bool:
    with writing_to(place):
        if _is_same(path, place):
            return False
    if place.exists() and not (overwrite and place.is_file()):
        raise _taken(place)
    _local.copy(path, place, bar, overwrite=overwrite)
    return True


def _push_content(place: Path, content: Content, options: PushOptions) -> Pushed:
    if os.path.lexists(place):
        if content.size is not None and _holds(place, content):
            return Pushed(target=str(place), files=1, sent=0, size=content.size)
        if not (options.overwrite and place.is_file()):
            raise _taken(place)
    done = 0
    with writing_to(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    with open_progress(place.name[:40], show=options.show) as bar, atomic(place) as writer:
        for block in all_blocks(content):
            writer.write(block)
            done += len(block)
            bar.update(done, content.size)
    return Pushed(target=str(place), files=1, sent=1, size=done)


def _holds(place: Path, content: Content) -> bool:
    if not place.is_file() or place.stat().st_size != content.size:
        return False
    with writing_to(place), open(place, "rb") as there:
        return all(there.read(len(block)) == block for block in all_blocks(content))


def _is_same(path: Path, place: Path) -> bool:
    return place.is_file() and path.stat().st_size == place.stat().st_size and filecmp.cmp(path, place, shallow=False)


def _taken(place: Path) -> ExistsError:
    kind = "a folder" if place.is_dir() else "there with another content"
    return ExistsError(
        f"{place} is {kind}", do="pass overwrite=True to replace a file, or choose another name; nothing was copied"
    )
