"""One checkpoint, one file: a safetensors file that proves itself.

The file is plain safetensors (https://huggingface.co/docs/safetensors), so any reader of that format opens it without
colabkit. Two conventions are added. The metadata entry `colabkit` holds everything that is not an array, as JSON. The
last tensor, `colabkit.sha256`, is the hash of every byte before it, so that

    head -c -32 FILE | sha256sum

tells whether the file is whole. Nothing else vouches for a checkpoint: no marker, no pointer, no index, since a mount
that uploads in any order delivers those before the data they speak of.

No pickle: reading a checkpoint never runs code.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self, cast

from colabkit._internal.disk.digest import BackgroundHasher
from colabkit._internal.disk.files import begin_flush
from colabkit.errors import CheckpointError, CorruptCheckpointError, NewerFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from colabkit._types import StrPath

FORMAT = 1
SUFFIX = ".safetensors"
_META = "colabkit"
_HASH = "colabkit.sha256"
_HASH_SIZE = 32
_MAX_HEADER = 100_000_000  # the limit of the safetensors format
_BLOCK = 8 << 20
_FLUSH = 32 << 20

# numpy's name of a dtype -> the format's. The last three exist only with ml_dtypes, which JAX and TensorFlow bring.
_DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a file held.

    Attributes:
        tensors: Name to array; the arrays share one buffer.
        meta: Everything else, as plain JSON values.
        digest: The sha256 of the content, as hexadecimal digits.
    """

    tensors: Mapping[str, np.ndarray[Any, Any]]
    meta: dict[str, Any]
    digest: str


def write(file: IO[bytes], tensors: Mapping[str, np.ndarray[Any, Any]], meta: Mapping[str, Any]) -> str:
    """Write a checkpoint to an open binary file in one pass.

    Args:
        file: Where to write; flushing and naming it is the caller's business.
        tensors: Name to array of any shape, of a dtype the format knows.
        meta: JSON values.

    Returns:
        The sha256 of the content, as hexadecimal digits.

    Raises:
        CheckpointError: An array has a dtype that the format cannot hold.
    """
    with BackgroundHasher(sum(array.nbytes for array in tensors.values())) as hashing:
        written = begun = 0
        for block in _blocks(tensors, meta):
            hashing.update(block)
            file.write(block)
            written += len(block)
            if written - begun >= _FLUSH:
                file.flush()
                begin_flush(file.fileno(), begun, written - begun)  # the disk works while we still hash
                begun = written
        digest = hashing.digest()
    file.write(digest)
    return digest.hex()


def _blocks(tensors: Mapping[str, np.ndarray[Any, Any]], meta: Mapping[str, Any]) -> Iterator[Any]:
    import numpy as np

    # Wide elements first keeps every tensor aligned to its own size, which zero-copy readers want.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": {_META: json.dumps({"format": FORMAT, **meta}, separators=(",", ":"))}}
    offset = 0
    for name, array in ordered:
        if (dtype := _DTYPES.get(array.dtype.name)) is None:
            raise CheckpointError(
                f"the array {name!r} cannot be saved",
                why=f"its dtype is {array.dtype}, and the safetensors format has no such type",
                hint=f"convert it first; types that can be saved: {', '.join(_DTYPES)}",
            )
        end = offset + array.nbytes
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    header[_HASH] = {"dtype": "U8", "shape": [_HASH_SIZE], "data_offsets": [offset, offset + _HASH_SIZE]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text))
    yield text
    for _, array in ordered:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        flat = np.ascontiguousarray(little).reshape(-1).view(np.uint8)
        for start in range(0, flat.nbytes, _BLOCK):
            yield flat[start : start + _BLOCK]


