"""Pushing to Kaggle: a new version of a dataset or a model, or a submission to a competition.

The files travel first, side by side, and go on in another process where they stopped. One call then makes a version, or
submits, of them all.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile
import time
import zipfile
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._clients.kaggle import KaggleApi
from colabkit._clients.kaggle import requests as kaggle_requests
from colabkit._clients.kaggle.handle import parse
from colabkit._engine.uploads.body import FileContent, all_blocks
from colabkit._engine.uploads.kaggle import error_of, of_content, of_file
from colabkit._engine.uploads.walk import files_below
from colabkit._internal.disk.files import map_os_errors
from colabkit._internal.disk.paths import own_name
from colabkit._internal.log import notify
from colabkit._internal.nearest import suggest
from colabkit.errors import AddressError, ExistsError, NotFoundError, TransferError
from colabkit.transfer.pushing import Pushed
from colabkit.transfer.targets.kaggle_journal import SubmissionJournal
from colabkit.transfer.targets.kaggle_metadata import NOT_SENT, read_metadata, read_model_metadata
from colabkit.transfer.targets.kaggle_sending import finish, is_taken, opened, place, refused, send, tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._clients.kaggle.handle import Handle
    from colabkit._clients.kaggle.requests import KaggleRequest
    from colabkit._engine.uploads.body import UploadBody
    from colabkit._engine.uploads.kaggle import Item
    from colabkit.transfer.pushing import PushOptions

MOST_FILES = 50
"""Files that a version takes one by one; more travel as one archive, which Kaggle unpacks (kagglehub does so too)."""

_PATIENCE, _PAUSE = 3600.0, 3.0  # seconds for a score, and between the first two questions
_EARLIER = 600.0  # seconds that an upload may have taken before it was noted as submitted
_CLOCKS = 300.0
"""Seconds that our clock and Kaggle's may differ."""


def push_to(target: str, source: Path | UploadBody, options: PushOptions) -> Pushed:
    """Push to a dataset, a model's variation or a competition."""
    handle = parse(target)
    if handle.kind == "code" or handle.version is not None:
        raise AddressError(
            f"cannot push to {handle}",
            why="a push makes the next version of a dataset or of a model's variation, or a submission",
            hint="write kaggle:OWNER/DATASET, kaggle:models/OWNER/MODEL/FRAMEWORK/VARIATION or "
            "kaggle:competitions/NAME, without a version",
        )
    if handle.kind == "models":
        known = kaggle_requests.frameworks()
        if kaggle_requests.framework(handle.framework, known) not in known:
            raise AddressError(
                f"cannot push to {handle}",
                why=f"{handle.framework!r} is no framework of Kaggle's models",
                hint=suggest(handle.framework, known.values()),
            )
    score, version = "", 0
    created: tuple[str, ...] = ()
    with contextlib.ExitStack() as stack:
        files, items = _items(handle, source, stack)
        api = KaggleApi(handle, verb="push")
        asked = SubmissionJournal(handle, items, options.message)
        if handle.kind == "competitions":
            begun = asked.at - _EARLIER if asked.state else time.time()
            sent = _submit(api, handle, items[0], asked, options)
            if options.wait:
                score = _score(api, handle, items[0], options.message, begun)
        else:
            folder = source if isinstance(source, Path) else None
            version, created, sent = _make_version(api, handle, items, asked, options, folder)
    size = sum(item.size for item in items)
    return Pushed(
        target=str(place(handle)),
        files=files,
        sent=files * sent,
        size=size,
        score=score,
        version=version,
        created=created,
    )


