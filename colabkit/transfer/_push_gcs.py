"""Pushing to Google Cloud Storage: what is there already is seen by its checksum, the rest is sent side by side."""

from __future__ import annotations

import contextlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.progress import progress as open_progress
from colabkit.errors import AddressError, ExistsError
from colabkit.transfer import _checksum, _gcs_api
from colabkit.transfer._content import FileContent, open_file, open_stream
from colabkit.transfer._gcs import GcsAddress, check_name, parse
from colabkit.transfer._gcs_api import ConditionError
from colabkit.transfer._gcs_upload import ONE_REQUEST, GcsUpload, Place
from colabkit.transfer._local_files import LocalFile, files_below
from colabkit.transfer._many import side_by_side
from colabkit.transfer._push import Pushed, refuse_different
from colabkit.transfer._upload_note import Note, marks_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit.transfer._content import Content
    from colabkit.transfer._gcs_api import Api, GcsObject
    from colabkit.transfer._many import Watch
    from colabkit.transfer._push import PushOptions

_AT_ONCE = 8
ABSENT = "0"
"""The generation of an object that is not there."""


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


def push_to(target: str, source: Path | Content, options: PushOptions) -> Pushed:
    """Push to a gs:// address."""
    address = parse(target)
    if address.generation:
        raise AddressError(
            f"cannot push to {address}", why="a generation is made by the service", do="leave out the # and the number"
        )
    api = _gcs_api.connect()
    if not isinstance(source, Path):
        if address.is_folder:
            raise AddressError(f"{address} is a folder", why="bytes have no name", do="name the object to make")
        return _push_content(api, address, source, options)
    if address.is_folder:
        own = source.resolve().name
        address = GcsAddress(bucket=address.bucket, name=f"{address.name}{own}")
    if source.is_dir():
        return _push_folder(api, address, source, options)
    check_name(address.name)
    with open_progress(source.name[:40], show=options.show) as bar:
        sent = send_file(api, address, source, bar.update, overwrite=options.overwrite)
    return Pushed(target=str(address), files=1, sent=int(sent), size=source.stat().st_size)


def send_file(api: Api, address: GcsAddress, path: Path, watch: Watch, *, overwrite: bool) -> bool:
    """Send one file unless it is there already; says whether it had to be sent."""
    found = api.find(address.bucket, address.name)
    if found is not None and is_same(path, found):
        return False
    if found is not None and not overwrite:
        raise _taken(str(address))
    generation = ABSENT if found is None else found.generation
    with _told(str(address)):
        upload_file(api, _place(address.bucket, address.name, generation), path, watch)
    return True


def upload_file(api: Api, place: Place, path: Path, watch: Watch) -> GcsObject:
    """Send one file to a place; a large one can be gone on with by another process.

    Raises:
        ConditionError: The place holds another generation than it may.
        TransferError: Or one of its kinds.
    """
    content = open_file(path, "crc32c")
    note = None
    try:
        if content.size > ONE_REQUEST:
            note = _note(api, place, str(path.absolute()), marks_of(path))
        return GcsUpload(api, place, content, watch=watch, note=note).run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what arrived is kept; run the same again to go on" if note else "") from None
    finally:
        content.close()


def upload_bytes(api: Api, place: Place, content: bytes, watch: Watch) -> GcsObject:
    """Send bytes to a place.

    Raises:
        ConditionError: The place holds another generation than it may.
        TransferError: Or one of its kinds.
    """
    return GcsUpload(api, place, open_stream(content, "crc32c"), watch=watch).run()


def is_same(path: Path, found: GcsObject) -> bool:
    """Say whether an object holds what a file holds."""
    if found.size != path.stat().st_size or not found.crc32c:
        return False
    return _checksum.of_file(path, "crc32c").digits == found.crc32c


def plan_folder(files: list[LocalFile], there: dict[str, GcsObject], prefix: str, *, overwrite: bool) -> list[Sending]:
    """Decide which files have to be sent, before any is.

    Args:
        files: The files below the folder.
        there: The objects below the prefix, by their names.
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
        found = there.get(name)
        if found is not None and is_same(file.path, found):
            continue
        if found is not None:
            different.append(name)
        sendings.append(Sending(file=file, name=name, generation=ABSENT if found is None else found.generation))
    refuse_different(different, len(files), overwrite=overwrite)
    return sendings


def _push_folder(api: Api, address: GcsAddress, folder: Path, options: PushOptions) -> Pushed:
    prefix = f"{address.name.rstrip('/')}/"
    files = files_below(folder)
    there = {found.name: found for found in api.objects(address.bucket, prefix)}
    sendings = plan_folder(files, there, prefix, overwrite=options.overwrite)

    def send(sending: Sending, watch: Watch) -> GcsObject:
        place = _place(address.bucket, sending.name, sending.generation)
        with _told(place.shown):
            return upload_file(api, place, sending.file.path, watch)

    side_by_side(sendings, lambda: contextlib.nullcontext(send), options.show, at_once=_AT_ONCE)
    target = f"gs://{address.bucket}/{prefix}"
    return Pushed(target=target, files=len(files), sent=len(sendings), size=sum(file.size for file in files))


def _push_content(api: Api, address: GcsAddress, content: Content, options: PushOptions) -> Pushed:
    check_name(address.name)
    found = api.find(address.bucket, address.name)
    if found is not None and _holds(found, content):
        return Pushed(target=str(address), files=1, sent=0, size=found.size)
    if found is not None and not options.overwrite:
        raise _taken(str(address))
    place = _place(address.bucket, address.name, ABSENT if found is None else found.generation)
    note = None
    if isinstance(content, FileContent) and content.size > ONE_REQUEST:
        note = _note(api, place, "", {"size": content.size, "crc32c": content.digits()})
    with _told(place.shown), open_progress(address.name.rpartition("/")[2][:40], show=options.show) as bar:
        made = GcsUpload(api, place, content, watch=bar.update, note=note).run()
    return Pushed(target=str(address), files=1, sent=1, size=made.size)


def _note(api: Api, place: Place, name: str, marks: Mapping[str, int | str]) -> Note:
    target = f"{api.endpoint}/{place.bucket}/{place.name}"
    return Note(name, {**marks, "generation": place.generation}, target)


def _holds(found: GcsObject, content: Content) -> bool:
    # A stream can be read only once, so nothing is known of it before it is sent.
    return isinstance(content, FileContent) and found.size == content.size and found.crc32c == content.digits()


def _place(bucket: str, name: str, generation: str) -> Place:
    kind, packed = mimetypes.guess_type(name)
    # "train.csv.gz" is a file of its own: marked as encoded it would be unpacked on arrival.
    content_type = "application/octet-stream" if packed or kind is None else kind
    return Place(bucket=bucket, name=name, generation=generation, content_type=content_type)


def _taken(shown: str) -> ExistsError:
    return ExistsError(
        f"{shown} is there with another content",
        do="pass overwrite=True to replace it, or choose another name; nothing was sent",
    )


@contextlib.contextmanager
def _told(shown: str) -> Iterator[None]:
    try:
        yield
    except ConditionError:
        raise ExistsError(
            f"{shown} was written by someone else meanwhile",
            why="it is not the object any more that was there when the push began",
            do="look at what is there now, then run the same again, with overwrite=True to replace it",
        ) from None
