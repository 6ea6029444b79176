"""Checkpoints by their names, in a folder or a storage: which there are, and the newest that is whole."""

from __future__ import annotations

import contextlib
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._tools.files import PART, unpublished
from colabkit.checkpoint import container
from colabkit.errors import ColabKitError, CorruptCheckpointError, NewerFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np

FOLDER = "checkpoints"
THIN = f".thin{container.SUFFIX}"
_NAME = re.compile(rf"step-(\d{{9,15}})-([0-9a-f]{{12}})({re.escape(THIN)}|{re.escape(container.SUFFIX)})")


@dataclass(frozen=True, kw_only=True)
class Name:
    """What the name of a checkpoint file says.

    Attributes:
        step: Steps trained when it was saved.
        state: The first 12 digits of the sha256 of the whole state, tensors kept elsewhere included.
        thin: Whether unchanged tensors are kept in another file, see `thin.py`.
    """

    step: int
    state: str
    thin: bool = False

    def __str__(self) -> str:
        return f"step-{self.step:09d}-{self.state}{THIN if self.thin else container.SUFFIX}"


def parse(name: str) -> Name | None:
    """Read the name of a checkpoint file; None for any other file."""
    match = _NAME.fullmatch(name)
    return Name(step=int(match[1]), state=match[2], thin=match[3] == THIN) if match else None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A checkpoint file by its name; whether it is whole only its content tells.

    Attributes:
        path: The file.
        step: Steps trained when it was saved.
        size: Bytes.
        saved_at: Seconds since the epoch, by the file system's clock.
    """

    path: Path
    step: int
    size: int
    saved_at: float


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A checkpoint that may be restored, wherever it is.

    Attributes:
        name: The file's name, with its place where that is not this machine.
        step: Steps trained when it was saved.
        saved_at: Seconds since the epoch, by the clock of its place.
        load: Reads and proves it.
        copy: Its name in a storage; None for a file of this machine.
    """

    name: str
    step: int
    saved_at: float
    load: Callable[[], container.Checkpoint]
    copy: Name | None = None


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """A checkpoint that was not restored, and why."""

    name: str
    why: str
    error: Exception


def entries(folder: Path) -> list[Entry]:
    """List the complete checkpoints of a folder, the furthest trained first.

    By step, not by time: a clock may go back.
    """
    found = []
    for path, name in _named(folder):
        with contextlib.suppress(OSError):  # deleted since it was listed
            if not name.thin:
                found.append(entry(path))
    return sorted(found, key=lambda entry: (entry.step, entry.saved_at), reverse=True)


def entry(path: Path) -> Entry:
    """Describe one complete checkpoint file.

    Raises:
        OSError: It cannot be looked at.
        ValueError: It has no name of a checkpoint.
    """
    if (name := parse(path.name)) is None:
        raise ValueError(path.name)
    status = path.stat()
    return Entry(path=path, step=name.step, size=status.st_size, saved_at=status.st_mtime)


def has_thin(folder: Path) -> bool:
    """Say whether a folder holds thin checkpoints: then it is a copy of a mirror."""
    return any(name.thin for _, name in _named(folder))


def _named(folder: Path) -> Iterator[tuple[Path, Name]]:
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if (name := parse(path.name)) is not None:
                yield path, name


def publish(folder: Path, tensors: Mapping[str, np.ndarray[Any, Any]], meta: Mapping[str, Any], *, step: int) -> Path:
    """Write one checkpoint; it appears whole, under a name that carries its step and hash.

    Raises:
        StorageError: The file system refused; nothing is left behind.
    """
    with unpublished(folder, "checkpoint") as (file, appear):
        digest = container.write(file, tensors, meta)
        path = folder / str(Name(step=step, state=digest[:12]))
        appear(path)
    return path


def best_step(meta: Mapping[str, Any]) -> int | None:
    """Read from the metadata of a checkpoint at which step the best state of its run is; None where it says none."""
    best = meta.get("best")
    step = best.get("step") if isinstance(best, dict) else None
    return step if type(step) is int else None


def candidates(folder: Path) -> list[Candidate]:
    """List the complete checkpoints of a folder as what may be restored."""
    return [
        Candidate(
            name=entry.path.name,
            step=entry.step,
            saved_at=entry.saved_at,
            load=functools.partial(read, entry.path),
        )
        for entry in entries(folder)
    ]


def read(path: Path) -> container.Checkpoint:
    """Read a checkpoint under its own name and prove it.

    Raises:
        CorruptCheckpointError: It is not what was written, or it has the name of another state.
    """
    return proven(path, parse(path.name))


def proven(
    path: Path, name: Name | None, state: Callable[[container.Checkpoint], str] = lambda found: found.digest
) -> container.Checkpoint:
    """Read the checkpoint of a name from a file that may be called otherwise for the moment.

    Args:
        path: The file.
        name: The name it should have.
        state: Says by its hash which state it is.

    Raises:
        CorruptCheckpointError: It is not what was written, or the name belongs to another state.
    """
    found = container.read(path)
    digest = state(found)
    if name is None or digest[:12] != name.state:
        raise CorruptCheckpointError(
            f"{path} holds another state than its name says",
            why=f"its content is the state {digest[:12]}, so files were swapped or renamed",
        )
    return found


def newest_good(
    found: Iterable[Candidate],
) -> tuple[container.Checkpoint | None, Candidate | None, list[PassedOver]]:
    """Read the furthest trained checkpoint that is whole; of one step, the one that is named first.

    Returns:
        The checkpoint and its candidate, or twice None where none is whole; and those that were passed over.

    Raises:
        NewerFormatError: The furthest one was written by a newer colabkit; falling back would lose work silently.
    """
    passed_over: list[PassedOver] = []
    for candidate in sorted(found, key=lambda candidate: -candidate.step):
        try:
            return candidate.load(), candidate, passed_over
        except NewerFormatError:
            raise
        except ColabKitError as error:
            why = error.why or error.what
            passed_over.append(PassedOver(name=candidate.name, why=why, error=error))
        except OSError as error:
            why = error.strerror or str(error)
            passed_over.append(PassedOver(name=candidate.name, why=why, error=error))
    return None, None, passed_over


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed save left half-written; call it only while holding the run's lock."""
    with contextlib.suppress(FileNotFoundError):
        for path in folder.glob(f".*{PART}*"):
            with contextlib.suppress(OSError):
                path.unlink()
