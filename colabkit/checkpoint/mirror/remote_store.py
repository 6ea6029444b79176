"""The checkpoints of a run in a storage: listed, and brought back proven."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from typing import TYPE_CHECKING, TypeVar

from colabkit._internal.disk.files import TEMP_MARKER, sync_folder
from colabkit._internal.display.progress import progress
from colabkit._internal.log import warn
from colabkit._internal.retry import Backoff
from colabkit.checkpoint.format import delta, file, naming
from colabkit.errors import BusyError, ColabKitError, OfflineError, StorageError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from colabkit.storage import Storage, Stored

Result = TypeVar("Result")

PREFIX = f"{naming.FOLDER}/"
TRIES = 4
"""How often a storage that does not answer is asked again when nothing else has what is wanted."""

_TRANSIENT = (UnreachableError, OfflineError, BusyError)


def listed(storage: Storage) -> list[tuple[naming.CheckpointName, Stored]]:
    """List the checkpoints in a storage, the furthest trained first; other objects are passed over."""
    checkpoints = [
        (name, stored)
        for stored in storage.list(PREFIX)
        if (name := naming.parse(stored.name.removeprefix(PREFIX))) is not None
    ]
    return sorted(checkpoints, key=lambda item: (item[0].step, item[1].modified), reverse=True)


def candidates(storage: Storage, folder: Path, *, tries: int) -> list[naming.RestoreCandidate]:
    """List the checkpoints in a storage as what may be restored.

    Args:
        storage: Where they are.
        folder: The local folder of checkpoints; what is brought stays there.
        tries: How often to try again where the storage does not answer.
    """
    checkpoints = _retry(lambda: listed(storage), tries=tries)
    return [
        naming.RestoreCandidate(
            name=f"{name} in {storage.address}",
            step=name.step,
            saved_at=stored.modified,
            load=functools.partial(download, storage, name, folder),
            copy=name,
        )
        for name, stored in checkpoints
    ]


def _retry(act: Callable[[], Result], *, tries: int) -> Result:
    """Ask a storage again that does not answer, as a mount or a line may fail now and then."""
    budget = Backoff(tries=tries, first=0.5, longest=4.0)
    while True:
        try:
            return act()
        except _TRANSIENT:
            if (wait := budget.wait()) is None:
                raise
            time.sleep(wait)


def meta(storage: Storage, name: naming.CheckpointName) -> dict[str, Any]:
    """Read what a checkpoint says about itself, without its tensors and without proof.

    Raises:
        CorruptCheckpointError: It is none.
        NewerFormatError: A newer colabkit wrote it.
        StorageError: It cannot be read.
    """
    place = f"{PREFIX}{name}"
    size = file.header_size(storage.read(place, size=8))
    return file.meta_of(str(name), storage.read(place, size=size))


def download(storage: Storage, name: naming.CheckpointName, folder: Path) -> file.Checkpoint:
    """Read a checkpoint from a storage, prove it, and leave it complete in the local folder.

    Raises:
        CorruptCheckpointError: It, or the base it borrows from, is not what was written.
        StorageError: It cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _downloaded(storage, name, folder) as (path, downloaded):
        if not name.is_delta:
            with contextlib.suppress(OSError):
                os.replace(path, folder / str(name))
                sync_folder(folder)
            return downloaded
        base = delta.base_of(downloaded.meta, str(name)).name
        checkpoint = delta.complete(str(name), downloaded, _base(storage, base, folder))
    try:
        naming.publish(folder, checkpoint.tensors, checkpoint.meta, step=name.step)
    except StorageError as error:  # the state is in memory; only the local copy is missing
        warn("the restored checkpoint was not written to %s. %s", folder, error)
    return checkpoint


def _base(storage: Storage, name: naming.CheckpointName, folder: Path) -> file.Checkpoint:
    with contextlib.suppress(OSError, ColabKitError):
        return naming.read(folder / str(name))
    with _downloaded(storage, name, folder) as (_, checkpoint):
        return checkpoint


@contextlib.contextmanager
def _downloaded(storage: Storage, name: naming.CheckpointName, folder: Path) -> Iterator[tuple[Path, file.Checkpoint]]:
    path = folder / f".fetch{TEMP_MARKER}{os.getpid()}-{name}"
    try:
        with progress(f"step {name.step} from {storage.address}") as bar:
            _retry(lambda: storage.get(f"{PREFIX}{name}", path, progress=bar.update), tries=TRIES)
        if name.is_delta:
            yield path, naming.verified(path, name, lambda checkpoint: delta.full_digest(checkpoint.meta))
        else:
            yield path, naming.verified(path, name)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def delete_after(storage: Storage, step: int) -> None:
    """Delete the copies of the states that were trained further than a step."""
    for stored in storage.list(PREFIX):
        parts = stored.name.rpartition("/")[2].split("-")
        if parts[0] == "step" and len(parts) > 1 and parts[1].isdigit() and int(parts[1]) > step:
            storage.delete(stored.name)
