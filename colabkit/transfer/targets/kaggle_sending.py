"""What all pushes to Kaggle share: files that travel side by side, and the answer to what is made of them."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from colabkit._clients.kaggle.handle import parse
from colabkit._engine.parallel import parallel_map
from colabkit._engine.uploads.body import FileContent, open_file
from colabkit._engine.uploads.journal import UploadJournal
from colabkit._engine.uploads.kaggle import ALGORITHM, Item, KaggleUpload, error_of
from colabkit.errors import AddressError, TransferError
from colabkit.transfer.targets.kaggle_metadata import INSTANCE, METADATA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colabkit._clients.kaggle import KaggleApi
    from colabkit._clients.kaggle.handle import Handle
    from colabkit._engine.parallel import Watch
    from colabkit._engine.uploads.kaggle import Start
    from colabkit._http.json_api import ApiResponse
    from colabkit.transfer.pushing import PushOptions
    from colabkit.transfer.targets.kaggle_journal import SubmissionJournal

_AT_ONCE = 4


def place(handle: Handle) -> Handle:
    """Return the dataset, model's variation or competition itself."""
    return parse("/".join((handle.kind, *handle.slugs)))


def opened(path: Path, stack: contextlib.ExitStack) -> FileContent:
    """Open a file for an upload; the stack closes it."""
    content = open_file(path, ALGORITHM)
    stack.callback(content.close)
    return content


def is_taken(reply: ApiResponse) -> bool:
    """Say whether a dataset was not made because there may be one of that name; Kaggle tells it by words alone."""
    value = reply.value()
    refused = reply.status == HTTPStatus.OK and bool(error_of(value))
    return reply.status == HTTPStatus.CONFLICT or (refused and value.get("errorCode") in (None, HTTPStatus.CONFLICT))


def send(
    api: KaggleApi, start: Start, items: Sequence[Item], handle: Handle, options: PushOptions
) -> tuple[list[str], list[UploadJournal]]:
    """Send all, and return their tokens, and the notes that are of no use once Kaggle has made something of them."""
    notes: list[UploadJournal] = []

    def send_one(item: Item, watch: Watch) -> str:
        shown = f"{place(handle)}: {item.below}"
        note = UploadJournal(str(item.marks.get("path", "")), item.marks, shown)
        notes.append(note)
        with contextlib.ExitStack() as stack:
            content = item.source if isinstance(item.source, FileContent) else opened(item.source, stack)
            return KaggleUpload(api, start, item, content, shown=shown, watch=watch, note=note).run()

    tokens = parallel_map(items, lambda: contextlib.nullcontext(send_one), options.show, at_once=_AT_ONCE)
    return tokens, notes


def tree(items: Sequence[Item], tokens: Sequence[str]) -> dict[str, Any]:
    """Sort the tokens into folders.

    Example:
        >>> from pathlib import Path
        >>> item = Item(below="in/a.csv", source=Path("a.csv"), size=1, modified=0, marks={})
        >>> tree([item], ["7"])
        {'files': [], 'directories': {'in': {'files': ['7'], 'directories': {}}}}
    """
    root: dict[str, Any] = {"files": [], "directories": {}}
    for item, token in zip(items, tokens, strict=True):
        folder = root
        for part in item.below.split("/")[:-1]:
            folder = folder["directories"].setdefault(part, {"files": [], "directories": {}})
        folder["files"].append(token)
    return root


def finish(
    api: KaggleApi, reply: ApiResponse, notes: Sequence[UploadJournal], asked: SubmissionJournal, handle: Handle
) -> None:
    """See that Kaggle took the files; whether it did or refused, their addresses are of no more use."""
    for note in notes:
        note.forget()
    said = error_of(reply.value())
    if reply.status >= HTTPStatus.BAD_REQUEST or said:
        asked.note("")
    api.check(reply)
    if said:
        raise refused(handle, said)


def refused(handle: Handle, said: str) -> TransferError | AddressError:
    """Return the error for what Kaggle says in an answer with 200."""
    what = f"Kaggle does not accept what was pushed to {handle}"
    if "licen" in said.lower():
        name, example = (INSTANCE, '"licenseName": "Apache 2.0"')
        if handle.kind != "models":
            name, example = METADATA, '"licenses": [{"name": "CC0-1.0"}]'
        return AddressError(what, why=said, hint=f"write a license that Kaggle knows into {name}, as in {example}")
    return TransferError(what, why=said, hint=f"see {handle.page}, and run it again")
