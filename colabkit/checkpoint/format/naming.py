"""Checkpoints by their names, in a folder or a storage: which there are, and the newest that is whole."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import TEMP_MARKER, temp_then_rename
from colabkit.checkpoint.format import file as container
from colabkit.errors import ColabKitError, CorruptCheckpointError, NewerFormatError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np

FOLDER = "checkpoints"
DELTA_SUFFIX = f".thin{container.SUFFIX}"
_NAME = re.compile(rf"step-(\d{{9,15}})-([0-9a-f]{{12}})({re.escape(DELTA_SUFFIX)}|{re.escape(container.SUFFIX)})")


@dataclass(frozen=True, kw_only=True)
class CheckpointName:
    """What the name of a checkpoint file says.

    Attributes:
        step: Steps trained when it was saved.
        state: The first 12 digits of the sha256 of the whole state, tensors kept elsewhere included.
        is_delta: Whether unchanged tensors are kept in another file, see `delta.py`.
    """

    step: int
    state: str
    is_delta: bool = False

    def __str__(self) -> str:
        return f"step-{self.step:09d}-{self.state}{DELTA_SUFFIX if self.is_delta else container.SUFFIX}"


def parse(name: str) -> CheckpointName | None:
    """Read the name of a checkpoint file; None for any other file."""
    match = _NAME.fullmatch(name)
    return CheckpointName(step=int(match[1]), state=match[2], is_delta=match[3] == DELTA_SUFFIX) if match else None


@dataclass(frozen=True, kw_only=True, repr=False)
class LocalCheckpoint:
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

    def __repr__(self) -> str:
        return f"<checkpoint of step {self.step}, {self.size:,} bytes>"


@dataclass(frozen=True, kw_only=True)
class RestoreCandidate:
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
    copy: CheckpointName | None = None


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A checkpoint that was not restored, and why."""

    name: str
    why: str
    error: Exception


def entries(folder: Path) -> list[LocalCheckpoint]:
    """List the complete checkpoints of a folder, the furthest trained first.

    By step, not by time: a clock may go back.

    Raises:
        StorageError: The folder cannot be read.
    """
    checkpoints = []
    for path, name in _named(folder):
        with contextlib.suppress(OSError):  # deleted since it was listed
            if not name.is_delta:
                checkpoints.append(entry(path))
    return sorted(checkpoints, key=lambda entry: (entry.step, entry.saved_at), reverse=True)


def entry(path: Path) -> LocalCheckpoint:
    """Describe one complete checkpoint file.

    Raises:
        OSError: It cannot be looked at.
        ValueError: It has no name of a checkpoint.
    """
    if (name := parse(path.name)) is None:
        raise ValueError(path.name)
    status = path.stat()
    return LocalCheckpoint(path=path, step=name.step, size=status.st_size, saved_at=status.st_mtime)


def has_deltas(folder: Path) -> bool:
    """Say whether a folder holds delta checkpoints: then it is a copy of a mirror."""
    return any(name.is_delta for _, name in _named(folder))


def _named(folder: Path) -> Iterator[tuple[Path, CheckpointName]]:
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be read",
            why=error.strerror or str(error),
            hint="check its permissions and that the disk is healthy; or close files, when too many are open",
        ) from error
    for path in paths:
        if (name := parse(path.name)) is not None:
            yield path, name


def publish(folder: Path, tensors: Mapping[str, np.ndarray[Any, Any]], meta: Mapping[str, Any], *, step: int) -> Path:
    """Write one checkpoint; it appears whole, under a name that carries its step and hash.

    Raises:
        StorageError: The file system refused; nothing is left behind.
    """
    with temp_then_rename(folder, "checkpoint") as (file, appear):
        digest = container.write(file, tensors, meta)
        path = folder / str(CheckpointName(step=step, state=digest[:12]))
        appear(path)
    return path


def best_step(meta: Mapping[str, Any]) -> int | None:
    """Read from the metadata of a checkpoint at which step the best state of its run is; None where it says none."""
    best = meta.get("best")
    step = best.get("step") if isinstance(best, dict) else None
    return step if type(step) is int else None


def candidates(folder: Path) -> list[RestoreCandidate]:
    """List the complete checkpoints of a folder as what may be restored."""
    return [
        RestoreCandidate(
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
    return verified(path, parse(path.name))


def verified(
    path: Path,
    name: CheckpointName | None,
    state: Callable[[container.Checkpoint], str] = lambda checkpoint: checkpoint.digest,
) -> container.Checkpoint:
    """Read the checkpoint of a name from a file that may be called otherwise for the moment.

    Args:
        path: The file.
        name: The name it should have.
        state: Says by its hash which state it is.

    Raises:
        CorruptCheckpointError: It is not what was written, or the name belongs to another state.
    """
    checkpoint = container.read(path)
    digest = state(checkpoint)
    if name is None or digest[:12] != name.state:
        raise CorruptCheckpointError(
            f"{path} holds a different state than its name says",
            why=f"its content is the state {digest[:12]}, so files were swapped or renamed",
        )
    return checkpoint


def latest_valid(
    listed: Iterable[RestoreCandidate],
) -> tuple[container.Checkpoint | None, RestoreCandidate | None, list[Skipped]]:
    """Read the furthest trained checkpoint that is whole; of one step, the one that is named first.

    Returns:
        The checkpoint and its candidate, or twice None where none is whole; and those that were passed over.

    Raises:
        NewerFormatError: The furthest one was written by a newer colabkit; falling back would lose work silently.
    """
    passed_over: list[Skipped] = []
    for candidate in sorted(listed, key=lambda candidate: -candidate.step):
        try:
            return candidate.load(), candidate, passed_over
        except NewerFormatError:
            raise
        except ColabKitError as error:
            why = error.why or error.what
            passed_over.append(Skipped(name=candidate.name, why=why, error=error))
        except OSError as error:
            why = error.strerror or str(error)
            passed_over.append(Skipped(name=candidate.name, why=why, error=error))
    return None, None, passed_over


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed save left half-written; call it only while holding the run's lock."""
    with contextlib.suppress(FileNotFoundError):
        for path in folder.glob(f".*{TEMP_MARKER}*"):
            if _is_being_fetched(path.name):
                continue
            with contextlib.suppress(OSError):
                path.unlink()


def _is_being_fetched(name: str) -> bool:
    """Say whether a process that lives, this one or another, brings a checkpoint here to restore it."""
    if (match := re.match(rf"\.fetch{re.escape(TEMP_MARKER)}(\d{{1,9}})-", name)) is None or os.name != "posix":
        return False
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
