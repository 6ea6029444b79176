"""Pushing to Kaggle: a new version of a dataset, or a submission to a competition.

The files travel first, side by side, and go on in another process where they stopped. One call then makes a version, or
submits, of them all.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile
import zipfile
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._tools.files import writing_to
from colabkit._tools.log import say
from colabkit.errors import AddressError, NotFoundError, TransferError
from colabkit.transfer._content import FileContent, all_blocks, open_file
from colabkit.transfer._kaggle_api import KaggleApi
from colabkit.transfer._kaggle_asked import Asked
from colabkit.transfer._kaggle_handle import parse
from colabkit.transfer._kaggle_metadata import METADATA, read_metadata
from colabkit.transfer._kaggle_upload import ALGORITHM, Item, KaggleUpload, error_of, of_content, of_file
from colabkit.transfer._local_files import files_below
from colabkit.transfer._many import side_by_side
from colabkit.transfer._push import Pushed
from colabkit.transfer._upload_note import Note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit.transfer._api import Reply
    from colabkit.transfer._content import Content
    from colabkit.transfer._kaggle_handle import Handle
    from colabkit.transfer._kaggle_upload import Start
    from colabkit.transfer._many import Watch
    from colabkit.transfer._push import PushOptions

MOST_FILES = 50
"""Files that a version takes one by one; more travel as one archive, which Kaggle unpacks (kagglehub does so too)."""

_AT_ONCE = 4
_CLOCKS = 300.0
"""Seconds that our clock and Kaggle's may differ."""


def push_to(target: str, source: Path | Content, options: PushOptions) -> Pushed:
    """Push to a dataset or a competition."""
    handle = parse(target)
    if handle.kind not in ("datasets", "competitions") or handle.version is not None:
        raise AddressError(
            f"cannot push to {handle}",
            why="a push makes the next version of a dataset, or a submission",
            do="write kaggle:OWNER/DATASET or kaggle:competitions/NAME, without a version",
        )
    with contextlib.ExitStack() as stack:
        files, items = _items(handle, source, stack)
        api = KaggleApi(handle, verb="push")
        asked = Asked(handle, items, options.message)
        if handle.kind == "competitions":
            sent = _submit(api, handle, items[0], asked, options)
        else:
            sent = _make_version(api, handle, items, asked, options, source if isinstance(source, Path) else None)
    return Pushed(target=str(_place(handle)), files=files, sent=files * sent, size=sum(item.size for item in items))


def _place(handle: Handle) -> Handle:
    """Return the dataset or competition itself."""
    return parse("/".join((handle.kind, *handle.slugs)))


def _items(handle: Handle, source: Path | Content, stack: contextlib.ExitStack) -> tuple[int, list[Item]]:
    """Decide what has to travel, before anything does; returns how many files there are, and what is sent of them."""
    if not isinstance(source, Path):
        if not handle.file:
            raise AddressError(f"{handle} names no file", why="bytes have no name", do=f"write {handle}/NAME")
        return 1, [of_content(_seekable(source, stack), handle.file)]
    if not source.is_dir():
        return 1, [of_file(source.absolute(), handle.file or source.resolve().name)]
    if handle.kind == "competitions":
        raise AddressError(f"{source} is a folder", why="a submission is one file", do="name the file")
    if handle.file:
        raise AddressError(
            f"cannot push a folder to {handle}", why="the files of a version are those of the folder", do="name a file"
        )
    files = [file for file in files_below(source.absolute()) if file.below != METADATA]
    if not files:
        raise NotFoundError(f"there are no files in {source} but {METADATA}", do="put the data beside it")
    if len(files) <= MOST_FILES:
        return len(files), [of_file(file.path, file.below) for file in files]
    archive = Path(stack.enter_context(tempfile.TemporaryDirectory()), "archive.zip")
    # Not compressed, and with nothing of today in it: another process packs the very same bytes, and goes on with them.
    with writing_to(archive), zipfile.ZipFile(archive, "w", strict_timestamps=False) as packed:
        for file in files:
            packed.write(file.path, file.below)
    return len(files), [of_content(_opened(archive, stack), archive.name)]


def _opened(path: Path, stack: contextlib.ExitStack) -> FileContent:
    content = open_file(path, ALGORITHM)
    stack.callback(content.close)
    return content


def _seekable(content: Content, stack: contextlib.ExitStack) -> FileContent:
    """Save what can be read only once: Kaggle wants to know its size first."""
    if isinstance(content, FileContent):
        return content
    path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "content")
    with writing_to(path), path.open("wb") as writer:
        for block in all_blocks(content):
            writer.write(block)
    return _opened(path, stack)


def _make_version(
    api: KaggleApi, handle: Handle, items: Sequence[Item], asked: Asked, options: PushOptions, folder: Path | None
) -> bool:
    """Make the dataset, or a version of it; says whether it had to be made."""
    dataset = {"ownerSlug": handle.owner, "datasetSlug": handle.name}
    about = api.call("datasets.DatasetApiService/GetDataset", dataset, checked=False)
    # What is not there is refused like what is hidden: whether there is something shows when it is made.
    there = about.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
    number = api.check(about).value().get("currentVersionNumber") if there else 0
    before = number if isinstance(number, int) else 0
    if not options.overwrite and (
        (asked.state == "made" and before in (asked.version - 1, asked.version))
        or (asked.state == "asked" and before >= asked.version)
    ):
        asked.note("made", asked.version)
        say("%s has these files already, in version %d", handle, asked.version)
        return False
    metadata = {} if there else read_metadata(folder, _place(handle))
    tokens, notes = _send(api, _blob, items, handle, options)
    content = _tree(items, tokens)
    asked.note("asked", before + 1)

    reply = None
    if not there:
        new = {"ownerSlug": handle.owner, "slug": handle.name, "isPrivate": True, **metadata, **content}
        reply = api.call("datasets.DatasetApiService/CreateDataset", new, tries=0, checked=False)
    if reply is None or _is_taken(reply):
        body = {**dataset, "body": {"versionNotes": options.message, **content}}
        made = api.call("datasets.DatasetApiService/CreateDatasetVersion", body, tries=0, checked=False)
        # If there is nothing to make a version of, the reason lies in the first answer.
        reply = made if reply is None or made.status != HTTPStatus.NOT_FOUND else reply
    _finish(api, reply, notes, asked, handle)
    asked.note("made", before + 1)
    say("Kaggle has all files, and makes a version of them: see %s", handle.page)
    return True


