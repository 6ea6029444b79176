"""TensorBoard's event files, written without TensorBoard or TensorFlow.

The format is small: records of a length, a payload and their checksums, the payload a protocol buffer `Event`.
Source: record_writer.h, event.proto and summary.proto of TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import IO, TYPE_CHECKING, Any

from colabkit._internal.disk.files import map_os_errors, temp_then_rename

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np

    from colabkit.tracking.base import Record

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5
_LARGEST = 1 << 26  # a longer record than 64 MiB is none of ours, and not worth the memory
_MASK = 0xA282EAD8


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901 - eight steps of one division
        table.append(byte)
    return table


_CRC = _table()


def checksum(data: bytes) -> int:
    """Return the masked CRC-32C that records carry.

    Example:
        >>> hex(checksum(b"123456789"))  # 0xe3069283 before masking, RFC 3720
        '0xc78ab0e5'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def pack(payload: bytes) -> bytes:
    """Make a record of a payload."""
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", checksum(length)) + payload + struct.pack("<I", checksum(payload))


def unpack(file: IO[bytes]) -> Iterator[bytes]:
    """Give the payloads of a file, up to the first record that is cut off or damaged."""
    while len(head := file.read(12)) == 12:
        (length,) = struct.unpack("<Q", head[:8])
        if length > _LARGEST or struct.unpack("<I", head[8:])[0] != checksum(head[:8]):
            return
        body = file.read(length + 4)
        if len(body) != length + 4 or struct.unpack("<I", body[length:])[0] != checksum(body[:length]):
            return
        yield body[:length]


def step_of(payload: bytes) -> int | None:
    """Read the step of an event; None where it has no summary, as the first one of a file."""
    step, summary, at = 0, False, 0
    while at < len(payload):
        key, at = _read_varint(payload, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _read_varint(payload, at)
            step = value if key >> 3 == 2 else step
        elif kind == _BYTES:
            length, at = _read_varint(payload, at)
            at += length
            summary = summary or key >> 3 == 5
        else:
            at += 8 if kind == _DOUBLE else 4
    return step if summary else None


class EventFiles:
    """Writes scalars and histograms, in the folders in which Keras' own callback would put them.

    `train` and `validation` count in epochs, `steps` in steps.

    Args:
        folder: What TensorBoard is pointed at.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, IO[bytes]] = {}
        self._limits: dict[str, int] = {}

    def resume(self, kept: Sequence[Record], *, epoch: int) -> None:
        """Keep what still holds of the files that are there; new ones follow when there is something to write."""
        step = kept[-1].step if kept else 0
        self._limits = {"train": epoch, "validation": epoch, "steps": step + 1}
        for part in self._limits:
            if (self._folder / part).is_dir():
                self._open(part)

    def log(self, record: Record) -> None:
        """Append the values as scalars."""
        if record.epoch is None:
            self._add("steps", record.step, record.time, [_scalar(f"batch_{k}", v) for k, v in record.values.items()])
            return
        parts: dict[str, list[bytes]] = {"train": [], "validation": []}
        for name, value in record.values.items():
            tested = name.startswith("val_")
            tag = f"epoch_{name.removeprefix('val_')}"
            parts["validation" if tested else "train"].append(_scalar(tag, value))
        for part, values in parts.items():
            self._add(part, record.epoch - 1, record.time, values)

    def histograms(self, arrays: Iterable[tuple[str, np.ndarray[Any, Any]]], *, epoch: int) -> None:
        """Append the distributions of some arrays.

        Args:
            arrays: Their names and values.
            epoch: Epochs trained so far.
        """
        self._add("train", epoch - 1, time.time(), [_histogram(name, array) for name, array in arrays])

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _add(self, part: str, step: int, when: float, values: list[bytes]) -> None:
        if values:
            file = self._files.get(part) or self._open(part)
            with map_os_errors(self._folder / part):
                file.write(pack(_event(when, step, values)))
                file.flush()

    def _open(self, part: str) -> IO[bytes]:
        """Begin a file that has all that still holds, and remove the ones before it.

        Under a new name: a TensorBoard that is looking just now reads it from its beginning.
        """
        folder, limit = self._folder / part, self._limits.get(part, 0)
        with map_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            before = sorted(folder.glob("events.out.tfevents.*"))
            name = f"events.out.tfevents.{time.time_ns() // 1000}.{socket.gethostname()}.{os.getpid()}"
            with temp_then_rename(folder, "events") as (file, publish):
                file.write(pack(_double(1, time.time()) + _bytes(3, b"brain.Event:2")))
                for path in before:
                    with open(path, "rb") as old:
                        for payload in unpack(old):
                            step = step_of(payload)
                            if step is not None and step < limit:
                                file.write(pack(payload))
                publish(folder / name)
            for path in before:
                with contextlib.suppress(OSError):
                    path.unlink()
            self._files[part] = opened = open(folder / name, "ab")  # noqa: SIM115 - open while the training goes
        return opened


def _event(when: float, step: int, values: list[bytes]) -> bytes:
    summary = b"".join(_bytes(1, value) for value in values)
    return _double(1, when) + _key(2, _VARINT) + _varint(step) + _bytes(5, summary)


def _scalar(tag: str, value: float) -> bytes:
    try:
        number = struct.pack("<f", value)
    except OverflowError:  # beyond what 32 bits hold
        number = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return _bytes(1, tag.encode()) + _key(2, _FLOAT) + number


def _histogram(tag: str, array: np.ndarray[Any, Any], buckets: int = 30) -> bytes:
    import numpy as np

    values = np.asarray(array, np.float64).ravel()
    values = values[np.isfinite(values)]
    if not values.size:
        values = np.zeros(1)
    counts, edges = np.histogram(values, bins=buckets)
    moments = (values.min(), values.max(), values.size, values.sum(), np.square(values).sum())
    message = b"".join(_double(number, float(moment)) for number, moment in enumerate(moments, start=1))
    message += _bytes(6, edges[1:].astype("<f8").tobytes()) + _bytes(7, counts.astype("<f8").tobytes())
    return _bytes(1, tag.encode()) + _bytes(5, message)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _double(field: int, value: float) -> bytes:
    return _key(field, _DOUBLE) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return number, at
