"""Pushing to the Hub of Hugging Face: one commit for all that is not there yet, never over what was not seen."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._clients.huggingface import Hub, HubAddress, parse, repo
from colabkit._engine.uploads.body import all_blocks
from colabkit._engine.uploads.walk import files_below
from colabkit._internal.disk.files import map_os_errors
from colabkit._internal.disk.paths import own_name
from colabkit._internal.display.few import few
from colabkit.errors import AccessError, AddressError, ExistsError, IntegrityError, NotFoundError, TransferError
from colabkit.transfer.pushing import Pushed, refuse_different

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._engine.uploads.body import UploadBody
    from colabkit.transfer.pushing import PushOptions


def push_to(target: str, source: Path | UploadBody, options: PushOptions) -> Pushed:
    """Push a file, or all files of a folder, to a repository.

    Raises:
        AddressError: The target names no place for it.
        ExistsError: Something else is there and may not be replaced, or came meanwhile.
        AccessError: The token may not write there.
        IntegrityError: The Hub holds something else than what was sent.
    """
    address = parse(target)
    with contextlib.ExitStack() as stack:
        local = source if isinstance(source, Path) else _saved(source, stack)
        files = _files(address, local, named=isinstance(source, Path))
        return _push(address, files, options)


def _saved(content: UploadBody, stack: contextlib.ExitStack) -> Path:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "content")
    with map_os_errors(path), path.open("wb") as writer:
        for block in all_blocks(content):
            writer.write(block)
    return path


def _files(address: HubAddress, source: Path, *, named: bool) -> dict[str, Path]:
    """Decide which file goes where."""
    if source.is_dir():
        start = f"{address.path.rstrip('/')}/" if address.path else ""
        files = {f"{start}{file.below}": file.path for file in files_below(source.absolute())}
        if not files:
            raise NotFoundError(f"there are no files in {source}", hint="put something into it")
        return files
    if address.is_file:
        return {address.path: source}
    if not named:
        raise AddressError(f"{address} names no file", why="bytes have no name", hint=f"write {address}/NAME")
    return {f"{address.path}{own_name(source)}": source}


def _push(address: HubAddress, files: Mapping[str, Path], options: PushOptions) -> Pushed:
    hub = Hub()
    size = sum(path.stat().st_size for path in files.values())
    there, commit = repo.tree(hub, address, verb="push to")
    missing = {below: path for below, path in files.items() if not repo.is_same(path, there.get(below))}
    refuse_different([below for below in missing if below in there], len(files), overwrite=options.overwrite)
    done = Pushed(target=str(address), files=len(files), sent=len(missing), size=size)
    if not missing:
        return done
    if commit is None:
        repo.create(hub, address, verb="push to")
    try:
        repo.commit(
            hub,
            address,
            missing,
            parent=commit,
            message=options.message or f"Upload {few(list(missing), 1)}",
            verb="push to",
            hidden=options.show is False,
        )
    except (ExistsError, AccessError):
        raise
    except TransferError:
        # The answer may be what was lost, and not the commit.
        there, _ = repo.tree(hub, address, verb="push to")
        if not all(repo.is_same(path, there.get(below)) for below, path in missing.items()):
            raise
        return done
    there, _ = repo.tree(hub, address, verb="push to")
    wrong = [below for below, path in missing.items() if not repo.is_same(path, there.get(below))]
    if wrong:
        raise IntegrityError(
            f"{address} does not hold what was sent: {', '.join(wrong[:5])}",
            why="its hash differs, or it was written by someone else in the meantime",
            hint="make sure that nothing writes to the files, then run it again",
        )
    return done
