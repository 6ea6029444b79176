"""A `keras.utils.PyDataset` as training data: batches are asked for by number, so any of them can be the next."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

import keras

from colabkit._internal.display.few import few
from colabkit._internal.log import warn
from colabkit.checkpoint.keras.code_fingerprint import is_the_users
from colabkit.checkpoint.keras.data import Source
from colabkit.checkpoint.keras.data.dataset_state import DatasetState
from colabkit.checkpoint.keras.data.sample_order import SampleOrder
from colabkit.checkpoint.keras.state import changed_settings
from colabkit.checkpoint.state import pytree, rng
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._patches.keras_steps import Fit
    from colabkit.checkpoint.keras.data import Array


class InOrder(keras.utils.PyDataset):  # type: ignore[misc]
    """A PyDataset whose batches come in our order, from any step on.

    Args:
        dataset: The user's.
        order: The order of its batches; None for one without an end, whose batches come by their number.

    Attributes:
        passed: Batches that came before the first one, where there is no end.
        begun: Whether the coming epoch was begun by an earlier process.
    """

    def __init__(self, dataset: Any, order: SampleOrder | None) -> None:
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

    kind = "keras.utils.PyDataset"

    def __init__(self, fit: Fit, *, seed: int, saved: Mapping[str, Any]) -> None:
        super().__init__(fit, seed=seed, saved=saved)
        adapter = fit.iterator.data_adapter
        self._dataset = adapter.py_dataset
        self._order: SampleOrder | None = None
        self._other: set[str] = set()  # what holds other data than before
        self._keeps = hasattr(self._dataset, "get_state") and hasattr(self._dataset, "set_state")
        self.is_a_stream = self._keeps
        name, batches = type(self._dataset).__name__, self._dataset.num_batches
        changes = [
            hook
            for hook in ("on_epoch_begin", "on_epoch_end")
            if getattr(type(self._dataset), hook) is not getattr(keras.utils.PyDataset, hook)
        ]
        self._own: DatasetState | None = None
        if not self._keeps and is_the_users(type(self._dataset)):
            self._own = DatasetState(self._dataset, shuffles=bool(changes))
        if changes and not self._keeps and self._own is None:
            self.why_inexact = f"{name}.{changes[0]} may change it; give it get_state() and set_state(state)"
        elif batches is not None and fit.iterator.steps_per_epoch:
            self.why_inexact = "steps_per_epoch cuts the data into epochs of another length"
        else:
            self._attach_data(adapter, name, batches)

    def _attach_data(self, adapter: Any, name: str, batches: int | None) -> None:
        before = rng.fingerprint()
        self._dataset[0]
        if self._own is not None and (changed := self._own.changed()):
            changed = [name + changed[0] if changed[0].startswith(".") else changed[0]]
            self.caveat = f"{changed[0]} changes as batches are read; give it get_state() and set_state(state)"
        if rng.fingerprint() != before and (adapter.enqueuer is not None or keras.backend.backend() == "tensorflow"):
            self.caveat = f"{name} draws from the global random generator while batches are read ahead"
        if batches is not None:
            self._order = SampleOrder(seed=self.seed, samples=batches, batch_size=1, shuffle=bool(adapter.shuffle))
        self._in_order = InOrder(self._dataset, self._order)
        adapter.py_dataset, adapter.shuffle = self._in_order, False
        if adapter.enqueuer is not None:
            adapter.enqueuer.py_dataset, adapter.enqueuer.shuffle = self._in_order, False
            adapter.enqueuer.stop()
            adapter.enqueuer.ready_queue = queue.Queue()  # what was read ahead while the model was built

    def identity(self) -> dict[str, Any]:
        """Tell the seed of the order, and what it holds; what it reads from files may be far too much."""
        return {
            "kind": self.kind,
            "seed": self.seed,
            "own": self._own.data if self._own is not None else {},
            "settings": self._own.settings if self._own is not None else {},
            "class_weight": str(self.fit.iterator.data_adapter.class_weight),
        }

    def check(self, run: str, *, in_epoch: bool, check_data: bool) -> None:
        """As of any data; refuse arrays, lists and frames that hold something else."""
        super().check(run, in_epoch=in_epoch, check_data=check_data)
        weights = str(self.fit.iterator.data_adapter.class_weight)
        if self.saved.get("class_weight", weights) != weights:
            warn("%s: the weights of the classes are others, and in effect from now on", run)
        settings, earlier = self.identity()["settings"], self.saved.get("settings") or {}
        both = settings.keys() & earlier.keys()
        if changed := changed_settings({key: earlier[key] for key in both}, {key: settings[key] for key in both}):
            text = "%s: changed since the state was saved, and in effect from now on: %s"
            warn(text, run, few(changed, 5, between="; "))
        before, now = self.saved.get("own") or {}, self.identity()["own"]
        self._other = {name for name in now if before.get(name, now[name]) != now[name]}
        other = [name.removeprefix("global-").lstrip(".") for name in now if name in self._other]
        if other and check_data:
            raise RunMismatchError(
                f"the run {run} was trained on other data",
                why=f"{', '.join(other[:3])} of {type(self._dataset).__name__} holds something else now",
                hint="pass the same data; if it is drawn, as by train_test_split, give that a seed: random_state=0. "
                "Other data is a training of its own: "
                'run.phase("NAME").resume(), or another run. run.resume(check_data=False) trains on with it',
            )

    def go_to(self, *, epoch: int, done: int) -> None:
        """Set the order to the epoch."""
        if self._order is not None:
            self._order.epoch, self._order.first_step = epoch, done

    def capture(self, tensors: dict[str, Array], *, steps: int = 0) -> Any:  # noqa: ARG002
        """Take what the dataset keeps of its own, where it can tell."""
        if self._own is not None:
            return {"own": self._own.capture(tensors)}
        return pytree.flatten(self._dataset.get_state(), "data/state", tensors) if self._keeps else None

    def restore(self, state: Any, tensors: Mapping[str, Array], *, steps: int, done: int) -> None:
        """Give the dataset its own state back."""
        self._in_order.passed, self._in_order.begun = steps, done > 0
        if self._own is not None:
            states = (state or {}).get("own") or {}
            self._own.restore({name: kept for name, kept in states.items() if name not in self._other}, tensors)
        elif self._keeps and state is not None:
            self._dataset.set_state(pytree.unflatten(state, tensors))
