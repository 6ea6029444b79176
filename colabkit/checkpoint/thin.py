"""Thin checkpoints: only what changed travels.

A thin checkpoint is a checkpoint file like any other, with its own hash at its end, that leaves out the tensors which
an earlier complete file of the same place, its base, holds already. Its metadata says so:

    "base": {"file": NAME, "sha256": HEX, "tensors": {TENSOR: SHA256, ...}, "whole": HEX}

`sha256` is the hash of the base's content, those of the tensors prove each borrowed one, and `whole` is the hash of the
complete file that the two make together, byte for byte; the thin file's name holds its first digits. A base is always
complete, so no chain can break further back, and it is never deleted while a thin file names it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint import container, manifest
from colabkit.errors import CorruptCheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

    import numpy as np

    from colabkit._types import StrPath

_SMALLEST = 4096  # bytes; below, naming a tensor elsewhere costs about as much as the tensor
_WORTH_IT = 0.1  # the share that must be saved, since a base takes room as long as it is named


@dataclass(frozen=True, kw_only=True)
class Base:
    """A complete checkpoint that others may borrow from.

    Attributes:
        name: Its name.
        sha256: The hash of its content.
        tensors: Tensor name to the sha256 of its bytes.
    """

    name: manifest.Name
    sha256: str
    tensors: Mapping[str, str]


def table(path: StrPath, sha256: str, name: manifest.Name) -> Base:
    """Hash the tensors of a complete checkpoint, so that others can borrow from it.

    Args:
        path: Where it can be read.
        sha256: The hash of its content.
        name: Its name.
    """
    with container.Tensors(path) as tensors:
        large = [tensor for tensor, size in tensors.sizes.items() if size >= _SMALLEST]
        return Base(name=name, sha256=sha256, tensors={tensor: tensors.sha256(tensor) for tensor in large})


def borrowed(whole: Base, base: Base) -> dict[str, str]:
    """Choose what a checkpoint can borrow from another: the tensors of one name and one content."""
    return {name: digest for name, digest in whole.tensors.items() if base.tensors.get(name) == digest}


def write(file: IO[bytes], path: StrPath, whole: Base, base: Base) -> bool:
    """Write the thin form of a complete checkpoint, if it is worth it.

    Args:
        file: An open binary file.
        path: The complete checkpoint.
        whole: Its own table.
        base: What to borrow from.

    Returns:
        Whether it was written.
    """
    shared = borrowed(whole, base)
    with container.Tensors(path) as tensors:
        saved = sum(tensors.sizes[name] for name in shared)
        if saved < _WORTH_IT * sum(tensors.sizes.values()):
            return False
        own = {name: tensors.load(name) for name in tensors.sizes if name not in shared}
        named = {"file": str(base.name), "sha256": base.sha256, "tensors": shared, "whole": whole.sha256}
        container.write(file, own, {**tensors.meta, "base": named})
    return True


def base_of(meta: Mapping[str, Any], name: str) -> Base:
    """Read from its metadata what a thin checkpoint borrows from.

    Raises:
        CorruptCheckpointError: It does not say so in the right form.
    """
    try:
        base = meta["base"]
        parsed = manifest.parse(base["file"])
        if parsed is None or parsed.thin:  # also keeps a hostile file from naming any other path
            raise ValueError(base["file"])
        return Base(name=parsed, sha256=str(base["sha256"]), tensors=dict(base["tensors"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptCheckpointError(f"{name} is not a thin checkpoint", why=f"its base: {error!r}") from error


def complete(name: str, own: container.Checkpoint, base: container.Checkpoint) -> container.Checkpoint:
    """Put a thin checkpoint and its base together.

    Returns:
        The complete checkpoint, as it was saved.

    Raises:
        CorruptCheckpointError: The base is not the one that was borrowed from.
    """
    claimed = base_of(own.meta, name)
    found: dict[str, np.ndarray[Any, Any]] = dict(own.tensors)
    for tensor, digest in claimed.tensors.items():
        array = base.tensors.get(tensor)
        if array is None or hashlib.sha256(array.reshape(-1).view("uint8").data).hexdigest() != digest:
            raise CorruptCheckpointError(
                f"{name} cannot be put together", why=f"its base {claimed.name} holds another {tensor!r}"
            )
        found[tensor] = array
    meta = {key: value for key, value in own.meta.items() if key != "base"}
    return container.Checkpoint(tensors=found, meta=meta, digest=whole_of(own.meta))


def whole_of(meta: Mapping[str, Any]) -> str:
    """Read from its metadata the hash of the complete file that a thin one stands for; empty when it says none."""
    base = meta.get("base")
    return str(base.get("whole", "")) if isinstance(base, dict) else ""
