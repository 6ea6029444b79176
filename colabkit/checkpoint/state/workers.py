"""A run that several workers train: one of them reads and writes it, and all act on the same state at the same step.

The chief alone opens the run's files, so that the others need no access to them: what it restores goes to all by the
collectives of the engine that trains. When to save depends on a clock, and a signal comes to each worker at another
step; so the workers ask each other, now and then, at a step that all know.

What differs from worker to worker, such as random states, the place in the data and gradients that wait, is found by
comparing hashes with the chief's: only that is sent to it, and stands in the checkpoint under `rank/NUMBER/`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from colabkit.checkpoint.format import file as container

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.accelerator.collectives import Collecting, Collectives
    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.run_store import RunStore

_ASK_EVERY = 0.5
"""Seconds of training between two questions; a question costs about as much as adding up the gradients of a step."""

_MOST_STEPS = 1000
_HASHERS = 4
_RANK = "rank/"


class Watching:
    """Stands in for the run on a worker that is not the chief: it takes what is to be written, and writes nothing.

    Args:
        run: The run as this worker has opened it.
    """

    def __init__(self, run: RunStore) -> None:
        self.name = run.name
        self.dir = run.dir
        self.every = run.every
        self.limit = run.limit
        self.status = run.status

    def ignore(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    begin_writing = end_writing = submit = not_taken = written = close = tell = forget_after = ignore


class WorkerCoordinator:
    """Coordinates the workers of one training; with one worker it changes nothing.

    Args:
        run: The run.
        collectives: The collectives through which the workers communicate.

    Attributes:
        is_single: Whether there is one worker.
        run: The run, which writes on the chief only.
    """

    def __init__(self, run: RunStore, collectives: Collectives) -> None:
        self._collectives = collectives
        self._given = run
        self.is_single = collectives.count == 1
        self.run: RunStore | Watching = run if collectives.index == 0 else Watching(run)
        self._ask_at = 1
        self._last_gather = (0, time.monotonic())

    @property
    def is_chief(self) -> bool:
        """Whether this worker reads and writes the run."""
        return self._collectives.index == 0

    @property
    def count(self) -> int:
        """How many workers there are."""
        return self._collectives.count

    @property
    def index(self) -> int:
        """Which of them this is."""
        return self._collectives.index

    def newest(self, kind: str, *, between_epochs: bool = False) -> Checkpoint | None:
        """Read the newest whole checkpoint as the chief finds it; all workers get the same."""
        checkpoint = self._given.newest(kind, between_epochs=between_epochs) if self.is_chief else None
        return checkpoint if self.is_single else self.share(checkpoint)

    def share(self, checkpoint: Checkpoint | None) -> Checkpoint | None:
        """Give all workers the checkpoint that the chief has read, each with what is its own in it."""
        if self.is_single:
            return checkpoint
        content = io.BytesIO()
        if checkpoint is not None:
            container.write(content, checkpoint.tensors, checkpoint.meta)
        received = self._collectives.broadcast(content.getvalue())
        if checkpoint is None and received:
            checkpoint = read_bytes(received)
        return None if checkpoint is None else self._own_part(checkpoint)

    def _own_part(self, checkpoint: Checkpoint) -> Checkpoint:
        """Put what belongs to this worker in the place of the chief's."""
        states = checkpoint.meta.get("ranks", [])
        if not 0 < self.index < len(states):
            return checkpoint
        prefix = f"{_RANK}{self.index}/"
        own = {name[len(prefix) :]: array for name, array in checkpoint.tensors.items() if name.startswith(prefix)}
        meta = checkpoint.meta | ({} if states[self.index] is None else {"state": states[self.index]})
        return dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, **own}, meta=meta)

    def collect(self, tensors: dict[str, Any], state: Any) -> list[Any]:
        """Add to the chief's tensors what differs on the other workers.

        Args:
            tensors: This worker's, by name.
            state: Its tree, which names them.

        Returns:
            For each worker its tree, or None where that is the chief's; for one worker alone nothing.
        """
        if self.is_single:
            return []
        mine = _digests(tensors, state)
        chief = json.loads(self._collectives.broadcast(json.dumps(mine).encode() if self.is_chief else b""))
        content = io.BytesIO()
        if not self.is_chief:
            other = {name: array for name, array in tensors.items() if chief.get(name) != mine[name]}
            container.write(content, other, {"tree": None if mine[""] == chief.get("") else state})
        states: list[Any] = [None]
        for rank, received in enumerate(cast("Collecting", self._collectives).collect(content.getvalue())[1:], 1):
            part = read_bytes(received)
            tensors |= {f"{_RANK}{rank}/{name}": array for name, array in part.tensors.items()}
            states.append(part.meta["tree"])
        return states

    def decide(self, *, due: bool, signal: int, step: int, ask: bool = False) -> tuple[bool, int]:
        """Decide whether to save and whether to stop, the same on every worker.

        Args:
            due: Whether the chief's clock or step count says so.
            signal: The signal that this worker has received; 0 for none.
            step: Steps trained so far, the same on every worker.
            ask: Gather from the others now, whatever the step.

        Returns:
            Whether to save, and the signal to stop by; 0 to go on.
        """
        if self.is_single:
            return due, signal
        if not ask and step < self._ask_at:
            return False, 0
        gathered = self._collectives.gather([int(due), signal, self._steps_between(step)])
        self._ask_at = step + gathered[0][2]
        return bool(gathered[0][0]), max(numbers[1] for numbers in gathered)

    def _steps_between(self, step: int) -> int:
        (before, since), now = self._last_gather, time.monotonic()
        self._last_gather = (step, now)
        pace = (step - before) / max(now - since, 1e-6)
        steps = max(1, min(_MOST_STEPS, int(pace * _ASK_EVERY)))
        every = self.run.every.steps
        return steps if every is None else min(steps, every - step % every or every)


def read_bytes(content: bytes) -> Checkpoint:
    """Read a checkpoint that came from another worker."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return container.read(file.name)


def _digests(tensors: Mapping[str, Any], state: Any) -> dict[str, str]:
    """Hash each tensor, and under no name the tree."""

    def digest(array: Any) -> str:
        hasher = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
        hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return hasher.hexdigest()

    with ThreadPoolExecutor(_HASHERS) as pool:
        digests = dict(zip(tensors, pool.map(digest, tensors.values()), strict=True))
    return digests | {"": hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()}
