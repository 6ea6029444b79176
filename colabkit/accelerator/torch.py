"""PyTorch: Keras takes the GPU by itself, and one only; torch.distributed joins several processes of the user's own.

Imported in a scope only.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from typing import TYPE_CHECKING, Any

from colabkit.accelerator.collectives import SingleWorker
from colabkit.errors import UnsupportedError, WorkerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colabkit.accelerator.base import Strategy
    from colabkit.accelerator.collectives import Collectives

_groups: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def devices(chosen: Strategy) -> contextlib.AbstractContextManager[Any]:
    """Return the scope that keeps Keras off the GPU where that was asked for."""
    import keras

    scope: contextlib.AbstractContextManager[Any]
    scope = keras.device("cpu") if chosen.device == "cpu" else contextlib.nullcontext()
    return scope


def joined() -> Collectives:
    """Return what joins the processes of `torch.distributed`; every one of them must ask.

    Raises:
        UnsupportedError: This torch has no gloo.
    """
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return SingleWorker()
    if distributed.get_world_size() == 1:
        return SingleWorker()
    if not distributed.is_gloo_available():
        raise UnsupportedError(
            "the processes of this training cannot exchange their states",
            why="this torch was built without gloo, which does it beside NCCL, over the CPU",
            hint="install torch from PyPI or pytorch.org",
        )
    return TorchCollectives()


class TorchCollectives:
    """What the processes of `torch.distributed` tell each other, see `collectives`.

    They speak by a group of their own, on gloo: its words never come between those of a training on NCCL.
    """

    def __init__(self) -> None:
        import torch.distributed as dist

        self.index: int = dist.get_rank()
        self.count: int = dist.get_world_size()
        world: Any = dist.group.WORLD
        if world not in _groups:
            with _translated():
                _groups[world] = dist.new_group(backend="gloo")
        self._group = _groups[world]

    def gather(self, numbers: Sequence[int]) -> list[list[int]]:
        """Give every worker's numbers to all."""
        import torch
        import torch.distributed as dist

        own = torch.tensor(numbers, dtype=torch.int64)
        gathered = [torch.empty_like(own) for _ in range(self.count)]
        with _translated():
            dist.all_gather(gathered, own, group=self._group)
        return [each.tolist() for each in gathered]

    def broadcast(self, data: bytes | None) -> bytes:
        """Give the chief's bytes to all."""
        import torch
        import torch.distributed as dist

        length = self.gather([len(data or b"")])[0][0]
        words = _words(data, length) if self.index == 0 else torch.empty(length, dtype=torch.uint8)
        if length:
            with _translated():
                dist.broadcast(words, 0, group=self._group)
        received: bytes = words.numpy().tobytes()
        return received

    def collect(self, data: bytes) -> list[bytes]:
        """Bring every worker's bytes to the chief."""
        import torch
        import torch.distributed as dist

        lengths = [each[0] for each in self.gather([len(data)])]
        longest = max(lengths)
        if not longest:
            return [b""] * self.count if self.index == 0 else []
        gathered = [torch.empty(longest, dtype=torch.uint8) for _ in lengths] if self.index == 0 else None
        with _translated():
            dist.gather(_words(data, longest), gathered, 0, group=self._group)
        return [each[:length].numpy().tobytes() for each, length in zip(gathered or [], lengths, strict=False)]


def _words(data: bytes | None, length: int) -> Any:
    import numpy as np
    import torch

    words = np.zeros(length, np.uint8)
    words[: len(data or b"")] = np.frombuffer(data or b"", np.uint8)
    return torch.from_numpy(words)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise WorkerUnreachableError(
            "another process of this training does not answer",
            why=(str(error).splitlines() or [type(error).__name__])[0],
            hint="start all of them again, as torchrun and colabkit launch do by themselves; the run continues from "
            "its newest state",
        ) from error
