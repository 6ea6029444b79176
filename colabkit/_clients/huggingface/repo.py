"""A repository of the Hub as a whole: what it holds now, commits to it, and whether a file is the one that is there."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from colabkit._clients.huggingface import HubAddress
from colabkit._internal.optional import require
from colabkit.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from colabkit._clients.huggingface import Hub, HubFile

_BLOCK = 1 << 20


def tree(hub: Hub, address: HubAddress, *, verb: str) -> tuple[dict[str, HubFile], str | None]:
    """Return what a repository holds, by path, and its commit; None where there is no repository.

    Args:
        hub: Asks the Hub.
        address: The repository, or a place in it.
        verb: What is done, for messages.

    Raises:
        TransferError: Or one of its kinds.
    """
    repository = HubAddress(kind=address.kind, repo=address.repo, ref=address.ref)
    try:
        about = hub.call(
            repository,
            lambda token: hub.api(token).repo_info(
                address.repo, repo_type=address.kind, revision=address.ref or None, files_metadata=True, timeout=30.0
            ),
            verb=verb,
        )
    except NotFoundError as error:
        if " has no " not in error.what or address.ref:
            raise
        return {}, None
    return {file.address.path: file for file in hub.listed(repository, about)}, about.sha


def create(hub: Hub, address: HubAddress, *, verb: str) -> None:
    """Make the repository, private; one that is there stays as it is.

    Raises:
        NotFoundError: It is a space, whose kind has to be chosen.
        TransferError: Or one of its kinds.
    """
    if address.kind == "space":
        raise NotFoundError(
            f"the Hub has no {address}",
            why="a space is created on its page, where its kind is chosen",
            hint=address.page,
        )
    hub.call(
        address,
        lambda token: hub.api(token).create_repo(address.repo, repo_type=address.kind, private=True, exist_ok=True),
        verb=verb,
    )


def commit(
    hub: Hub,
    address: HubAddress,
    files: Mapping[str, Path | bytes],
    *,
    parent: str | None,
    message: str,
    verb: str,
    deleted: Iterable[str] = (),
    hidden: bool = True,
) -> None:
    """Make one commit by the Hub's own client.

    Args:
        hub: Asks the Hub.
        address: The repository, or a place in it.
        files: What is added, by path.
        parent: The commit that it is made on; None takes any.
        message: What it says.
        verb: What is done, for messages.
        deleted: The paths that it deletes.
        hidden: No bars are shown.

    Raises:
        ExistsError: There is another commit meanwhile.
        TransferError: Or one of its kinds; the commit may have been made in spite of it.
    """
    client = require("huggingface_hub", extra="hf", why="the Hub of Hugging Face is accessed through its own client")

    def send(token: str) -> Any:
        return hub.api(token).create_commit(
            repo_id=address.repo,
            repo_type=address.kind,
            revision=address.ref or None,
            operations=[
                *(
                    client.CommitOperationAdd(path, source if isinstance(source, bytes) else str(source))
                    for path, source in files.items()
                ),
                *(client.CommitOperationDelete(path, is_folder=False) for path in deleted),
            ],
            commit_message=message,
            parent_commit=parent,
        )

    with quiet(client, hidden=hidden):
        hub.call(address, send, verb=verb, tries=0)


def is_same(source: Path | bytes, existing: HubFile | None) -> bool:
    """Say whether a file is what the Hub holds, by the hash that the Hub tells."""
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if existing is None or existing.size not in (None, size):
        return False
    # Small files are kept as git keeps them, large ones by the hash of their bytes.
    made = hashlib.sha256() if existing.checksum is not None else hashlib.sha1(usedforsecurity=False)
    if existing.checksum is None:
        made.update(b"blob %d\0" % size)
    if isinstance(source, bytes):
        made.update(source)
    else:
        with source.open("rb") as file:
            while block := file.read(_BLOCK):
                made.update(block)
    return made.hexdigest() == existing.version


@contextlib.contextmanager
def quiet(client: Any, *, hidden: bool) -> Iterator[None]:
    """Hide the bars of the client meanwhile."""
    bars = client.utils
    if not hidden or bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()
