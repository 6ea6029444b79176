"""fetch(): decide what is asked for and where it goes, then let the others do it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, overload

from colabkit._tools.log import say
from colabkit._tools.progress import progress as open_progress
from colabkit.errors import AddressError
from colabkit.transfer import _checksum, _local, _sources
from colabkit.transfer._folder import fetch_folder
from colabkit.transfer._job import Fetched, Job, Options, names_folder
from colabkit.transfer._many import fetch_many
from colabkit.transfer._unpacked import fetch_unpacked, wants_unpacking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._types import StrPath
    from colabkit.transfer._checksum import Checksum
    from colabkit.transfer._job import Show
    from colabkit.transfer.base import Folder, Source

MOST_CONNECTIONS = 64


@overload
def fetch(
    source: StrPath,
    to: StrPath | None = None,
    *,
    checksum: str | None = None,
    unpack: bool | Literal["auto"] = "auto",
    overwrite: bool = False,
    connections: int | None = None,
    progress: Show = None,
) -> Path: ...
@overload
def fetch(
    source: list[str] | list[Path] | tuple[StrPath, ...],
    to: StrPath | None = None,
    *,
    checksum: Sequence[str | None] | None = None,
    unpack: bool | Literal["auto"] = "auto",
    overwrite: bool = False,
    connections: int | None = None,
    progress: Show = None,
) -> list[Path]: ...
def fetch(
    source: StrPath | list[str] | list[Path] | tuple[StrPath, ...],
    to: StrPath | None = None,
    *,
    checksum: str | Sequence[str | None] | None = None,
    unpack: bool | Literal["auto"] = "auto",
    overwrite: bool = False,
    connections: int | None = None,
    progress: Show = None,
) -> Path | list[Path]:
    """Fetch a file and return its path; the second call finds it there and needs no network.

    The file appears at its final name only when it is complete and verified. A fetch that was interrupted, by
    Ctrl-C, a kill or the network, goes on where it stopped when the same line runs again, as long as the file at
    the source is still the same one; it starts over otherwise.

    Args:
        source: An https, http or gs:// address, kaggle:OWNER/DATASET or a page of kaggle.com, a Google Drive link,
            drive:PATH, a path, a file: address, or a pasted curl, wget, kaggle, gsutil or gcloud command (it is
            read, never run; an option that fetch does not know is refused by name). A list fetches side by side.
        to: A file name, or a folder (one that exists, or a name that ends with "/"). Without it the file lies in
            the cache, which all runs share; a local path is then returned as it is.
        checksum: What the file must have, as "sha256:HEX"; sha1, md5 and crc32c work too. For a list of sources a
            list of them, None for a file whose checksum you do not know.
        unpack: "auto" unpacks zip, tar and 7z archives to a folder of their name, unless `to` names a file; True
            unpacks single files (.gz, .bz2, .xz, .zst) too; False never.
        overwrite: Fetch again even if it is there, and replace what is at `to`.
        connections: How many connections at most; without it as many as the server likes, up to 24.
        progress: None shows a bar where one fits, False is silent, a function is called with (done, total).

    Returns:
        The path of the file, or of the folder that it was unpacked to; a list of them for a list.

    Raises:
        AddressError: The source or the checksum cannot be read.
        ExistsError: Something else is at `to`, and `overwrite` is False.
        OfflineError: There is no network.
        NotFoundError: The source does not exist.
        AccessError: The source refuses us.
        IntegrityError: The bytes are not the ones that were promised.
        WebPageError: A web page came instead of a file.
        TransferError: Anything else on the way; what arrived is kept for the next try.
        ArchiveError: The archive is damaged, or holds a member that would do harm.
        DiskFullError: There is no room.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "digits.csv").write_text("7,0,0")
        >>> fetch(folder / "digits.csv", to=folder / "copy.csv").read_text()
        '7,0,0'
    """
    options = Options(unpack=unpack, overwrite=overwrite, connections=_counted(connections), show=progress)
    if isinstance(source, list | tuple):
        place = None if to is None else f"{os.fspath(to).rstrip(os.sep)}{os.sep}"
        pairs = list(zip(source, _wanted_of_each(checksum, len(source)), strict=True))
        several = fetch_many(pairs, options, lambda one, mine: _fetch_one(one[0], place, replace(mine, wanted=one[1])))
        return [fetched.path for fetched in several]
    if not isinstance(checksum, str | None):
        raise AddressError("checksum= is a list, and there is one source", do='pass one text, as in "sha256:HEX"')
    options = replace(options, wanted=_wanted(checksum))
    return _fetch_one(source, to, options).path


def fetch_details(
    source: StrPath,
    to: StrPath | None = None,
    *,
    checksum: str | None = None,
    unpack: bool | Literal["auto"] = "auto",
    overwrite: bool = False,
    connections: int | None = None,
    progress: Show = None,
    use_cache: bool = True,
) -> Fetched:
    """Fetch like `fetch`, and tell what was done.

    Args:
        source: As in `fetch`.
        to: As in `fetch`.
        checksum: As in `fetch`.
        unpack: As in `fetch`.
        overwrite: As in `fetch`.
        connections: As in `fetch`.
        progress: As in `fetch`.
        use_cache: Look into the cache and leave a note there; without it `to` is the present folder by default.

    Returns:
        The path, and where it came from.

    Raises:
        ColabKitError: As in `fetch`.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     fetch_details(file.name).from_cache
        True
    """
    return _fetch_one(
        source,
        to,
        Options(
            wanted=_wanted(checksum),
            unpack=unpack,
            overwrite=overwrite,
            connections=_counted(connections),
            show=progress,
            use_cache=use_cache,
        ),
    )


def _wanted(checksum: str | None) -> Checksum | None:
    return None if checksum is None else _checksum.parse(checksum)


def _wanted_of_each(checksum: str | Sequence[str | None] | None, count: int) -> list[Checksum | None]:
    if checksum is None:
        return [None] * count
    if isinstance(checksum, str) or len(checksum) != count:
        raise AddressError(
            f"checksum= does not fit the {count} sources",
            why="a list of sources takes a list with one checksum for each, in the same order",
            do="put None for those that you do not know",
        )
    return [_wanted(one) for one in checksum]


def _counted(connections: int | None) -> int | None:
    if connections is not None and not 1 <= connections <= MOST_CONNECTIONS:
        raise AddressError(f"connections={connections} is not between 1 and {MOST_CONNECTIONS}")
    return connections


def _fetch_one(source: StrPath, to: StrPath | None, options: Options) -> Fetched:
    text = os.fspath(source)
    if not text.strip() or "\0" in text:
        raise AddressError("the source is empty or no text", do="pass an address or a path")
    # A Path is a path, whatever it looks like.
    order = _sources.open_source(text) if isinstance(source, str) else _local.open_source(text)
    if to is None and order.to is not None:
        unpack = options.unpack if order.unpack is None or options.unpack != "auto" else order.unpack
        to, options = order.to, replace(options, unpack=unpack)
    found = order.source
    if isinstance(found, Path):
        return _fetch_path(found, to, options)
    if not options.overwrite and (path := found.here()) is not None:
        say("%s is on this machine already, in %s", found.shown, path)
        return replace(_fetch_path(path, to, options), source=found.shown, from_cache=True)
    if hasattr(found, "entries"):  # isinstance of a protocol takes a tenth of the time of a small file
        return fetch_folder(cast("Folder", found), to, options)
    return _fetch_file(found, to, options)


def _fetch_file(source: Source, to: StrPath | None, options: Options) -> Fetched:
    if wants_unpacking(source.name, to, options):
        place = None if options.use_cache else f".{os.sep}" if to is None else f"{Path(to).parent}{os.sep}"
        return fetch_unpacked(
            source.identity, source.name, to, options, lambda: Job(source, place, options).run(), keep=False
        )
    if to is None and not options.use_cache:
        to = f".{os.sep}"
    return Job(source, to, options).run()


def _fetch_path(path: Path, to: StrPath | None, options: Options) -> Fetched:
    _local.check(path, options.wanted)
    if not path.is_dir() and (to is not None or options.unpack is True) and wants_unpacking(path.name, to, options):
        status = path.stat()
        identity = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
        here = replace(options, unpack=False)
        return fetch_unpacked(identity, path.name, to, options, lambda: _copied(path, None, here), keep=True)
    return _copied(path, to, options)


def _copied(path: Path, to: StrPath | None, options: Options) -> Fetched:
    target, wanted = path, options.wanted
    if to is not None:
        target = Path(to).expanduser()
        if names_folder(to):
            target /= path.resolve().name
        done = wanted is not None and target.is_file() and _checksum.of_file(target, wanted.algorithm) == wanted
        if not done:
            with open_progress(path.name, show=options.show) as bar:
                _local.copy(path, target, bar, overwrite=options.overwrite)
    size = target.stat().st_size if target.is_file() else 0
    return Fetched(path=target, source=str(path), from_cache=to is None, checksum=str(wanted or ""), size=size)
