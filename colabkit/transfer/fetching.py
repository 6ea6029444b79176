"""fetch(): decide what is asked for and where it goes, then let the others do it."""

from __future__ import annotations

import contextlib
import glob
import operator
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast, overload

from colabkit import config
from colabkit._engine import local as _local
from colabkit._engine.fetch_task import Fetched, FetchTask, Options, names_folder
from colabkit._engine.parallel import fetch_many
from colabkit._engine.source import Folder, ParsedSource
from colabkit._internal.disk import checksum as _checksum
from colabkit._internal.disk import working_dir
from colabkit._internal.disk.files import map_os_errors
from colabkit._internal.disk.paths import expand, on_this_machine, own_name, path_text
from colabkit._internal.display.progress import progress as open_progress
from colabkit._internal.hidden_locals import hides_locals
from colabkit._internal.log import notify
from colabkit.errors import AddressError, BusyError, ColabKitError, ExistsError
from colabkit.runtime import my_drive
from colabkit.transfer.fetch_archive import fetch_unpacked, wants_unpacking
from colabkit.transfer.fetch_folder import fetch_folder, merge_folder
from colabkit.transfer.merging import Joining, merge_copied, merge_unpacked
from colabkit.transfer.sources import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._engine.fetch_task import Show
    from colabkit._engine.source import After, Placing, Source
    from colabkit._internal.disk.checksum import Checksum
    from colabkit._types import StrPath
    from colabkit.transfer.keeping import Keeper

MOST_CONNECTIONS = 64

Choice = TypeVar("Choice", bound=bool | str)


