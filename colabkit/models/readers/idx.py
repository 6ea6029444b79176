"""IDX files, the form in which MNIST is published; packed with gzip or not.

Source: https://yann.lecun.org/exdb/mnist/ ("the IDX file format")
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.foreign import reading
from colabkit.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

_BYTES = 0x08
_MOST_PACKED, _ALWAYS = 100, 256 << 20  # times and bytes; pictures pack about five times
_FORM = "pass the files as MNIST is published, such as train-images-idx3-ubyte.gz"


def read_idx(path: Path) -> Array:
    """Read an IDX file of unsigned bytes.

    Raises:
        DataError: It is damaged, or of another type.
    """
    with reading(lambda why: DataError(f"{path} cannot be read", why=why, hint=_FORM)):
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _BYTES or not 1 <= head[3] <= 3:
                raise DataError(f"{path} is not an IDX file of bytes", why=f"it begins with {head.hex()}", hint=_FORM)
            shape = tuple(np.frombuffer(_exactly(path, file, 4 * head[3]), ">u4").tolist())
            size = int(np.prod(shape, dtype=object))
            if size > _most(path, packed=packed):
                raise DataError(
                    f"{path} is damaged", why=f"it claims the shape {shape}, more than fits in it", hint=_FORM
                )
            data = _exactly(path, file, size)
            if file.read(1):
                raise DataError(f"{path} is damaged", why=f"more bytes than its shape {shape} needs", hint=_FORM)
    return np.frombuffer(data, np.uint8).reshape(shape)


def _most(path: Path, *, packed: bool) -> int:
    size = path.stat().st_size
    return max(_ALWAYS, size * _MOST_PACKED) if packed else size


def _exactly(path: Path, file: Any, size: int) -> bytes:
    data: bytes = file.read(size)
    if len(data) != size:
        raise DataError(f"{path} is cut off", why=f"{size} bytes are expected and {len(data)} are there", hint=_FORM)
    return data