def _items(handle: Handle, source: Path | UploadBody, stack: contextlib.ExitStack) -> tuple[int, list[Item]]:
    """Decide what has to travel, before anything does; returns how many files there are, and what is sent of them."""
    if not isinstance(source, Path):
        if not handle.file:
            raise AddressError(f"{handle} names no file", why="bytes have no name", hint=f"write {handle}/NAME")
        return 1, [of_content(_seekable(source, stack), handle.file)]
    if not source.is_dir():
        return 1, [of_file(source.absolute(), handle.file or own_name(source))]
    if handle.kind == "competitions":
        raise AddressError(f"{source} is a folder", why="a submission is one file", hint="name the file")
    if handle.file:
        raise AddressError(
            f"cannot push a folder to {handle}",
            why="the files of a version are those of the folder",
            hint="name a file",
        )
    files = [file for file in files_below(source.absolute()) if file.below not in NOT_SENT[handle.kind]]
    if not files:
        described = " and ".join(NOT_SENT[handle.kind])
        raise NotFoundError(f"there are no files in {source} but {described}", hint="put the data beside it")
    if len(files) <= MOST_FILES:
        return len(files), [of_file(file.path, file.below) for file in files]
    archive = Path(stack.enter_context(tempfile.TemporaryDirectory()), "archive.zip")
    # Not compressed, and with nothing of today in it: another process packs the very same bytes, and goes on with them.
    with map_os_errors(archive), zipfile.ZipFile(archive, "w", strict_timestamps=False) as packed:
        for file in files:
            packed.write(file.path, file.below)
    return len(files), [of_content(opened(archive, stack), archive.name)]


def _seekable(content: UploadBody, stack: contextlib.ExitStack) -> FileContent:
    """Save what can be read only once: Kaggle wants to know its size first."""
    if isinstance(content, FileContent):
        return content
    path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "content")
    with map_os_errors(path), path.open("wb") as writer:
        for block in all_blocks(content):
            writer.write(block)
    return opened(path, stack)


def _make_version(
    api: KaggleApi,
    handle: Handle,
    items: Sequence[Item],
    asked: SubmissionJournal,
    options: PushOptions,
    folder: Path | None,
) -> tuple[int, tuple[str, ...], bool]:
    """Make a version, and first what it is one of; returns its number, what was created, and if it was sent."""
    request = kaggle_requests.about(handle)
    before = _newest(api, handle, request)
    there = before is not None
    before = before or 0
    if not options.overwrite and (
        (asked.state == "made" and before in (asked.version - 1, asked.version))
        or (asked.state == "asked" and before >= asked.version)
    ):
        asked.note("made", asked.version)
        notify("%s has these files already, in version %d", handle, asked.version)
        return asked.version, (), False
    metadata: dict[str, Any] = {}
    created: list[str] = []
    if not there and handle.kind == "models":
        model, metadata = read_model_metadata(folder, handle)
        if _create_model(api, handle, model):
            created.append("model")
    elif not there:
        metadata = read_metadata(folder, place(handle))

    def start(item: Item) -> KaggleRequest:
        return kaggle_requests.start_blob(handle.kind, item.name, item.size, item.modified)

    tokens, notes = send(api, start, items, handle, options)
    content = tree(items, tokens)
    now = _newest(api, handle, request)
    if there and now is not None and now != before and not options.overwrite:
        raise ExistsError(
            f"{place(handle)} has version {now} by now, and version {before} was its newest when this push began",
            why="another push made it meanwhile; no version was made of what was sent",
            hint=f"see {handle.page}, then run it again: what has arrived is not sent again",
        )
    asked.note("asked", before + 1)

    reply = None
    if not there:
        create = kaggle_requests.create_instance if handle.kind == "models" else kaggle_requests.create_dataset
        reply = api.call(create(handle, metadata, content), tries=0, checked=False)
    if reply is None or is_taken(reply):
        version = kaggle_requests.create_version(handle, options.message, content)
        made = api.call(version, tries=0, checked=False)
        # If there is nothing to make a version of, the reason lies in the first answer.
        reply = made if reply is None or made.status != HTTPStatus.NOT_FOUND else reply
    finish(api, reply, notes, asked, handle)
    asked.note("made", before + 1)
    if not there:
        created.append("variation" if handle.kind == "models" else "dataset")
    words = f"made the {' and the '.join(created)}, private, and " if created else ""
    notify("Kaggle has all files: %sversion %d is being made of them, see %s", words, before + 1, handle.page)
    return before + 1, tuple(created), True


