"""A `keras.utils.PyDataset` as training data: batches are asked for by number, so any of them can be the next."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import keras

from colabkit.checkpoint import _rng, snapshot
from colabkit.checkpoint._keras_data import Source
from colabkit.checkpoint._order import Order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._tools.keras_steps import Fit
    from colabkit.checkpoint._keras_data import Array


class InOrder(keras.utils.PyDataset):  # type: ignore[misc]
    """A PyDataset whose batches come in our order, from any step on.

    Args:
        dataset: The user's.
        order: The order of its batches; None for one without an end, whose batches come by their number.

    Attributes:
        passed: Batches that came before the first one, where there is no end.
        begun: Whether the coming epoch was begun by an earlier process.
    """

    def __init__(self, dataset: Any, order: Order | None) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self._dataset = dataset
        self._order = order
        self.passed = 0
        self.begun = False

    def __getitem__(self, index: int) -> Any:
        if self._order is None:
            return self._dataset[self.passed + index]
        return self._dataset[int(self._order.remaining()[index])]

    @property
    def num_batches(self) -> int | None:
        """Batches that this epoch still has to see."""
        return None if self._order is None else self._order.steps - self._order.first_step

    def on_epoch_begin(self) -> None:
        """Pass it on, once an epoch however often the epoch is continued."""
        if not self.begun:
            self._dataset.on_epoch_begin()
        self.begun = False

    def on_epoch_end(self) -> None:
        """Pass it on."""
        self._dataset.on_epoch_end()


class Batches(Source):
    """A PyDataset, with or without an end, with or without workers."""

    def __init__(self, fit: Fit, *, seed: int, saved: Mapping[str, Any]) -> None:
        super().__init__(fit, seed=seed, saved=saved)
        adapter = fit.iterator.data_adapter
        self._dataset = adapter.py_dataset
        self._order: Order | None = None
        self._keeps = hasattr(self._dataset, "get_state") and hasattr(self._dataset, "set_state")
        name, batches = type(self._dataset).__name__, self._dataset.num_batches
        changes = [
            hook
            for hook in ("on_epoch_begin", "on_epoch_end")
            if getattr(type(self._dataset), hook) is not getattr(keras.utils.PyDataset, hook)
        ]
        if changes and not self._keeps:
            self.why_inexact = f"{name}.{changes[0]} may change it; give it get_state() and set_state(state)"
        elif batches is not None and fit.iterator.steps_per_epoch:
            self.why_inexact = "steps_per_epoch cuts the data into epochs of another length"
        else:
            self._take_over(adapter, name, batches)

    def _take_over(self, adapter: Any, name: str, batches: int | None) -> None:
        before = _rng.fingerprint()
        self._dataset[0]
        if _rng.fingerprint() != before and (adapter.enqueuer is not None or keras.backend.backend() == "tensorflow"):
            self.caveat = f"{name} draws from the global random generator while batches are read ahead"
        if batches is not None:
            self._order = Order(seed=self.seed, samples=batches, batch_size=1, shuffle=bool(adapter.shuffle))
        self._in_order = InOrder(self._dataset, self._order)
        adapter.py_dataset, adapter.shuffle = self._in_order, False
        if adapter.enqueuer is not None:
            adapter.enqueuer.py_dataset, adapter.enqueuer.shuffle = self._in_order, False
            adapter.enqueuer.stop()
            adapter.enqueuer.ready_queue = queue.Queue()  # what was read ahead while the model was built

    def identity(self) -> dict[str, Any]:
        """Tell the seed of the order; the content may be far too much to read."""
        return {"seed": self.seed}

    def go_to(self, *, epoch: int, done: int) -> None:
        """Set the order to the epoch."""
        if self._order is not None:
            self._order.epoch, self._order.first_step = epoch, done

    def capture(self, tensors: dict[str, Array]) -> Any:
        """Take what the dataset keeps of its own, where it can tell."""
        if not self._keeps:
            return None
        return snapshot.take_apart(self._dataset.get_state(), "data/state", tensors)

    def restore(self, state: Any, tensors: Mapping[str, Array], *, steps: int, done: int) -> None:
        """Give the dataset its own state back."""
        self._in_order.passed, self._in_order.begun = steps, done > 0
        if self._keeps and state is not None:
            self._dataset.set_state(snapshot.put_together(state, tensors))
