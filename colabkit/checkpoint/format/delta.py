"""Delta checkpoints: files with only the tensors that changed since a complete one.

A delta checkpoint is a checkpoint file like any other, with its own hash at its end. It leaves out the tensors and the
long entries of metadata that an earlier complete file of the same place, its base, holds already. Its metadata says so:

    "base": {"file": NAME, "sha256": HEX, "tensors": {TENSOR: SHA256, ...}, "meta": {KEY: SHA256, ...}, "whole": HEX}

`sha256` is the hash of the base's content. Those of the tensors prove each borrowed one; those of the entries, which
are null in the delta file, are of each value as compact JSON. `whole` is the hash of the complete file that the two
make together, byte for byte; the delta file's name holds its first digits. A base is always complete, so no chain can
break further back, and it is never deleted while a delta file names it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.format import naming
from colabkit.errors import CorruptCheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    import numpy as np

    from colabkit._types import StrPath

_SMALLEST = 256  # bytes; below, naming what lies elsewhere costs about as much as itself
_WORTH_IT = 0.1  # the share that must be saved, since a base takes room as long as it is named


@dataclass(frozen=True, kw_only=True)
class BaseCheckpoint:
    """A complete checkpoint that others may borrow from.

    Attributes:
        name: Its name.
        sha256: The hash of its content.
        tensors: Tensor name to the sha256 of its bytes.
        meta: Key of the metadata to the sha256 of its value as compact JSON.
    """

    name: naming.CheckpointName
    sha256: str
    tensors: Mapping[str, str]
    meta: Mapping[str, str]


def tensor_digests(path: StrPath, sha256: str, name: naming.CheckpointName) -> BaseCheckpoint:
    """Hash what others can borrow from a complete checkpoint.

    Args:
        path: Where it can be read.
        sha256: The hash of its content.
        name: Its name.
    """
    with container.Tensors(path) as tensors:
        large = [tensor for tensor, size in tensors.sizes.items() if size >= _SMALLEST]
        texts = {key: _text(value) for key, value in tensors.meta.items()}
        return BaseCheckpoint(
            name=name,
            sha256=sha256,
            tensors={tensor: tensors.sha256(tensor) for tensor in large},
            meta={key: hashlib.sha256(text).hexdigest() for key, text in texts.items() if len(text) >= _SMALLEST},
        )


def shared_tensors(full: Mapping[str, str], base: Mapping[str, str]) -> dict[str, str]:
    """Choose what a checkpoint can borrow from another: what has one name and one content."""
    return {name: digest for name, digest in full.items() if base.get(name) == digest}


def _text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def write(file: IO[bytes], path: StrPath, full: BaseCheckpoint, base: BaseCheckpoint) -> bool:
    """Write the delta form of a complete checkpoint, if it is worth it.

    Args:
        file: An open binary file.
        path: The complete checkpoint.
        full: Its own table.
        base: What to borrow from.

    Returns:
        Whether it was written.
    """
    shared, shared_meta = shared_tensors(full.tensors, base.tensors), shared_tensors(full.meta, base.meta)
    with container.Tensors(path) as tensors:
        saved = sum(tensors.sizes[name] for name in shared)
        if saved < _WORTH_IT * sum(tensors.sizes.values()):
            return False
        own = {name: tensors.load(name) for name in tensors.sizes if name not in shared}
        named = {
            "file": str(base.name),
            "sha256": base.sha256,
            "tensors": shared,
            "meta": shared_meta,
            "whole": full.sha256,
        }
        container.write(file, own, {**tensors.meta, **dict.fromkeys(shared_meta), "base": named})
    return True


def base_of(meta: Mapping[str, Any], name: str) -> BaseCheckpoint:
    """Read from its metadata what a delta checkpoint borrows from.

    Raises:
        CorruptCheckpointError: It does not say so in the right form.
    """
    try:
        base = meta["base"]
        parsed = naming.parse(base["file"])
        if parsed is None or parsed.is_delta:  # also keeps a hostile file from naming any other path
            raise ValueError(base["file"])
        meta = dict(base.get("meta", {}))  # the first ones borrowed tensors only
        return BaseCheckpoint(name=parsed, sha256=str(base["sha256"]), tensors=dict(base["tensors"]), meta=meta)
    except Exception as error:  # JSON of any form
        raise CorruptCheckpointError(f"{name} is not a delta checkpoint", why=f"its base: {error!r}") from error


def complete(name: str, own: container.Checkpoint, base: container.Checkpoint) -> container.Checkpoint:
    """Put a delta checkpoint and its base together.

    Returns:
        The complete checkpoint, as it was saved.

    Raises:
        CorruptCheckpointError: The base is not the one that was borrowed from.
    """
    claimed = base_of(own.meta, name)
    arrays: dict[str, np.ndarray[Any, Any]] = dict(own.tensors)
    for tensor, digest in claimed.tensors.items():
        array = base.tensors.get(tensor)
        if array is None or hashlib.sha256(array.reshape(-1).view("uint8").data).hexdigest() != digest:
            raise _another(name, claimed, tensor)
        arrays[tensor] = array
    meta = {key: value for key, value in own.meta.items() if key != "base"}
    for key, digest in claimed.meta.items():
        if key not in base.meta or hashlib.sha256(_text(base.meta[key])).hexdigest() != digest:
            raise _another(name, claimed, key)
        meta[key] = base.meta[key]
    return container.Checkpoint(tensors=arrays, meta=meta, digest=full_digest(own.meta))


def _another(name: str, claimed: BaseCheckpoint, what: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(f"{name} cannot be assembled", why=f"its base {claimed.name} holds another {what!r}")


def full_digest(meta: Mapping[str, Any]) -> str:
    """Read from its metadata the hash of the complete file that a delta stands for; empty when it says none."""
    base = meta.get("base")
    return str(base.get("whole", "")) if isinstance(base, dict) else ""