def _newest(api: KaggleApi, handle: Handle, request: KaggleRequest) -> int | None:
    """Return the number of the newest version, 0 where Kaggle tells none; None where nothing is there."""
    about = api.call(request, checked=False)
    # What is not there is refused like what is hidden: whether there is something shows when it is made.
    if about.status in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
        return None
    return kaggle_requests.newest(handle, request, api.check(about).value()) or 0


def _create_model(api: KaggleApi, handle: Handle, metadata: dict[str, Any]) -> bool:
    """Make the model that a variation belongs to, before anything is sent, as kagglehub does; says if it had to be."""
    about = api.call(kaggle_requests.get_model(handle), checked=False)
    if about.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
        api.check(about)
        return False
    reply = api.call(kaggle_requests.create_model(handle, metadata), tries=0, checked=False)
    if is_taken(reply) and reply.value().get("errorCode") is not None:
        return False
    said = error_of(api.check(reply).value())
    if said:
        raise refused(handle, said)
    notify("made the model %s/%s at Kaggle, private", handle.owner, handle.name)
    return True


def _submit(api: KaggleApi, handle: Handle, item: Item, asked: SubmissionJournal, options: PushOptions) -> bool:
    """Submit a file; says whether it had to be."""
    if not options.overwrite and (
        asked.state == "made" or (asked.state == "asked" and _is_listed(api, handle, item, options.message, asked.at))
    ):
        asked.note("made")
        notify("%s was submitted to %s with this message already", item.name, handle)
        return False

    def start(item: Item) -> KaggleRequest:
        return kaggle_requests.start_submission(handle.name, item.name, item.size, item.modified)

    (token,), notes = send(api, start, [item], handle, options)
    asked.note("asked")
    submission = kaggle_requests.create_submission(handle.name, token, options.message)
    reply = api.call(submission, tries=0, checked=False)
    finish(api, reply, notes, asked, handle)
    asked.note("made")
    notify("%s", " ".join(str(reply.value().get("message") or f"submitted to {handle}").split())[:300])
    return True


def _is_listed(api: KaggleApi, handle: Handle, item: Item, message: str, since: float) -> bool:
    """Look for a submission whose answer was lost."""
    return _listed(api, handle, item, message, since) is not None


def _score(api: KaggleApi, handle: Handle, item: Item, message: str, since: float) -> str:
    """Wait until a submission is scored, and return the public score.

    Raises:
        TransferError: Kaggle cannot score it, or takes too long.
    """
    until, pause = time.monotonic() + _PATIENCE, _PAUSE
    while time.monotonic() < until:
        one = _listed(api, handle, item, message, since) or {}
        status = str(one.get("status", "")).upper()
        if status.endswith("COMPLETE"):
            score = str(one.get("publicScore") or "")
            notify("%s: the public score is %s", handle, score or "not shown by this competition")
            return score
        if status.endswith("ERROR"):
            raise TransferError(
                f"{handle} cannot score {item.name}",
                why=" ".join(str(one.get("errorDescription") or "it says no more").split())[:300],
                hint=f"compare the file with the sample submission on {handle.page}; this one counts for today",
            )
        time.sleep(pause)
        pause = min(30.0, pause * 1.5)
    raise TransferError(
        f"{handle} has not scored {item.name} in {_PATIENCE / 60:.0f} minutes",
        why="it was submitted, and Kaggle is still scoring it",
        hint=f"look at {handle.page}/submissions, or run it again: it is not submitted twice",
    )


def _listed(api: KaggleApi, handle: Handle, item: Item, message: str, since: float) -> dict[str, Any] | None:
    submissions = api.call(kaggle_requests.submissions(handle.name)).value().get("submissions")
    for one in submissions if isinstance(submissions, list) else []:
        with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError, OverflowError):
            same = (one["fileName"], one.get("description") or "") == (item.name, message)
            at = dt.datetime.fromisoformat(one["date"])
            if same and at.replace(tzinfo=at.tzinfo or dt.UTC).timestamp() > since - _CLOCKS:
                return dict(one)
    return None
