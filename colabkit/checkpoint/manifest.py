"""The checkpoints in a folder: their names, the newest that is whole, the ones to delete."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._tools.files import PART, unpublished
from colabkit.checkpoint import container
from colabkit.errors import CorruptCheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

_NAME = re.compile(r"step-(\d{9,15})-([0-9a-f]{12})" + re.escape(container.SUFFIX))


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
class PassedOver:
    """A checkpoint that was not restored, and why."""

    path: Path
    why: str


def entries(folder: Path) -> list[Entry]:
    """List the checkpoints, the furthest trained first.

    By step, not by time: a clock may go back.
    """
    found = []
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if match := _NAME.fullmatch(path.name):
                with contextlib.suppress(OSError):  # deleted since it was listed
                    status = path.stat()
                    found.append(Entry(path=path, step=int(match[1]), size=status.st_size, saved_at=status.st_mtime))
    return sorted(found, key=lambda entry: (entry.step, entry.saved_at), reverse=True)


def publish(folder: Path, tensors: Mapping[str, np.ndarray[Any, Any]], meta: Mapping[str, Any], *, step: int) -> Path:
    """Write one checkpoint; it appears whole, under a name that carries its step and hash.

    Raises:
        StorageError: The file system refused; nothing is left behind.
    """
    with unpublished(folder, "checkpoint") as (file, appear):
        digest = container.write(file, tensors, meta)
        path = folder / f"step-{step:09d}-{digest[:12]}{container.SUFFIX}"
        appear(path)
    return path


def newest_good(folder: Path) -> tuple[container.Checkpoint | None, Entry | None, list[PassedOver]]:
    """Read the furthest trained checkpoint that is whole.

    Returns:
        The checkpoint and its entry, or twice None where there is none; and those that were passed over.

    Raises:
        NewerFormatError: The furthest one was written by a newer colabkit; falling back would lose work silently.
    """
    passed_over: list[PassedOver] = []
    for entry in entries(folder):
        try:
            return container.read(entry.path), entry, passed_over
        except CorruptCheckpointError as error:
            passed_over.append(PassedOver(path=entry.path, why=error.why))
        except OSError as error:
            passed_over.append(PassedOver(path=entry.path, why=error.strerror or str(error)))
    return None, None, passed_over


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed save left half-written; call it only while holding the run's lock."""
    with contextlib.suppress(FileNotFoundError):
        for path in folder.glob(f".*{PART}*"):
            with contextlib.suppress(OSError):
                path.unlink()
