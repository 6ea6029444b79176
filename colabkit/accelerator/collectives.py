"""The collectives through which workers that train together communicate: small integers gathered, bytes broadcast.

They use the collectives of the engine that trains, so that they come in the same order as its steps on every worker,
and no other address must be reachable. Every worker must make the same calls in the same order.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Sequence


class Collectives(Protocol):
    """The collectives of one engine."""

    index: int
    count: int

    def gather(self, numbers: Sequence[int]) -> list[list[int]]:
        """Give every worker's numbers to all; as many from each, of 31 bits."""

    def broadcast(self, data: bytes | None) -> bytes:
        """Give the chief's bytes to all."""


class Collecting(Collectives, Protocol):
    """Those that can bring every worker's bytes to the chief too."""

    def collect(self, data: bytes) -> list[bytes]:
        """Bring every worker's bytes to the chief, in the order of the workers; the others get an empty list."""


def shared_length(engine: Collectives, data: bytes | None) -> int:
    """Give the length of the chief's bytes to all; it may have more than the 31 bits that `gather` takes."""
    size = len(data or b"")
    high, low = engine.gather([size >> 30, size & (1 << 30) - 1])[0]
    return (high << 30) + low


class SingleWorker:
    """The one worker of a training that is not shared; it agrees with itself."""

    index, count = 0, 1

    def gather(self, numbers: Sequence[int]) -> list[list[int]]:
        """Give the numbers back."""
        return [list(numbers)]

    def broadcast(self, data: bytes | None) -> bytes:
        """Give the bytes back."""
        return data or b""


def current(model: Any) -> Collectives:
    """Return the collectives of a model's workers, or of the present scope's; `SingleWorker` where there is one worker.

    Args:
        model: A Keras model; None for the present scope.
    """
    if (tensorflow := sys.modules.get("tensorflow")) is not None:
        backend = importlib.import_module("colabkit.accelerator.tensorflow")
        strategy = getattr(model, "distribute_strategy", None) or tensorflow.distribute.get_strategy()
        if backend.spans_workers(strategy):
            return cast("Collectives", backend.Collectives(strategy))
    # A JAX that was not initialised for several processes must not open its devices for this question.
    state = getattr(sys.modules.get("jax._src.distributed"), "global_state", None)
    if (getattr(state, "num_processes", None) or 1) > 1:
        return cast("Collectives", importlib.import_module("colabkit.accelerator.jax").Collectives())
    return SingleWorker()
