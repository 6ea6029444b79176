"""Data that comes as a stream, `tf.data` and generators: brought back to its place, or read again up to it."""

from __future__ import annotations

import copy
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._tools.log import say, warn
from colabkit.checkpoint import _rng
from colabkit.checkpoint._keras_arrays import fingerprint
from colabkit.checkpoint._keras_data import Source
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit._tools.keras_steps import Fit
    from colabkit.checkpoint._keras_data import Array

_FILE = re.compile(r"data/(iterator\.[a-z0-9.-]{1,60})")


class Pipeline(Source):
    """A `tf.data.Dataset`, by the state of its iterator: TensorFlow saves that with all buffers in it.

    Measured against skipping as many batches as were trained: nothing is read or computed a second time, and shuffles
    without a seed go on as they were.
    """

    reopens = True

    def __init__(self, fit: Fit, *, seed: int, saved: Mapping[str, Any]) -> None:
        super().__init__(fit, seed=seed, saved=saved)
        iterator, self._adapter = fit.iterator, fit.iterator.data_adapter
        self._owned = hasattr(iterator, "_distributed_dataset")  # on TensorFlow `fit` itself opens the dataset
        self._dataset = iterator._distributed_dataset if self._owned else self._adapter._dataset
        self._live: Any = None
        try:
            _write_iterator(iter(self._dataset))
        except Exception as error:  # noqa: BLE001 - TensorFlow has many ways to say that it cannot
            self.why_inexact = f"TensorFlow cannot save where this tf.data pipeline stands ({_reason(error)})"
            return
        if _repeats_a_shuffle(self._dataset):
            self.caveat = "TensorFlow loses the order of a shuffle() before repeat() where a pass ends; repeat() first"
        opening = _Opening(self)
        if self._owned:
            iterator._distributed_dataset = opening
        else:
            self._adapter._dataset = opening
        if keras.backend.backend() == "jax" and keras.distribution.distribution() is None:
            # Without Keras' look-ahead, which takes one batch more than was trained.
            iterator._get_iterator = self._adapter.get_jax_iterator

    def open(self) -> Any:
        """Open the dataset anew, and keep hold of the iterator."""
        self._live = iter(self._dataset)
        return self._live

    def capture(self, tensors: dict[str, Array]) -> Any:
        """Take the state of the iterator; arrays only."""
        if self._live is not None:
            tensors.update(_write_iterator(self._live))

    def restore(self, state: Any, tensors: Mapping[str, Array], *, steps: int, done: int) -> None:  # noqa: ARG002
        """Open the dataset where it was."""
        files = {match[1]: array for name, array in tensors.items() if (match := _FILE.fullmatch(name))}
        if not files:
            return
        iterator = self.open()
        _read_iterator(iterator, files)
        if self._owned:
            self.opened = iterator
        else:
            adapter = copy.copy(self._adapter)
            adapter._dataset = iterator
            jax = keras.backend.backend() == "jax"
            self.opened = iter(adapter.get_jax_iterator() if jax else adapter.get_torch_dataloader())


class _Opening:
    """Stands in for a dataset, and tells the source whenever it is opened."""

    def __init__(self, source: Pipeline) -> None:
        self._source = source

    def __iter__(self) -> Any:
        return self._source.open()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source._dataset, name)


def _repeats_a_shuffle(dataset: Any, *, repeated: bool = False) -> bool:
    """Tell whether a pipeline shuffles before it repeats.

    Measured on TensorFlow 2.21: saved near the end of a pass, the next pass comes in another order than without. Every
    other pipeline that was tried, shuffles after a repeat among them, went on exactly after any batch.
    """
    name = type(dataset).__name__
    if repeated and "Shuffle" in name:
        return True
    repeated = repeated or "Repeat" in name
    return any(_repeats_a_shuffle(below, repeated=repeated) for below in getattr(dataset, "_inputs", list)())


def _reason(error: Exception) -> str:
    text = str(error).split("}}", 1)[-1].split("[Op:", 1)[0].strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:120]


def _write_iterator(iterator: Any) -> dict[str, Array]:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.train.Checkpoint(iterator=iterator).write(f"{folder}/iterator")
        return {f"data/{path.name}": np.fromfile(path, np.uint8) for path in Path(folder).iterdir()}


def _read_iterator(iterator: Any, files: Mapping[str, Array]) -> None:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            content.tofile(Path(folder, name))
        try:
            tf.train.Checkpoint(iterator=iterator).read(f"{folder}/iterator").assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise RunMismatchError(
                "the tf.data pipeline cannot go on where the run stopped",
                why=f"it is another pipeline than was saved ({_reason(error)})",
                do="build it as it was, or open a run under another name",
            ) from error


class Generated(Source):
    """A Python generator: one that begins again as it did is read again up to where the run stopped."""

    def __init__(self, fit: Fit, *, seed: int, saved: Mapping[str, Any]) -> None:
        super().__init__(fit, seed=seed, saved=saved)
        adapter = fit.iterator.data_adapter
        if not fit.iterator.steps_per_epoch:
            self.why_inexact = "a generator without steps_per_epoch lasts one epoch only"
            return
        self._generator = adapter.generator
        self._begun: Iterator[Any] | None = None
        self._first = fingerprint(adapter._first_batches)
        adapter.generator = self._read

    def capture(self, tensors: dict[str, Array]) -> Any:  # noqa: ARG002 - no arrays
        """Take what its first batches were."""
        return {"first": self._first}

    def restore(self, state: Any, tensors: Mapping[str, Array], *, steps: int, done: int) -> None:  # noqa: ARG002
        """Read it again, if it begins as it did."""
        if state != {"first": self._first}:
            warn(
                "the generator begins with other batches than when the run began, so it cannot be brought to the same "
                "sample; training goes on with what it gives. Give it a seed of its own to continue exactly"
            )
            return
        if steps:
            say("reading %s batches of the generator again, up to where the run stopped", steps)
        self._begun = self._generator()
        for _ in range(steps):
            next(self._begun, None)

    def _read(self) -> Iterator[Any]:
        batches, self._begun = self._begun or self._generator(), None
        if keras.backend.backend() != "tensorflow":
            return batches
        return _watched(batches)


def _watched(batches: Iterator[Any]) -> Iterator[Any]:
    """Pass batches on, and warn when they are made from the global random generator: TensorFlow reads them ahead."""
    before: Any = None
    for number, batch in enumerate(batches):
        if before is not None and _rng.fingerprint() != before:
            warn(
                "the generator draws from the global random generator while batches are read ahead, so a continued "
                "run is not the same bit for bit; let it draw from numpy.random.default_rng(seed)"
            )
        yield batch
        before = _rng.fingerprint() if number == 1 else None  # the first two were read before, the third tells
