"""A run that several workers train: one of them reads and writes it, and all act on the same state at the same step.

The chief alone opens the run's files, so that the others need no access to them: what it restores goes to all by the
collectives of the engine that trains. When to save depends on a clock, and a signal comes to each worker at another
step; so the workers ask each other, now and then, at a step that all know.
"""

from __future__ import annotations

import io
import tempfile
import time
from typing import TYPE_CHECKING, Any

from colabkit.accelerator import crew
from colabkit.checkpoint import _keras_state as state
from colabkit.checkpoint import container

if TYPE_CHECKING:
    from colabkit.checkpoint.container import Checkpoint
    from colabkit.checkpoint.run import Run

_ASK_EVERY = 0.5
"""Seconds of training between two questions; a question costs about as much as adding up the gradients of a step."""

_MOST_STEPS = 1000


class Watching:
    """Stands in for the run on a worker that is not the chief: it takes what is to be written, and writes nothing.

    Args:
        run: The run as this worker has opened it.
    """

    def __init__(self, run: Run) -> None:
        self.name = run.name
        self.every = run.every
        self.status = run.status

    def ignore(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    begin_writing = end_writing = submit = written = close = ignore


class Together:
    """What the workers of one `fit` do in common; with one worker it changes nothing.

    Args:
        run: The run.
        model: The model that trains.
    """

    def __init__(self, run: Run, model: Any) -> None:
        self._crew = crew.of(model)
        self._given = run
        self.alone = self._crew.count == 1
        self.run: Run | Watching = run if self._crew.index == 0 else Watching(run)
        self._ask_at = 1
        self._asked = (0, time.monotonic())

    def newest(self, kind: str) -> Checkpoint | None:
        """Read the newest whole checkpoint as the chief finds it; all workers get the same."""
        found = self._given.newest(kind) if self._crew.index == 0 else None
        return found if self.alone else self._share(found)

    def seed(self, own: int) -> int:
        """Return the chief's seed, as other workers may have drawn from their random generators since."""
        return own if self.alone else int.from_bytes(self._crew.broadcast(own.to_bytes(8)))

    def begin_alike(self, model: Any, *, groups: tuple[str, ...]) -> None:
        """Give every worker the chief's variables, so that a new run begins from one state."""
        if not self.alone:
            tensors = state.capture(model, groups=groups)
            content = io.BytesIO()
            if self._crew.index == 0:
                container.write(content, tensors, {})
            state.apply(model, _read(self._crew.broadcast(content.getvalue())).tensors, groups=groups)

    def decide(self, *, due: bool, signal: int, step: int, ask: bool = False) -> tuple[bool, int]:
        """Decide whether to save and whether to stop, the same on every worker.

        Args:
            due: Whether the chief's clock or step count says so.
            signal: The signal that this worker has received; 0 for none.
            step: Steps trained so far, the same on every worker.
            ask: Ask the others now, whatever the step.

        Returns:
            Whether to save, and the signal to stop by; 0 to go on.
        """
        if self.alone:
            return due, signal
        if not ask and step < self._ask_at:
            return False, 0
        told = self._crew.gather([int(due), signal, self._steps_between(step)])
        self._ask_at = step + told[0][2]
        return bool(told[0][0]), max(numbers[1] for numbers in told)

    def _steps_between(self, step: int) -> int:
        (before, since), now = self._asked, time.monotonic()
        self._asked = (step, now)
        pace = (step - before) / max(now - since, 1e-6)
        steps = max(1, min(_MOST_STEPS, int(pace * _ASK_EVERY)))
        every = self.run.every.steps
        return steps if every is None else min(steps, every - step % every or every)

    def _share(self, found: Checkpoint | None) -> Checkpoint | None:
        content = io.BytesIO()
        if found is not None:
            container.write(content, found.tensors, found.meta)
        received = self._crew.broadcast(content.getvalue())
        if found is not None or not received:
            return found
        return _read(received)


def _read(content: bytes) -> Checkpoint:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return container.read(file.name)