@overload
def fetch(
    source: StrPath,
    to: StrPath | None = None,
    *,
    keep: StrPath | None = None,
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
    keep: StrPath | None = None,
    checksum: Sequence[str | None] | None = None,
    unpack: bool | Literal["auto"] = "auto",
    overwrite: bool = False,
    connections: int | None = None,
    progress: Show = None,
) -> list[Path]: ...
@hides_locals
def fetch(
    source: StrPath | list[str] | list[Path] | tuple[StrPath, ...],
    to: StrPath | None = None,
    *,
    keep: StrPath | None = None,
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
        source: An https, http or gs:// address, kaggle:OWNER/DATASET or a page of kaggle.com, hf:OWNER/NAME, a Google
            Drive link, drive:PATH, github:OWNER/REPO, a path, a file: address, or a pasted line of curl, wget, aria2c,
            gdown, kaggle, gsutil, gcloud, hf, unzip, tar or 7z (it is read, never run; an option that fetch does not
            know is refused by name). A list fetches side by side.
        to: A file name, or a folder (one that exists, or a name that ends with "/"). Without it the file lies in
            the cache, which all runs share; a local path is then returned as it is.
        keep: A place that lasts, as "drive:data", "gs://BUCKET/FOLDER" or a folder: the first session puts what it
            fetched there, and later ones take it from there as long as the source is the same or cannot be asked.
            COLABKIT_KEEP names one for all; "" keeps nothing.
        checksum: What the file must have, as "sha256:HEX"; sha512, sha1, md5 and crc32c work too. For a list of
            sources a list of them, None for a file whose checksum you do not know.
        unpack: "auto" unpacks zip, tar and 7z archives to a folder of their name, unless `to` names a file; True
            unpacks single files (.gz, .bz2, .xz, .zst) too; False never.
        overwrite: Fetch again even if it is there, and replace what is at `to`.
        connections: How many connections at most; without it as many as the server likes, up to 24.
        progress: None shows a bar where one fits, False is silent, a function is called with (done, total).

    Returns:
        The path of the file, or of the folder that it was unpacked to; a list of them for a list, and the folder that
        holds them all for a pasted line that fetches several.

    Raises:
        AddressError: The source or the checksum cannot be read.
        ExistsError: Something else is at `to`, and `overwrite` is False.
        OfflineError: There is no network.
        NotFoundError: The source does not exist.
        AccessError: The source refuses access.
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
    options = Options(
        unpack=_checked("unpack", unpack, True, False, "auto"),
        overwrite=_checked("overwrite", overwrite, True, False),
        connections=_counted(connections),
        show=progress,
        keep=_keeper(keep),
    )
    if isinstance(source, list | tuple):
        place = None if to is None else f"{path_text(to).rstrip(os.sep)}{os.sep}"
        pairs = list(zip(source, _wanted_of_each(checksum, len(source)), strict=True))
        several = fetch_many(
            pairs,
            options,
            lambda one, mine: _fetch_one(one[0], place, mine if one[1] is None else replace(mine, wanted=one[1])),
        )
        _refuse_one_place(source, several)
        return [fetched.path for fetched in several]
    if not isinstance(checksum, str | None):
        raise AddressError("checksum= is a list, and there is one source", hint='pass one text, as in "sha256:HEX"')
    options = replace(options, wanted=_wanted(checksum))
    return _fetch_one(source, to, options).path


def fetch_details(
    source: StrPath,
    to: StrPath | None = None,
    *,
    keep: StrPath | None = None,
    checksum: str | None = None,
    unpack: bool | Literal["auto"] = "auto",
    overwrite: bool = False,
    connections: int | None = None,
    progress: Show = None,
    use_cache: bool = True,
    below: StrPath | None = None,
) -> Fetched:
    """Fetch like `fetch`, and tell what was done.

    Args:
        source: As in `fetch`.
        to: As in `fetch`.
        keep: As in `fetch`.
        checksum: As in `fetch`.
        unpack: As in `fetch`.
        overwrite: As in `fetch`.
        connections: As in `fetch`.
        progress: As in `fetch`.
        use_cache: Look into the cache and leave a note there; without it `to` is the present folder by default.
        below: Where a pasted command is meant to run; None is the present folder.

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
            unpack=_checked("unpack", unpack, True, False, "auto"),
            overwrite=_checked("overwrite", overwrite, True, False),
            connections=_counted(connections),
            show=progress,
            use_cache=use_cache,
            keep=_keeper(keep),
        ),
        below,
    )


def _keeper(place: StrPath | None) -> Keeper | None:
    if place is None and not os.environ.get(config.KEEP):
        return None
    from colabkit.transfer.keeping import keeper

    return keeper(place)


def _refuse_one_place(sources: Sequence[StrPath], several: list[Fetched]) -> None:
    """Tell when two sources became one file, of which only the last one is there.

    Raises:
        ExistsError: They did.
    """
    made: dict[Path, tuple[StrPath, str]] = {}
    for source, fetched in zip(sources, several, strict=True):
        before, address = made.setdefault(fetched.path, (source, fetched.source))
        if before != source:
            raise ExistsError(
                f"{address} and {fetched.source} became one file, {fetched.path}",
                why="both have the same name there, and only one of the two files is left",
                hint="fetch them into folders of their own",
            )


def _task(source: Source, to: StrPath | None, options: Options) -> Fetched:
    """Bring one file, by way of what keeps it, if something does."""
    if options.keep is not None:
        fetched: Fetched = options.keep.file(source, to, options)
        return fetched
    return FetchTask(source, to, options).run()


def _wanted(checksum: str | None) -> Checksum | None:
    return None if checksum is None else _checksum.parse(checksum)


def _wanted_of_each(checksum: str | Sequence[str | None] | None, count: int) -> list[Checksum | None]:
    if checksum is None:
        return [None] * count
    if isinstance(checksum, str) or len(checksum) != count:
        raise AddressError(
            f"checksum= does not fit the {count} sources",
            why="a list of sources takes a list with one checksum for each, in the same order",
            hint="put None for those that you do not know",
        )
    return [_wanted(one) for one in checksum]


def _counted(connections: int | None) -> int | None:
    if connections is None:
        return None
    with contextlib.suppress(TypeError):
        if 1 <= (number := operator.index(connections)) <= MOST_CONNECTIONS:
            return number
    raise AddressError(f"connections={connections!r} is not between 1 and {MOST_CONNECTIONS}", hint="pass a number")


def _checked(name: str, value: Choice, *choices: Choice) -> Choice:
    """Return an option; a text that it does not have would count as true, and so would "no"."""
    if isinstance(value, str) and value not in choices:
        raise AddressError(f"{name}={value!r} means nothing", hint=f"pass {' or '.join(map(repr, choices))}")
    return value


def _fetch_one(source: StrPath, to: StrPath | None, options: Options, below: StrPath | None = None) -> Fetched:
    text = path_text(source)
    if not text.strip() or "\0" in text:
        raise AddressError("there is no source", why="it is empty, or no text", hint="pass an address or a path")
    if to:
        on_this_machine(to, 'fetch it to this machine, then ck.push(PATH, "{}")')
    # A Path is a path, whatever it looks like.
    order = registry.open_source(text) if isinstance(source, str) else _local.open_source(text)
    if below is not None:
        order = order.inside(os.fspath(below))
    if order.more:
        return _fetch_line([replace(order, more=()), *order.more], to, options)
    return _fetch_with_steps(order, to, options)


def _fetch_line(orders: list[ParsedSource], to: StrPath | None, options: Options) -> Fetched:
    """Fetch all that one pasted line fetches, and return the folder that holds it."""
    if options.wanted is not None:
        raise AddressError(
            f"checksum= is one, and the pasted line fetches {len(orders)} files",
            hint="pass a list of addresses, with a list of checksums",
        )
    place = None if to is None else f"{path_text(to).rstrip(os.sep)}{os.sep}"
    if place is None and any(order.after for order in orders):
        done = [_fetch_with_steps(order, None, options) for order in orders]  # one may need the place of another
    else:
        done = fetch_many(orders, options, lambda order, mine: _fetch_with_steps(order, place, mine))
    folder = Path(os.path.commonpath([one.path.parent.absolute() for one in done]))
    return Fetched(
        path=folder if place is None else expand(place),
        source=", ".join(dict.fromkeys(one.source for one in done)),
        from_cache=all(one.from_cache for one in done),
        checksum="",
        size=sum(one.size for one in done),
    )


def _fetch_with_steps(order: ParsedSource, to: StrPath | None, options: Options) -> Fetched:
    if order.note:
        notify(order.note)
    if order.checksum and options.wanted is None:
        options = replace(options, wanted=_wanted(order.checksum))
    if order.again:
        options = replace(options, overwrite=True)
    named = to is not None
    try:
        fetched = _fetch_order(order, to, options)
    except ColabKitError as error:
        if order.note and "certificate" in f"{error}".lower():
            error.add_note(order.note)
        raise
    # Who names another place gets an archive unpacked there, as for an address.
    for step in () if named else order.after:
        fetched = replace(_unpacked_after(step, options), source=fetched.source)
    return fetched


def _fetch_order(order: ParsedSource, to: StrPath | None, options: Options) -> Fetched:
    if to is None and order.to is not None:
        my_drive.refuse_unmounted(expand(order.to))
        unpack = options.unpack if order.unpack is None or options.unpack != "auto" else order.unpack
        place, options = place_of(order), replace(options, unpack=unpack, format=_single(order))
        if options.unpack is True and order.unpack is False and order.placing == "file":
            from colabkit._archive.extraction import stem

            place = stem(place)  # the command names the archive, and the user wants what is in it
        if order.placing == "contents" and unpack is not False:
            fetched = _fetch_contents(order, expand(order.to), options)
            return replace(fetched, path=fetched.path / order.result)
        if order.existing == "keep" and (kept := _kept(order, place)) is not None:
            return kept
        if order.existing == "replace" and not options.overwrite:
            with contextlib.suppress(ExistsError):
                return _fetch_source(order, place, options)
            options = replace(options, overwrite=True)
        return _fetch_source(order, place, options)
    return _fetch_source(order, to, options)


def _single(order: ParsedSource) -> str:
    """Return the compression that a command takes off one file, if it is such a command."""
    return order.format if order.unpack is True and order.placing in ("file", "as named") else ""


def _kept(order: ParsedSource, place: str) -> Fetched | None:
    """Return the file that a command leaves alone because it is there."""
    path = expand(place)
    name = "" if isinstance(order.source, Path) else order.source.name
    path = path / name if order.placing == "folder" or path.is_dir() else path
    if not path.is_file():
        return None
    notify("%s already exists, and stays as it is", path)
    return Fetched(path=path, source=str(path), from_cache=True, checksum="", size=path.stat().st_size)


def _fetch_source(order: ParsedSource, to: StrPath | None, options: Options) -> Fetched:
    if to == "-":
        raise AddressError(
            'to="-" is no place', why="nothing is shown on the screen", hint='for such a file write "./-"'
        )
    if to is not None or not options.use_cache:
        working_dir.absolute(to or ".")  # refuses a relative place where the working folder is gone
    if to:
        my_drive.refuse_unmounted(expand(to))
    source = order.source
    if isinstance(source, Path):
        return _fetch_path(source, to, options)
    if not options.overwrite and (path := source.here()) is not None:
        notify("%s is on this machine already, in %s", source.shown, path)
        return replace(_fetch_path(path, to, options), source=source.shown, from_cache=True)
    fetched: Fetched
    if not hasattr(source, "entries"):  # isinstance of a protocol takes a tenth of the time of a small file
        fetched = _fetch_file_or_copy(source, to, options)
    elif options.keep is not None:
        fetched = options.keep.folder(cast("Folder", source), to, options)
    else:
        fetched = fetch_folder(cast("Folder", source), to, options)
    if to is None and not fetched.from_cache and options.use_cache and hasattr(source, "arrived"):
        source.arrived(fetched.path)
    return fetched


def _unpacked_after(step: After, options: Options) -> Fetched:
    """Unpack what has come, as the next command of a pasted line does."""
    if glob.has_magic(step.archive) and not os.path.lexists(expand(step.archive)):
        fitting = sorted(glob.glob(str(expand(step.archive))))  # noqa: PTH207 - the pattern may be absolute
        each = [replace(step, archive=one, to=os.path.splitext(one)[0] if step.single else step.to) for one in fitting]  # noqa: PTH122
        if each:
            return [_unpacked_after(one, options) for one in each][-1]
    archive = expand(step.archive)
    if step.format == "zip" and not archive.exists():  # as unzip looks for it
        archive = next((path for end in (".zip", ".ZIP") if (path := Path(f"{archive}{end}")).is_file()), archive)
    placing: Placing = "file" if step.single else "contents"
    order = ParsedSource(
        source=archive,
        to=step.to,
        placing=placing,
        unpack=True,
        format=step.format,
        existing=step.existing,
        strip=step.strip,
        members=step.members,
    )
    fetched = _fetch_order(order, None, replace(options, wanted=None, unpack="auto"))
    if step.remove:
        with map_os_errors(archive):
            archive.unlink(missing_ok=True)
    return fetched


def place_of(order: ParsedSource) -> str:
    """Return where a command puts what it fetches, as `to=` understands it.

    Raises:
        ExistsError: It names a file, and a folder is there.
    """
    to = order.to or "."
    if order.placing == "file" and expand(to).is_dir():
        raise _local.taken(Path(to), folder=True)
    return f"{to.rstrip(os.sep) or os.sep}{os.sep}" if order.placing in ("folder", "contents") else to


def _fetch_contents(order: ParsedSource, folder: Path, options: Options) -> Fetched:
    """Bring what is in an archive, or below a folder, straight into a folder of this machine."""
    origin = order.source
    local = origin if isinstance(origin, Path) else None if options.overwrite else origin.here()
    how = Joining(format=order.format, strip=order.strip, members=order.members, existing=order.existing)
    if local is not None:
        _local.check(local, options.wanted)
        if local.is_dir():
            return merge_copied(local, folder, options, how)
        status = local.stat()
        identity = f"{local.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
        return merge_unpacked(
            identity, str(local), folder, options, how, lambda: _copied(local, None, options), keep=True
        )
    if isinstance(origin, Folder):
        if options.keep is not None and options.use_cache:
            kept: Fetched = options.keep.folder(origin, None, options)
            return replace(
                merge_copied(kept.path, folder, options, how), source=kept.source, from_cache=kept.from_cache
            )
        return merge_folder(origin, folder, options, how)
    source = cast("Source", origin)
    place = None if options.use_cache else f"{folder}{os.sep}"
    return merge_unpacked(
        source.identity,
        source.shown,
        folder,
        options,
        how,
        lambda: _task(source, place, options),
        keep=False,
    )


def _fetch_file_or_copy(source: Source, to: StrPath | None, options: Options) -> Fetched:
    """Fetch a file; where too many have fetched it, by way of a copy of one's own, if its source knows that way."""
    try:
        return _fetch_file(source, to, options)
    except BusyError:
        if not hasattr(source, "own_copy"):
            raise
        with source.own_copy() as copied:
            if not copied:
                raise
            return _fetch_file(source, to, options)


def _fetch_file(source: Source, to: StrPath | None, options: Options) -> Fetched:
    if wants_unpacking(source.name, to, options):
        place = None if options.use_cache else f".{os.sep}" if to is None else f"{Path(to).parent}{os.sep}"
        return fetch_unpacked(
            source.identity,
            source.name,
            to,
            options,
            lambda: _task(source, place, options),
            keep=False,
            lift=getattr(source, "lone_folder", False),
            private=to is None and getattr(source, "private", False),
        )
    if to is None and not options.use_cache:
        to = f".{os.sep}"
    return _task(source, to, options)


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
        target = expand(to)
        if names_folder(to):
            target /= own_name(path)
        done = wanted is not None and target.is_file() and _checksum.of_file(target, wanted.algorithm) == wanted
        if not done:
            with open_progress(path.name, show=options.show) as bar:
                _local.copy(path, target, bar, overwrite=options.overwrite)
    size = target.stat().st_size if target.is_file() else 0
    return Fetched(path=target, source=str(path), from_cache=to is None, checksum=str(wanted or ""), size=size)
