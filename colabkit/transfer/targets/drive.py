"""Pushing to Google Drive by the storage that knows its habits: on the mount few large writes, elsewhere uploads."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from colabkit._engine.parallel import parallel_map
from colabkit._engine.uploads.body import all_blocks
from colabkit._engine.uploads.walk import LocalFile, files_below
from colabkit._internal.disk.files import map_os_errors
from colabkit._internal.disk.paths import own_name
from colabkit._internal.display.progress import progress as open_progress
from colabkit._internal.log import notify
from colabkit.errors import AddressError, ChangedError, ExistsError
from colabkit.runtime import my_drive
from colabkit.storage import check_name
from colabkit.storage.drive import DriveStorage, open_drive
from colabkit.transfer.pushing import Pushed, refuse_different

if TYPE_CHECKING:
    from colabkit._engine.parallel import Watch
    from colabkit._engine.uploads.body import UploadBody
    from colabkit.storage.gdrive import DriveApiStorage
    from colabkit.storage.local import LocalStorage
    from colabkit.transfer.pushing import PushOptions

_EXPECTED = "write it as drive:FOLDER/NAME, or drive:FOLDER/ to put it into that folder"


def push_to(target: str, source: Path | UploadBody, options: PushOptions) -> Pushed:
    """Push to a drive: address; the mount takes it at once, and Drive has it some time later."""
    target = target.strip()
    my_drive.place_of(target)
    path = target.partition(":")[2]
    inside = path.endswith("/")
    folder, _, name = path.rstrip("/").rpartition("/") if not inside else (path.rstrip("/"), "", "")
    if inside and not isinstance(source, Path):
        raise AddressError(f"{target} is a folder", why="bytes have no name", hint="name the file to make")
    if inside and isinstance(source, Path):
        name = own_name(source)
    if not folder or not name:
        raise AddressError(f"cannot read the address {target[:200]!r}", why="it names no folder", hint=_EXPECTED)
    storage = open_drive(folder)
    made = f"drive:{folder}/{name}"
    if isinstance(source, Path) and source.is_dir():
        pushed = _push_folder(storage, name, source, options)
    elif isinstance(source, Path):
        pushed = _push_file(storage, name, source, options)
    else:
        pushed = _push_content(storage, name, source, options)
    if pushed.sent and options.show is not False and isinstance(storage, DriveStorage):
        place = str(storage.root / name)
        notify("%s is on its way to Drive; drive.uploaded(%r) says when it is there", made, place)
    return Pushed(target=made, files=pushed.files, sent=pushed.sent, size=pushed.size)


def _push_file(storage: LocalStorage | DriveApiStorage, name: str, source: Path, options: PushOptions) -> Pushed:
    size = source.stat().st_size
    check_name(name)
    if _state(storage, name, source) == "same":
        return Pushed(target=name, files=1, sent=0, size=size)
    with open_progress(source.name[:40], show=options.show) as bar:
        _put(storage, name, source, bar.update, overwrite=options.overwrite)
    return Pushed(target=name, files=1, sent=1, size=size)


def _push_content(
    storage: LocalStorage | DriveApiStorage, name: str, content: UploadBody, options: PushOptions
) -> Pushed:
    # Through this machine's own disk: a mount that takes a stream in small pieces uploads half of it.
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "content"
        with map_os_errors(path), path.open("wb") as writer:
            for block in all_blocks(content):
                writer.write(block)
        return _push_file(storage, name, path, options)


def _push_folder(storage: LocalStorage | DriveApiStorage, name: str, folder: Path, options: PushOptions) -> Pushed:
    files = files_below(folder)
    for file in files:
        check_name(f"{name}/{file.below}")
        if not file.size:
            notify(
                "%s is left out: it is empty, and Drive shows empty files only when they are not there yet", file.path
            )
    files = [file for file in files if file.size]
    states = [_state(storage, f"{name}/{file.below}", file.path) for file in files]
    missing = [file for file, state in zip(files, states, strict=True) if state != "same"]
    different = [file.below for file, state in zip(files, states, strict=True) if state == "different"]
    refuse_different(different, len(files), overwrite=options.overwrite)

    def send(file: LocalFile, watch: Watch) -> bool:
        _put(storage, f"{name}/{file.below}", file.path, watch, overwrite=options.overwrite)
        return True

    parallel_map(missing, lambda: contextlib.nullcontext(send), options.show, at_once=1)
    return Pushed(target=name, files=len(files), sent=len(missing), size=sum(file.size for file in files))


def _put(storage: LocalStorage | DriveApiStorage, name: str, path: Path, watch: Watch, *, overwrite: bool) -> None:
    try:
        storage.put(name, path, only_if=None if overwrite else "absent", progress=watch)
    except ChangedError:
        raise ExistsError(
            f"{storage.address}/{name} is there with another content",
            hint="pass overwrite=True to replace it, or choose another name; nothing was copied",
        ) from None


def _state(storage: LocalStorage | DriveApiStorage, name: str, path: Path) -> Literal["same", "different", "absent"]:
    """Compare a file with what the storage has under a name."""
    stored = storage.entry(name)
    if stored is None:
        return "absent"
    if stored.size != path.stat().st_size:
        return "different"
    return "same" if storage.holds(name, path) else "different"
