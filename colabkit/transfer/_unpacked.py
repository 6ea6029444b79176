"""Fetching what is packed: the archive travels through the cache, the folder appears whole where it is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.files import writing_to
from colabkit._tools.log import say
from colabkit.transfer import archive
from colabkit.transfer._job import Fetched, names_folder
from colabkit.transfer._spot import Spot

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._types import StrPath
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


def unpacked_identity(identity: str) -> str:
    """Tell the folder that an archive unpacks to from the archive itself."""
    return f"{identity}\0unpacked"


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
    spot = Spot(unpacked_identity(identity), to, options)
    if known := spot.noted():
        return known
    spot.refuse_if_taken()
    with spot.locked("unpack", name):
        if known := spot.noted():
            return known
        packed = obtain()
        target = spot.target(archive.stem(packed.path.name))
        spot.refuse_if_taken(target)
        if options.show is not False:
            say("unpacking %s", packed.path.name)
        size = archive.unpack(packed.path, target, replace=True)
        if not keep and not packed.from_cache:
            with writing_to(packed.path):
                packed.path.unlink()  # its folder takes its place: a throw-away runtime has no room for both
        spot.note(target, packed.source, packed.checksum)
    return Fetched(path=target, source=packed.source, from_cache=False, checksum=packed.checksum, size=size)
