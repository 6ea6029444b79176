"""The local log: one line of JSON a record. It is the one that the others are brought in line with."""

from __future__ import annotations

import json
import math
from typing import IO, TYPE_CHECKING

from colabkit._internal.disk.files import atomic_write, map_os_errors
from colabkit.errors import StorageError
from colabkit.tracking.base import Record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "metrics.jsonl"


def read(path: Path) -> list[Record]:
    """Read the records of a log; lines that a kill or a full disk has cut off are passed over.

    Example:
        >>> import pathlib, tempfile
        >>> read(pathlib.Path(tempfile.mkdtemp(), "metrics.jsonl"))
        []
    """
    try:
        if path.is_fifo():  # which would be waited for
            raise StorageError(f"{path} cannot be read", why="it is a pipe", hint="remove it; a log is a file")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{path} cannot be read", why=error.strerror or str(error), hint="check the path") from error
    records = []
    for line in lines:
        try:
            item = json.loads(line)
            epoch = item["epoch"]
            records.append(
                Record(
                    step=int(item["step"]),
                    epoch=None if epoch is None else int(epoch),
                    values={str(name): float(value) for name, value in item["values"].items()},
                    time=float(item["time"]),
                )
            )
        except Exception:  # noqa: BLE001, S112 - JSON of any form: a line that is no record is passed over
            continue
    return records


class JsonLines:
    """Writes `metrics.jsonl`.

    Args:
        folder: Where it lies; made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._file: IO[bytes] | None = None

    def resume(self, kept: Sequence[Record], *, epoch: int) -> None:  # noqa: ARG002 - the contract of a tracker
        """Write anew what still holds, and go on behind it."""
        with map_os_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as file:
                file.write("".join(map(_line, kept)).encode())
            self._file = open(self._path, "ab")  # noqa: SIM115 - open as long as the training goes

    def log(self, record: Record) -> None:
        """Append a line."""
        if self._file is not None:
            with map_os_errors(self._path):
                self._file.write(_line(record).encode())
                self._file.flush()  # to the system: a kill does not take it away

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(record: Record) -> str:
    # JSON knows no NaN: it is written as text, and float() reads it again.
    values = {name: value if math.isfinite(value) else str(value) for name, value in record.values.items()}
    return json.dumps({"step": record.step, "epoch": record.epoch, "time": record.time, "values": values}) + "\n"
