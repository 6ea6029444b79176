"""The checkpoints of a run in a storage: listed, and brought back proven."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from typing import TYPE_CHECKING, TypeVar

from colabkit._tools.files import PART, sync_folder
from colabkit._tools.log import warn
from colabkit._tools.progress import progress
from colabkit._tools.retry import Backoff
from colabkit.checkpoint import container, manifest, thin
from colabkit.errors import BusyError, ColabKitError, OfflineError, StorageError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from colabkit.storage import Storage, Stored

Found = TypeVar("Found")

PREFIX = f"{manifest.FOLDER}/"
TRIES = 4
"""How often a storage that does not answer is asked again when nothing else has what is wanted."""

_TRANSIENT = (UnreachableError, OfflineError, BusyError)


def listed(storage: Storage) -> list[tuple[manifest.Name, Stored]]:
    """List the checkpoints in a storage, the furthest trained first; other objects are passed over."""
    found = [
        (name, stored)
        for stored in storage.list(PREFIX)
        if (name := manifest.parse(stored.name.removeprefix(PREFIX))) is not None
    ]
    return sorted(found, key=lambda item: (item[0].step, item[1].modified), reverse=True)


def candidates(storage: Storage, folder: Path, *, tries: int) -> list[manifest.Candidate]:
    """List the checkpoints in a storage as what may be restored.

    Args:
        storage: Where they are.
        folder: The local folder of checkpoints; what is brought stays there.
        tries: How often to try again where the storage does not answer.
    """
    found = _patiently(lambda: listed(storage), tries=tries)
    return [
        manifest.Candidate(
            name=f"{name} in {storage.address}",
            step=name.step,
            saved_at=stored.modified,
            load=functools.partial(bring, storage, name, folder),
            copy=name,
        )
        for name, stored in found
    ]


def _patiently(act: Callable[[], Found], *, tries: int) -> Found:
    """Ask a storage again that does not answer, as a mount or a line may fail now and then."""
    budget = Backoff(tries=tries, first=0.5, longest=4.0)
    while True:
        try:
            return act()
        except _TRANSIENT:
            if (wait := budget.wait()) is None:
                raise
            time.sleep(wait)


def meta(storage: Storage, name: manifest.Name) -> dict[str, Any]:
    """Read what a checkpoint says about itself, without its tensors and without proof.

    Raises:
        CorruptCheckpointError: It is none.
        NewerFormatError: A newer colabkit wrote it.
        StorageError: It cannot be read.
    """
    place = f"{PREFIX}{name}"
    size = container.header_size(storage.read(place, size=8))
    return container.meta_of(str(name), storage.read(place, size=size))


def bring(storage: Storage, name: manifest.Name, folder: Path) -> container.Checkpoint:
    """Read a checkpoint from a storage, prove it, and leave it complete in the local folder.

    Raises:
        CorruptCheckpointError: It, or the base it borrows from, is not what was written.
        StorageError: It cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _brought(storage, name, folder) as (path, own):
        if not name.thin:
            with contextlib.suppress(OSError):
                os.replace(path, folder / str(name))
                sync_folder(folder)
            return own
        base = thin.base_of(own.meta, str(name)).name
        found = thin.complete(str(name), own, _base(storage, base, folder))
    try:
        manifest.publish(folder, found.tensors, found.meta, step=name.step)
    except StorageError as error:  # the state is in memory; only the local copy is missing
        warn("the restored checkpoint was not written to %s. %s", folder, error)
    return found


def _base(storage: Storage, name: manifest.Name, folder: Path) -> container.Checkpoint:
    with contextlib.suppress(OSError, ColabKitError):
        return manifest.read(folder / str(name))
    with _brought(storage, name, folder) as (_, found):
        return found


@contextlib.contextmanager
def _brought(storage: Storage, name: manifest.Name, folder: Path) -> Iterator[tuple[Path, container.Checkpoint]]:
    path = folder / f".fetch{PART}{os.getpid()}-{name}"
    try:
        with progress(f"step {name.step} from {storage.address}") as bar:
            _patiently(lambda: storage.get(f"{PREFIX}{name}", path, progress=bar.update), tries=TRIES)
        if name.thin:
            yield path, manifest.proven(path, name, lambda found: thin.whole_of(found.meta))
        else:
            yield path, manifest.proven(path, name)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
