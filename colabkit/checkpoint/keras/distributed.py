"""The workers of a `fit` of Keras: they begin from the same variables, and draw from the same seed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from colabkit.accelerator import collectives
from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.keras import state
from colabkit.checkpoint.state import workers
from colabkit.checkpoint.state.workers import Watching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.checkpoint.run_store import RunStore

__all__ = ["Watching", "WorkerCoordinator"]

_trained_here: set[Any] = set()  # folders of the runs that came to their end in this process
_begun_here: set[Any] = set()  # folders of the runs that this process has trained


class WorkerCoordinator(workers.WorkerCoordinator):
    """What the workers of one `fit` do in common; with one worker it changes nothing.

    Args:
        run: The run.
        model: The model that trains.
    """

    def __init__(self, run: RunStore, model: Any) -> None:
        super().__init__(run, collectives.current(model))

    def tell(self, kind: str, how: str, metrics: Mapping[str, Any] | None = None) -> None:
        """Send a notice of the run, where the user asked for one."""
        self._given.tell(kind, how, metrics)

    @property
    def trained_here(self) -> bool:
        """Whether the run came to its end in this process."""
        return self._given.dir in _trained_here

    def note_trained(self) -> None:
        """Remember that the run came to its end in this process."""
        _trained_here.add(self._given.dir)

    def trains_first_here(self) -> bool:
        """Say whether this process has not trained the run before, and remember that it does."""
        is_first = self._given.dir not in _begun_here
        _begun_here.add(self._given.dir)
        return is_first

    def seed(self, own: int) -> int:
        """Return the chief's seed, as other workers may have drawn from their random generators since."""
        return own if self.is_single else int.from_bytes(self._collectives.broadcast(own.to_bytes(8)))

    def begin_alike(self, model: Any, *, groups: tuple[str, ...]) -> None:
        """Give every worker the chief's variables, so that a new run begins from one state."""
        if not self.is_single:
            tensors = state.capture(model, groups=groups)
            content = io.BytesIO()
            if self.is_chief:
                container.write(content, tensors, {})
            state.apply(
                model, workers.read_bytes(self._collectives.broadcast(content.getvalue())).tensors, groups=groups
            )
