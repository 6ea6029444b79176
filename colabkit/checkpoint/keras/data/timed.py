"""How long the steps of a `fit` wait for their data, seen where the data is handed to the train function."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# On TensorFlow a batch is taken out to be timed, which costs some milliseconds: so not in a short fit, and then rarely.
_FIRST_AFTER = 1.0  # seconds
_AT_FIRST_EVERY, _AT_FIRST = 0.25, 8
_LATER_EVERY = 2.0


class TimedData:
    """Hands the iterator over the batches to a step, and notes how long the next batch takes.

    JAX and PyTorch read in Python, where each batch can be timed; what JAX computes meanwhile counts as waiting too.
    TensorFlow reads inside the compiled step. There a step now and then gets its batch, which was taken out of the same
    iterator in time, in an iterator of one; the step and its batch are the same.

    Args:
        waited: Takes the seconds.
    """

    def __init__(self, waited: Callable[[float], None]) -> None:
        self._waited = waited
        self._on_tensorflow = keras.backend.backend() == "tensorflow"
        self._samples = 0
        self._next = time.monotonic() + _FIRST_AFTER

    def of(self, iterator: Any, size: int) -> Any:
        """Return what the train function is to read a step from.

        Args:
            iterator: Over the batches.
            size: Steps of one execution.
        """
        if not self._on_tensorflow:
            return _Timed(iterator, self._waited) if size == 1 else iterator
        if size > 1 or time.monotonic() < self._next:
            return iterator
        return self._taken_out(iterator)

    def _taken_out(self, iterator: Any) -> Any:
        import tensorflow as tf

        spec = getattr(iterator, "element_spec", None)
        if not isinstance(iterator, tf.data.Iterator) or spec is None:
            self._next = math.inf
            return iterator
        began = time.perf_counter()
        try:
            batch = next(iterator)
        except StopIteration:
            return iterator  # the step finds it out by itself
        self._waited(time.perf_counter() - began)
        self._samples += 1
        self._next = time.monotonic() + (_AT_FIRST_EVERY if self._samples < _AT_FIRST else _LATER_EVERY)
        single = tf.data.Dataset.from_tensors(batch)
        same = tf.data.experimental.from_variant(
            tf.data.experimental.to_variant(single), spec
        )  # the step is not traced anew
        return iter(same)


class _Timed:
    """An iterator whose steps are timed."""

    def __init__(self, iterator: Any, waited: Callable[[float], None]) -> None:
        self._iterator, self._told = iterator, waited

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        began = time.perf_counter()
        try:
            return next(self._iterator)
        finally:
            self._told(time.perf_counter() - began)
