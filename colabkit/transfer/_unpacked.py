"""Fetching what is packed: the archive travels through the cache, the folder appears whole where it is wanted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.files import writing_to
from colabkit._tools.log import say
from colabkit.transfer import _local, archive, cache
from colabkit.transfer._job import Fetched, locked, names_folder
from colabkit.transfer.base import key

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._types import StrPath
    from colabkit.transfer._checksum import Checksum
    from colabkit.transfer._job import Options


def wants_unpacking(name: str, to: StrPath | None, options: Options) -> bool:
    """Say whether what is called `name` is to be unpacked.

    "auto" unpacks an archive unless `to` is the name of a file; a single compressed file stays as it is, as
    pandas and others read those directly.
    """
    if options.unpack is True:
        return True
    if options.unpack is False or not archive.kind_of(name):
        return False
    return to is None or names_folder(to) or not Path(to).suffix


def fetch_unpacked(
    identity: str, name: str, to: StrPath | None, options: Options, obtain: Callable[[], Fetched], *, keep: bool
) -> Fetched:
    """Bring an archive here and unpack it.

    Args:
        identity: Tells this source from all others.
        name: The name that the source suggests.
        to: The folder to make, or the folder to make it in.
        options: How to fetch.
        obtain: Brings the archive.
        keep: The archive is the user's own: it stays.
    """
    identity = f"{identity}\0unpacked"
    inside = to is None or names_folder(to)
    if to is None:
        folder = cache.home(identity) if options.use_cache else Path()
    else:
        folder = Path(to).expanduser() if inside else Path(to).expanduser().parent
    wanted_name = key(identity) if inside else Path(to or "").name
    if not options.overwrite and (known := _noted(identity, to, options)):
        return known
    if not inside and to is not None:
        _refuse_if_taken(Path(to).expanduser(), identity, to, options)
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f".{wanted_name[:100]}.part-unpack", name):
        if not options.overwrite and (known := _noted(identity, to, options)):
            return known
        packed = obtain()
        target = folder / archive.stem(packed.path.name) if inside else folder / wanted_name
        if to is not None:
            _refuse_if_taken(target, identity, to, options)
        if options.show is not False:
            say("unpacking %s", packed.path.name)
        size = archive.unpack(packed.path, target, replace=True)
        if not keep and not packed.from_cache:
            with writing_to(packed.path):
                packed.path.unlink()  # its folder takes its place: a throw-away runtime has no room for both
        if options.use_cache:
            cache.note(identity, to, target, packed.source, _checksum(packed))
    return Fetched(path=target, source=packed.source, from_cache=False, checksum=packed.checksum, size=size)


def _noted(identity: str, to: StrPath | None, options: Options) -> Fetched | None:
    receipt = cache.find(identity, to) if options.use_cache else None
    if receipt is None or not receipt.holds(options.wanted):
        return None
    checksum = next((f"{name}:{digits}" for name, digits in receipt.checksums.items()), "")
    return Fetched(path=receipt.path, source=receipt.source, from_cache=True, checksum=checksum, size=receipt.size)


def _refuse_if_taken(target: Path, identity: str, to: StrPath, options: Options) -> None:
    """Leave alone what is not ours: even overwrite=True replaces only a folder that a fetch of this source made."""
    if not os.path.lexists(target):
        return
    receipt = cache.find(identity, to) if options.use_cache else None
    ours = receipt is not None and receipt.path == target.absolute() and receipt.holds(None)
    if not (options.overwrite and (ours or target.is_file())):
        raise _local.taken(target, folder=target.is_dir())


def _checksum(packed: Fetched) -> Checksum | None:
    from colabkit.transfer._checksum import parse

    return parse(packed.checksum) if packed.checksum else None
