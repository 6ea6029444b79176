"""Fetching what is packed: the archive travels through the cache, the folder appears whole where it is wanted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._archive import extraction
from colabkit._engine.fetch_task import Fetched, names_folder
from colabkit._internal.disk.files import map_os_errors, sync_folder
from colabkit._internal.log import notify
from colabkit.transfer.destination import Destination

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._engine.fetch_task import Options
    from colabkit._types import StrPath


def wants_unpacking(name: str, to: StrPath | None, options: Options) -> bool:
    """Say whether what is called `name` is to be unpacked.

    "auto" unpacks an archive unless `to` is the name of a file; a single compressed file stays as it is, as
    pandas and others read those directly.
    """
    if options.unpack is True:
        return True
    if options.unpack is False or not extraction.kind_of(name):
        return False
    return to is None or names_folder(to) or not Path(to).suffix


def unpacked_identity(identity: str) -> str:
    """Tell the folder that an archive unpacks to from the archive itself."""
    return f"{identity}\0unpacked"


def fetch_unpacked(
    identity: str,
    name: str,
    to: StrPath | None,
    options: Options,
    obtain: Callable[[], Fetched],
    *,
    keep: bool,
    lift: bool = False,
    private: bool = False,
) -> Fetched:
    """Bring an archive here and unpack it.

    Args:
        identity: Tells this source from all others.
        name: The name that the source suggests.
        to: The folder to make, or the folder to make it in.
        options: How to fetch.
        obtain: Brings the archive.
        keep: The archive is the user's own: it stays.
        lift: It holds one folder whose name nobody chose: what is in that is meant.
        private: It came by a login, and nobody else on this machine may read it.
    """
    destination = Destination(unpacked_identity(identity), to, options)
    if earlier := destination.noted():
        return earlier
    destination.refuse_if_taken()
    with destination.locked("unpack", name) as part:
        if earlier := destination.noted():
            return earlier
        packed = obtain()
        kind = extraction.kind_of(packed.path.name) or extraction.compression_of(packed.path.name)
        called = packed.path.name if kind else name  # a server may give an archive a name of its own
        if options.format and extraction.compression_of(called) != options.format:
            called = f"{called}.{options.format}"
        target = destination.target(extraction.stem(called))
        destination.refuse_if_taken(target)
        if options.show is not False:
            notify("unpacking %s", packed.path.name)
        if lift:
            size = _unpack_lifted(packed.path, target, part, called)
        else:
            size = extraction.unpack(packed.path, target, called, replace=True)
        if private:
            target.chmod(0o700 if target.is_dir() else 0o600)
        if not keep and not packed.from_cache:
            with map_os_errors(packed.path):
                packed.path.unlink()  # its folder takes its place: a throw-away runtime has no room for both
        if packed.kept or to is not None:
            destination.note(target, packed.source, packed.checksum)
    return Fetched(path=target, source=packed.source, from_cache=False, checksum=packed.checksum, size=size)


def _unpack_lifted(archive: Path, target: Path, part: Path, called: str) -> int:
    """Unpack an archive whose one folder takes the place of all."""
    with map_os_errors(part):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        size = extraction.unpack(archive, part / "all", called)
        inside = list((part / "all").iterdir())
        top = inside[0] if len(inside) == 1 and inside[0].is_dir() else part / "all"
        if target.exists():
            os.replace(target, part / "old")
        os.replace(top, target)
        sync_folder(target.parent)
    shutil.rmtree(part, ignore_errors=True)
    return size