def read(path: StrPath) -> Checkpoint:
    """Read a checkpoint and prove that it is what was written.

    Args:
        path: The file.

    Raises:
        CorruptCheckpointError: The file is truncated, changed or no checkpoint; the message says which.
        NewerFormatError: A newer colabkit wrote it.
    """
    import numpy as np

    with _opened(path, buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        content = np.empty(size, np.uint8).data  # writable, so that the arrays are
        hashed = max(0, size - _HASH_SIZE)
        with BackgroundHasher(size) as hashing:
            done = 0
            while done < size and (count := file.readinto(content[done : done + _BLOCK])):
                hashing.update(content[min(done, hashed) : min(done + count, hashed)])
                done += count
            digest = hashing.digest() if done == size else b""  # it shrank while it was read
    body, stored = content[:hashed], bytes(content[hashed:])
    _check_hash(path, digest, stored)
    header, start = _parse_header(path, body)
    return Checkpoint(tensors=_tensors(path, header, body[start:]), meta=_meta(path, header), digest=stored.hex())


def verify(path: StrPath) -> dict[str, Any]:
    """Prove a checkpoint without holding its arrays in memory, and return its metadata.

    Raises:
        CorruptCheckpointError: As for `read`.
        NewerFormatError: As for `read`.
    """
    return verify_details(path)[0]


def verify_details(path: StrPath) -> tuple[dict[str, Any], str]:
    """Do what `verify` does, and return the sha256 of the content too, as hexadecimal digits."""
    with _opened(path) as file:
        digest = _hash_next(file, os.fstat(file.fileno()).st_size - _HASH_SIZE)
        tail = file.read()
    _check_hash(path, digest.digest(), tail)
    with Tensors(path) as tensors:
        return tensors.meta, tail.hex()


def meta_of(name: str, head: bytes) -> dict[str, Any]:
    """Read the metadata from the beginning of a file, unproven: what it says is to be shown, not to be trusted.

    Args:
        name: What to call the file in a message.
        head: Its first bytes; `header_size` says how many are needed.

    Raises:
        CorruptCheckpointError: It is no checkpoint.
        NewerFormatError: A newer colabkit wrote it.
    """
    return _meta(name, _parse_header(name, memoryview(head))[0])


def header_size(head: bytes) -> int:
    """Say how many bytes of a file hold its header, from its first eight."""
    return 8 + min(int.from_bytes(head[:8], "little"), _MAX_HEADER)


class Tensors:
    """The tensors of a file, one by one, for a file that is too large to be held in memory. Nothing is proven.

    Args:
        path: The file.

    Attributes:
        meta: Its metadata.
        sizes: Tensor name to bytes.

    Raises:
        CorruptCheckpointError: It is no checkpoint.
        NewerFormatError: A newer colabkit wrote it.
    """

    def __init__(self, path: StrPath) -> None:
        self._path = path
        self._file = _opened(path)
        try:
            head = self._file.read(8)
            head += self._file.read(header_size(head) - 8)
            self._header, self._start = _parse_header(path, memoryview(head))
            self.meta = _meta(path, self._header)
            size = os.fstat(self._file.fileno()).st_size - self._start
            self._spans = {
                name: _span(path, name, entry, size)
                for name, entry in self._header.items()
                if name not in ("__metadata__", _HASH)
            }
        except BaseException:
            self._file.close()
            raise
        self.sizes = {name: end - begin for name, (begin, end) in self._spans.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def sha256(self, name: str) -> str:
        """Hash the bytes of one tensor."""
        begin, end = self._spans[name]
        self._file.seek(self._start + begin)
        return _hash_next(self._file, end - begin).hexdigest()

    def load(self, name: str) -> np.ndarray[Any, Any]:
        """Read one tensor."""
        begin, end = self._spans[name]
        self._file.seek(self._start + begin)
        data = memoryview(self._file.read(end - begin))
        return _array(self._path, name, self._header[name], data)


def _opened(path: StrPath, buffering: int = -1) -> Any:
    """Open a file to read; what is none, as a pipe of that name, would be waited for without end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CorruptCheckpointError(f"{path} is not a checkpoint", why="it is not a file")
    return open(descriptor, "rb", buffering=buffering)


def _hash_next(file: IO[bytes], size: int) -> hashlib._Hash:
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(_BLOCK, size))):
        digest.update(block)
        size -= len(block)
    return digest


def _check_hash(path: StrPath, actual: bytes, stored: bytes) -> None:
    if actual != stored:
        raise CorruptCheckpointError(
            f"{path} is not what was written",
            why="its content does not match the hash at its end (cut short or changed)",
        )


def _parse_header(path: StrPath, body: memoryview) -> tuple[dict[str, Any], int]:
    try:
        (size,) = struct.unpack("<Q", body[:8])
        if size > min(_MAX_HEADER, len(body) - 8):
            raise ValueError(f"a header of {size} bytes in a file of {len(body)}")
        header = json.loads(bytes(body[8 : 8 + size]))
        if not isinstance(header, dict):
            raise TypeError("the header is not an object")
    except (struct.error, ValueError, TypeError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path} is not a checkpoint", why=str(error)) from error
    return header, 8 + size


def _meta(path: StrPath, header: dict[str, Any]) -> dict[str, Any]:
    try:
        meta = json.loads(header["__metadata__"][_META])
        version = meta.pop("format")
    except Exception as error:  # JSON of any form
        raise CorruptCheckpointError(f"{path} is not a colabkit checkpoint", why="its metadata is missing") from error
    if not isinstance(version, int) or version > FORMAT:
        raise NewerFormatError(
            f"{path} was written by a newer colabkit",
            why=f"its format is {version}; this version reads up to {FORMAT}",
            hint="update colabkit, then run again",
        )
    return cast("dict[str, Any]", meta)


def _tensors(path: StrPath, header: dict[str, Any], data: memoryview) -> dict[str, np.ndarray[Any, Any]]:
    tensors = {}
    for name, entry in header.items():
        if name not in ("__metadata__", _HASH):
            begin, end = _span(path, name, entry, len(data))
            tensors[name] = _array(path, name, entry, data[begin:end])
    return tensors


def _span(path: StrPath, name: str, entry: Any, limit: int) -> tuple[int, int]:
    try:
        begin, end = entry["data_offsets"]
        if type(begin) is int and type(end) is int and 0 <= begin <= end <= limit:
            return begin, end
        raise ValueError(f"offsets {begin} to {end} in {limit} bytes")
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptCheckpointError(f"{path} is not a checkpoint", why=f"tensor {name!r}: {error}") from error


def _array(path: StrPath, name: str, entry: Any, data: memoryview) -> np.ndarray[Any, Any]:
    import numpy as np

    names = {ours: numpy for numpy, ours in _DTYPES.items()}
    try:
        shape = tuple(entry["shape"])
        array = np.frombuffer(data, _numpy_dtype(names[entry["dtype"]])).reshape(shape)
        if array.shape != shape:  # NumPy fills in a -1
            raise ValueError(f"its shape is {shape}")
    except Exception as error:  # NumPy raises what it likes of a shape that cannot be
        raise CorruptCheckpointError(f"{path} is not a checkpoint", why=f"tensor {name!r}: {error}") from error
    return array


def _numpy_dtype(name: str) -> np.dtype[Any]:
    import numpy as np

    if name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        import ml_dtypes

        name = getattr(ml_dtypes, name)
    return np.dtype(name)
