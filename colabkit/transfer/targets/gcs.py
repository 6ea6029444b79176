"""Pushing to Google Cloud Storage: what already exists is seen by its checksum, the rest is sent side by side."""

from __future__ import annotations

import contextlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._clients import gcs
from colabkit._clients.gcs import ConditionError
from colabkit._clients.gcs.address import GcsAddress, check_name, parse
from colabkit._engine.parallel import parallel_map
from colabkit._engine.uploads.body import FileContent
from colabkit._engine.uploads.gcs import ABSENT, ONE_REQUEST, GcsUpload, Place, new_journal, upload_file
from colabkit._engine.uploads.walk import LocalFile, files_below
from colabkit._internal.disk import checksum
from colabkit._internal.disk.paths import own_name
from colabkit._internal.display.progress import progress as open_progress
from colabkit.errors import AddressError, ExistsError
from colabkit.transfer.pushing import Pushed, refuse_different

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit._clients.gcs import Api, GcsObject
    from colabkit._engine.parallel import Watch
    from colabkit._engine.uploads.body import UploadBody
    from colabkit.transfer.pushing import PushOptions

_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Sending:
    """One file that has to be sent.

    Attributes:
        file: The file.
        name: The object.
        generation: What it may replace.
    """

    file: LocalFile
    name: str
    generation: str


def push_to(target: str, source: Path | UploadBody, options: PushOptions) -> Pushed:
    """Push to a gs:// address."""
    address = parse(target)
    if address.generation:
        raise AddressError(
            f"cannot push to {address}",
            why="a generation is made by the service",
            hint="leave out the # and the number",
        )
    api = gcs.connect()
    if not isinstance(source, Path):
        if address.is_folder:
            raise AddressError(f"{address} is a folder", why="bytes have no name", hint="name the object to make")
        return _push_content(api, address, source, options)
    if address.is_folder:
        own = own_name(source)
        address = GcsAddress(bucket=address.bucket, name=f"{address.name}{own}")
    if source.is_dir():
        return _push_folder(api, address, source, options)
    check_name(address.name)
    with open_progress(source.name[:40], show=options.show) as bar:
        sent = send_file(api, address, source, bar.update, overwrite=options.overwrite)
    return Pushed(target=str(address), files=1, sent=int(sent), size=source.stat().st_size)


def send_file(api: Api, address: GcsAddress, path: Path, watch: Watch, *, overwrite: bool) -> bool:
    """Send one file unless it already exists; says whether it had to be sent."""
    stored = api.find(address.bucket, address.name)
    if stored is not None and is_same(path, stored):
        return False
    if stored is not None and not overwrite:
        raise _taken(str(address))
    generation = ABSENT if stored is None else stored.generation
    with _reporting_changes(str(address)):
        upload_file(api, _place(address.bucket, address.name, generation), path, watch)
    return True


def is_same(path: Path, stored: GcsObject) -> bool:
    """Say whether an object holds what a file holds."""
    if stored.size != path.stat().st_size or not stored.crc32c:
        return False
    return checksum.of_file(path, "crc32c").digits == stored.crc32c


def plan_folder(
    files: list[LocalFile], existing: dict[str, GcsObject], prefix: str, *, overwrite: bool
) -> list[Sending]:
    """Decide which files have to be sent, before any is.

    Args:
        files: The files below the folder.
        existing: The objects below the prefix, by their names.
        prefix: What each object's name begins with.
        overwrite: Objects that differ may be replaced.

    Raises:
        ExistsError: Objects that differ may not be replaced.
        AddressError: A file cannot be an object of its name.
    """
    sendings, different = [], []
    for file in files:
        name = prefix + file.below
        check_name(name)
        stored = existing.get(name)
        if stored is not None and is_same(file.path, stored):
            continue
        if stored is not None:
            different.append(name)
        sendings.append(Sending(file=file, name=name, generation=ABSENT if stored is None else stored.generation))
    refuse_different(different, len(files), overwrite=overwrite)
    return sendings


def _push_folder(api: Api, address: GcsAddress, folder: Path, options: PushOptions) -> Pushed:
    prefix = f"{address.name.rstrip('/')}/"
    files = files_below(folder)
    existing = {stored.name: stored for stored in api.objects(address.bucket, prefix)}
    sendings = plan_folder(files, existing, prefix, overwrite=options.overwrite)

    def send(sending: Sending, watch: Watch) -> GcsObject:
        place = _place(address.bucket, sending.name, sending.generation)
        with _reporting_changes(place.shown):
            return upload_file(api, place, sending.file.path, watch)

    parallel_map(sendings, lambda: contextlib.nullcontext(send), options.show, at_once=_AT_ONCE)
    target = f"gs://{address.bucket}/{prefix}"
    return Pushed(target=target, files=len(files), sent=len(sendings), size=sum(file.size for file in files))


def _push_content(api: Api, address: GcsAddress, content: UploadBody, options: PushOptions) -> Pushed:
    check_name(address.name)
    stored = api.find(address.bucket, address.name)
    if stored is not None and _holds(stored, content):
        return Pushed(target=str(address), files=1, sent=0, size=stored.size)
    if stored is not None and not options.overwrite:
        raise _taken(str(address))
    place = _place(address.bucket, address.name, ABSENT if stored is None else stored.generation)
    note = None
    if isinstance(content, FileContent) and content.size > ONE_REQUEST:
        note = new_journal(api, place, "", {"size": content.size, "crc32c": content.digits()})
    with _reporting_changes(place.shown), open_progress(address.name.rpartition("/")[2][:40], show=options.show) as bar:
        made = GcsUpload(api, place, content, watch=bar.update, note=note).run()
    return Pushed(target=str(address), files=1, sent=1, size=made.size)


def _holds(stored: GcsObject, content: UploadBody) -> bool:
    # A stream can be read only once, so nothing is known of it before it is sent.
    return isinstance(content, FileContent) and stored.size == content.size and stored.crc32c == content.digits()


def _place(bucket: str, name: str, generation: str) -> Place:
    kind, packed = mimetypes.guess_type(name)
    # "train.csv.gz" is a file of its own: marked as encoded it would be unpacked on arrival.
    content_type = "application/octet-stream" if packed or kind is None else kind
    return Place(bucket=bucket, name=name, generation=generation, content_type=content_type)


def _taken(display: str) -> ExistsError:
    return ExistsError(
        f"{display} is there with another content",
        hint="pass overwrite=True to replace it, or choose another name; nothing was sent",
    )


@contextlib.contextmanager
def _reporting_changes(display: str) -> Iterator[None]:
    try:
        yield
    except ConditionError:
        raise ExistsError(
            f"{display} was written by someone else in the meantime",
            why="it is no longer the object that was there when the push began",
            hint="look at what is there now, then run it again, with overwrite=True to replace it",
        ) from None
