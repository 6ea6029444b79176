"""The data of a validation: an order that follows from the run, and other data than before is told."""

from __future__ import annotations

import hashlib
import inspect
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._internal.log import warn
from colabkit._internal.process.threads import Later
from colabkit.checkpoint.keras.code_fingerprint import is_the_users
from colabkit.checkpoint.keras.data.arrays import fingerprint
from colabkit.checkpoint.keras.data.dataset_state import DatasetState
from colabkit.checkpoint.keras.data.tf.graph import PipelineGraph, readable
from colabkit.checkpoint.keras.data.tf.pipeline import SeededDataset, orders_in, reason

if TYPE_CHECKING:
    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.keras.host.own_values import Array

_PREFIX = "validation/own"
_ORDERS = "validation/order"


class Validation:
    """The validation of one `fit`.

    Args:
        run: The run's name, for messages.
        given: What the user gave as `validation_data`; None where there is none.
    """

    def __init__(self, run: str, given: Any) -> None:
        self._run = run
        self._told = False
        self._own: DatasetState | None = None
        if isinstance(given, keras.utils.PyDataset) and is_the_users(type(given)):
            self._own = DatasetState(given, prefix=_PREFIX, alone=True)
        own = self._own
        self._given = given
        self._graph = Later(lambda: _graph_of(given))
        self._data = Later(
            lambda: _description(given, self._graph.result()) if own is None else _hash(sorted(own.data.items()))
        )
        self._kept: tuple[dict[str, Any], list[Array]] | None = None  # how its lists were, and their orders

    def restore(self, saved: Checkpoint) -> None:
        """Let a dataset of the user's come in the order in which it did, and tell other data than before."""
        before, now = saved.meta.get("validation"), self._data.result()
        if before and now and not self._is_the_same(before, now, saved):
            text = "%s: the validation data is other than before, so its numbers cannot be compared with earlier ones"
            warn(text, self._run)
        elif self._own is not None:
            self._own.restore(saved.meta.get("validation_state") or {}, saved.tensors)

    def _is_the_same(self, before: str, now: str, saved: Checkpoint) -> bool:
        """Whether it is the data of before, once its lists are in the order that Python drew then."""
        graph, lists = self._graph.result(), saved.meta.get("validation_lists") or {}
        if graph is None or not lists:
            return before == now
        orders = orders_in(saved.tensors, _ORDERS)
        if graph.in_order_of(lists, orders):
            graph = PipelineGraph(self._given, orders)
        if graph.data["fingerprint"] != before or graph.data.get("rows") != lists.get("rows"):
            return False
        if not all(map(np.array_equal, graph.orders, orders)):
            return False
        self._kept = dict(lists), orders
        return True

    def capture(self, tensors: dict[str, Array]) -> dict[str, Any]:
        """Take which data it is, and what a dataset of the user's keeps.

        Args:
            tensors: Arrays are added here, under names that begin with `validation/`.
        """
        own = {} if self._own is None else self._own.capture(tensors)
        kept = {"validation": self._data.result(), "validation_state": own}
        graph = self._graph.result()
        if self._kept is None and graph is not None and graph.orders:
            lists = {name: graph.data[name] for name in ("rows", "others")}
            self._kept = {**lists, "seeds": graph.seeds}, graph.orders
        if self._kept is None:
            return kept
        lists, orders = self._kept
        tensors.update({f"{_ORDERS}/{number}": order for number, order in enumerate(orders)})
        return {**kept, "validation_lists": lists}

    def begins(self, iterator: Any, *, seed: int, epoch: int) -> None:
        """Fix the order of the samples, and tell once what cannot be fixed.

        Args:
            iterator: Keras' iterator over the data, before it is begun.
            seed: The run's seed.
            epoch: The number of the epoch, from 0.
        """
        seeded = seed_validation(iterator, seed=seed, epoch=epoch, kept=self._kept)
        if not self._told and seeded is not None and (why := seeded.caveat_of_a_pass):
            warn("%s: the numbers of a validation are not the same bit for bit in each process: %s", self._run, why)
        self._told = True


def _graph_of(given: Any) -> PipelineGraph | None:
    """Read the graph of a `tf.data` pipeline; None for other data, and where it is not known how."""
    try:
        return PipelineGraph(given) if hasattr(given, "element_spec") and readable(given) else None
    except Exception:  # noqa: BLE001 - TensorFlow has many ways to say that it cannot
        return None


def _description(given: Any, graph: PipelineGraph | None) -> str:
    """Tell data from other data; empty where it is not known how."""
    if given is None or isinstance(given, keras.utils.PyDataset) or inspect.isgenerator(given):
        return ""
    try:
        if hasattr(given, "element_spec"):
            return str(graph.data["fingerprint"]) if graph is not None else ""
        return fingerprint(given) if isinstance(given, tuple | list) or hasattr(given, "shape") else ""
    except Exception:  # noqa: BLE001 - arrays are of many packages
        return ""


def _hash(parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def seed_validation(
    iterator: Any, *, seed: int, epoch: int, kept: tuple[dict[str, Any], list[Array]] | None = None
) -> SeededDataset | None:
    """Let a validation on `tf.data` read in an order that follows from the run's seed and the epoch.

    Args:
        iterator: Keras' iterator over the data of the validation, before it is begun.
        seed: The run's seed.
        epoch: The number of the epoch, from 0.
        kept: The lists, the seeds and the orders of the pipeline that the run began with, where it has such lists.

    Returns:
        What reads it now; None where it is no `tf.data`.
    """
    adapter: Any = getattr(iterator, "data_adapter", None)
    owned = hasattr(iterator, "_distributed_dataset")
    if type(adapter).__name__ != "TFDatasetAdapter":
        return None
    dataset = iterator._distributed_dataset if owned else adapter._dataset
    if not isinstance(dataset, _Passes):
        lists, orders = kept or ({}, [])
        seeded = SeededDataset(dataset, seed=seed, saved=lists)
        seeded.arrange(lists, orders)
        dataset = _Passes(seeded)
        if owned:
            iterator._distributed_dataset = dataset
        else:
            adapter._dataset = dataset
    if getattr(iterator, "_current_iterator", None) is not None:
        iterator._current_iterator = None  # with validation_steps, too, each validation begins at the first batch
        iterator._steps_seen = 0
    dataset.number = epoch
    return dataset.seeded


class _Passes:
    """Stands in for a dataset that is opened for the validation of an epoch."""

    def __init__(self, seeded: SeededDataset) -> None:
        self.seeded = seeded
        self.number = 0
        self._is_given = False

    def __iter__(self) -> Any:
        if not self._is_given:
            try:
                return self.seeded.open(self.number)
            except Exception as error:  # noqa: BLE001 - TensorFlow has many ways to say that it cannot
                self._is_given = True
                warn("the validation's tf.data pipeline is read as it is (%s): its order is not kept", reason(error))
        return iter(self.seeded.given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.seeded.given, name)