def _is_taken(reply: Reply) -> bool:
    """Say whether a dataset was not made because there may be one of that name; Kaggle tells it by words alone."""
    value = reply.value()
    refused = reply.status == HTTPStatus.OK and bool(error_of(value))
    return reply.status == HTTPStatus.CONFLICT or (refused and value.get("errorCode") in (None, HTTPStatus.CONFLICT))


def _submit(api: KaggleApi, handle: Handle, item: Item, asked: Asked, options: PushOptions) -> bool:
    """Submit a file; says whether it had to be."""
    if not options.overwrite and (
        asked.state == "made" or (asked.state == "asked" and _is_listed(api, handle, item, options.message, asked.at))
    ):
        asked.note("made")
        say("%s was submitted to %s with this message already", item.name, handle)
        return False

    def start(item: Item) -> tuple[str, Mapping[str, Any]]:
        body = {"competitionName": handle.name, "fileName": item.name, **_sizes(item)}
        return "competitions.CompetitionApiService/StartSubmissionUpload", body

    (token,), notes = _send(api, start, [item], handle, options)
    asked.note("asked")
    body = {"competitionName": handle.name, "blobFileTokens": token, "submissionDescription": options.message}
    reply = api.call("competitions.CompetitionApiService/CreateSubmission", body, tries=0, checked=False)
    _finish(api, reply, notes, asked, handle)
    asked.note("made")
    say("%s", " ".join(str(reply.value().get("message") or f"submitted to {handle}").split())[:300])
    return True


def _is_listed(api: KaggleApi, handle: Handle, item: Item, message: str, since: float) -> bool:
    """Look for a submission whose answer was lost."""
    body = {"competitionName": handle.name, "pageSize": 20}
    found = api.call("competitions.CompetitionApiService/ListSubmissions", body).value().get("submissions")
    for one in found if isinstance(found, list) else []:
        with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError, OverflowError):
            same = (one["fileName"], one.get("description") or "") == (item.name, message)
            at = dt.datetime.fromisoformat(one["date"])
            if same and at.replace(tzinfo=at.tzinfo or dt.UTC).timestamp() > since - _CLOCKS:
                return True
    return False


def _sizes(item: Item) -> dict[str, int]:
    return {"contentLength": item.size, "lastModifiedEpochSeconds": item.modified}


def _blob(item: Item) -> tuple[str, Mapping[str, Any]]:
    return "blobs.BlobApiService/StartBlobUpload", {"type": "DATASET", "name": item.name, **_sizes(item)}


def _send(
    api: KaggleApi, start: Start, items: Sequence[Item], handle: Handle, options: PushOptions
) -> tuple[list[str], list[Note]]:
    """Send all, and return their tokens, and the notes that are of no use once Kaggle has made something of them."""
    notes: list[Note] = []

    def send(item: Item, watch: Watch) -> str:
        shown = f"{_place(handle)}: {item.below}"
        note = Note(str(item.marks.get("path", "")), item.marks, shown)
        notes.append(note)
        with contextlib.ExitStack() as stack:
            content = item.source if isinstance(item.source, FileContent) else _opened(item.source, stack)
            return KaggleUpload(api, start, item, content, shown=shown, watch=watch, note=note).run()

    tokens = side_by_side(items, lambda: contextlib.nullcontext(send), options.show, at_once=_AT_ONCE)
    return tokens, notes


def _tree(items: Sequence[Item], tokens: Sequence[str]) -> dict[str, Any]:
    """Sort the tokens into folders, as the interface wants them.

    Example:
        >>> item = Item(below="in/a.csv", source=Path("a.csv"), size=1, modified=0, marks={})
        >>> _tree([item], ["7"])["directories"]
        [{'name': 'in', 'files': [{'token': '7'}], 'directories': []}]
    """
    root: dict[str, Any] = {"files": [], "directories": []}
    for item, token in zip(items, tokens, strict=True):
        place = root
        for part in item.below.split("/")[:-1]:
            folder = next((one for one in place["directories"] if one["name"] == part), None)
            if folder is None:
                folder = {"name": part, "files": [], "directories": []}
                place["directories"].append(folder)
            place = folder
        place["files"].append({"token": token})
    return root


def _finish(api: KaggleApi, reply: Reply, notes: Sequence[Note], asked: Asked, handle: Handle) -> None:
    """See that Kaggle took the files; whether it did or refused, their addresses are of no more use."""
    for note in notes:
        note.forget()
    said = error_of(reply.value())
    if reply.status >= HTTPStatus.BAD_REQUEST or said:
        asked.note("")
    api.check(reply)
    if said:
        raise TransferError(
            f"Kaggle does not take what was pushed to {handle}", why=said, do=f"see {handle.page}, and run it again"
        )
