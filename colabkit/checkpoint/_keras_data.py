"""The order of the samples as a pure function of (seed, epoch), so that a run can go on in the middle of an epoch.

Keras' own shuffling cannot be continued: on TensorFlow a seeded `fit` repeats one order in every epoch, on JAX and
torch a restart begins again with the order of epoch 0. Here the order of epoch `e` is fixed by the seed and `e` alone,
the same on every backend, and the first epoch of a resumed `fit` starts at any step. Nothing about the data is stored.

`fit` has no public door for this, only a data adapter of its own ("Allow passing a custom data adapter" in
`get_data_adapter`). So the iterator that `fit` has just made is taken over in place. All that is known of Keras'
internals is in this file; where they look different, `take_over` says so and the run resumes at whole epochs.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    Indices = np.ndarray[Any, np.dtype[np.int64]]

_FINGERPRINT_ALL = 1 << 28  # arrays up to 256 MiB are hashed whole, larger ones by 256 blocks of 1 MiB
_BLOCK = 1 << 20


@dataclass(kw_only=True)
class Order:
    """Where an epoch stands and in which order its samples come.

    Attributes:
        seed: Fixes the order of every epoch; 64 bits.
        samples: Number of samples.
        batch_size: Samples a step.
        shuffle: Whether to shuffle at all.
        epoch: The present epoch, from 0.
        first_step: Steps of this epoch that are already done.
    """

    seed: int
    samples: int
    batch_size: int
    shuffle: bool
    epoch: int = 0
    first_step: int = 0
    _cache: tuple[tuple[int, int], Indices] | None = field(default=None, repr=False)

    @property
    def steps(self) -> int:
        """Steps in a whole epoch; the last one may be smaller."""
        return -(-self.samples // self.batch_size)

    def remaining(self) -> Indices:
        """Give the indices of the samples that this epoch still has to see, in order; int64."""
        return self.permutation()[self.first_step * self.batch_size :]

    def permutation(self) -> Indices:
        """Give the order of the whole epoch; int64, shape (samples,).

        Sorting raw Philox words: NumPy guarantees the words of a bit generator for ever (NEP 19), but not what its
        `shuffle` makes of them.
        """
        if not self.shuffle:
            return np.arange(self.samples, dtype=np.int64)
        key = (self.seed, self.epoch)
        if self._cache is None or self._cache[0] != key:
            words = np.random.Philox(key=np.array(key, np.uint64)).random_raw(self.samples)
            self._cache = (key, np.argsort(words, kind="stable").astype(np.int64))
        return self._cache[1]


class ExactArrays(ArrayDataAdapter):  # type: ignore[misc]
    """Keras' adapter for arrays, with the order of the samples in our hands."""

    order: Order
    made: Any = None  # the tf.data dataset that Keras has built over these arrays

    @property
    def num_batches(self) -> int:
        return self.order.steps - self.order.first_step

    def _get_iterator(self, slice_and_convert_fn: Any, inputs: Any) -> Iterator[Any]:
        for indices in self._batches():
            yield keras.tree.map_structure(
                lambda sliceable, at=indices: slice_and_convert_fn(sliceable, indices=at), inputs, none_is_leaf=False
            )

    def get_torch_dataloader(self) -> Any:
        import torch

        loader = super().get_torch_dataloader()
        batches = [indices.tolist() for indices in self._batches()]
        return torch.utils.data.DataLoader(loader.dataset, batch_sampler=batches, collate_fn=loader.collate_fn)

    def get_tf_dataset(self) -> Any:
        """As Keras builds it, but for where the indices come from: asked for anew whenever an epoch begins."""
        import tensorflow as tf
        from keras.src.trainers.data_adapters import array_slicing

        size = self.order.batch_size

        def batches(_: Any) -> Any:
            indices = tf.numpy_function(self.order.remaining, [], tf.int64, stateful=True)
            indices = tf.ensure_shape(indices, [None])
            whole = tf.size(indices, tf.int64) // size * size
            dataset = tf.data.Dataset.from_tensor_slices(tf.reshape(indices[:whole], [-1, size]))
            if self.order.samples % size:
                rest = tf.data.Dataset.from_tensor_slices(tf.reshape(indices[whole:], [1, -1]))
                dataset = dataset.concatenate(rest)
            return dataset

        def take(indices: Any, data: Any) -> Any:
            def take_one(leaf: Any) -> Any:
                if isinstance(leaf, array_slicing.TensorflowSparseWrapper):
                    return array_slicing.slice_tensorflow_sparse_wrapper(leaf, indices)
                if isinstance(leaf, list | tuple | dict):
                    return None  # go on into it
                return tf.gather(leaf, indices, axis=0) if tf.is_tensor(leaf) else leaf

            return keras.tree.traverse(take_one, data)

        dataset = tf.data.Dataset.zip(tf.data.Dataset.range(1).flat_map(batches), self._whole_inputs()).map(
            take, num_parallel_calls=tf.data.AUTOTUNE
        )
        options = tf.data.Options()
        options.experimental_optimization.apply_default_optimizations = False
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)

    def _whole_inputs(self) -> Any:
        """Give a dataset that repeats all inputs as tensors: the one Keras has made, else a new one with a copy."""
        import tensorflow as tf
        from keras.src.trainers.data_adapters import array_slicing

        shapes = [leaf.shape for leaf in keras.tree.flatten(self._inputs) if leaf is not None]
        waiting = [self.made] if self.made is not None else []
        while waiting:
            dataset = waiting.pop()
            leaves = [leaf for leaf in keras.tree.flatten(dataset.element_spec) if isinstance(leaf, tf.TensorSpec)]
            if [tuple(leaf.shape) for leaf in leaves] == shapes and type(dataset).__name__ == "_RepeatDataset":
                return dataset
            waiting.extend(dataset._inputs())
        inputs = array_slicing.convert_to_sliceable(self._inputs, target_backend="tensorflow")
        return tf.data.Dataset.from_tensors(keras.tree.lists_to_tuples(inputs)).repeat()

    def _batches(self) -> Iterator[Indices]:
        remaining = self.order.remaining()
        for start in range(0, len(remaining), self.order.batch_size):
            yield remaining[start : start + self.order.batch_size]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What the running `fit` has built: its iterator over the data and its list of callbacks."""

    iterator: Any
    callbacks: Any


def running_fit(model: Any, frame: FrameType | None = None) -> Fit | None:
    """Find the `fit` of this model among the callers, or None.

    A callback is given the model and nothing else; the data is in a local variable of `fit`.

    Args:
        model: The model.
        frame: Where to begin, going outwards; the caller when None.
    """
    frame = frame or sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "fit":
            here = frame.f_locals
            if here.get("self") is model and "epoch_iterator" in here:
                return Fit(iterator=here["epoch_iterator"], callbacks=here.get("callbacks"))
        frame = frame.f_back
    return None


def build(model: Any, fit: Fit | None) -> None:
    """Create all variables before the first step, so that they can be saved and restored.

    On TensorFlow Keras leaves this to the first step.
    """
    if fit is not None:
        model._symbolic_build(iterator=fit.iterator)
        fit.iterator.reset()
    elif model.optimizer is not None and model.built and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def why_inexact(fit: Fit | None) -> str | None:
    """Say why a `fit` can be resumed at whole epochs only; None when it can at any step."""
    if fit is None:
        return "colabkit does not know this version of Keras"
    adapter = getattr(fit.iterator, "data_adapter", None)
    if adapter is None or type(adapter) is not ArrayDataAdapter:
        kind = type(adapter).__name__.removesuffix("Adapter")
        return f"the data is no array ({kind}), and its order cannot be continued in the middle"
    if fit.iterator.steps_per_epoch:
        return "steps_per_epoch cuts the data into epochs of another length"
    if adapter._shuffle == "batch":
        return 'shuffle="batch" draws its order from the backend'
    return None


def take_over(fit: Fit, *, seed: int) -> Order:
    """Put the order of the samples into our hands; call it only where `why_inexact` returned None.

    Args:
        fit: The running `fit`, before its first step.
        seed: Fixes the order of every epoch.

    Returns:
        The order; set its `epoch` and `first_step` when an epoch begins.
    """
    iterator = fit.iterator
    adapter = iterator.data_adapter
    order = Order(
        seed=seed, samples=adapter._num_samples, batch_size=adapter._batch_size, shuffle=bool(adapter._shuffle)
    )
    adapter.__class__ = ExactArrays
    adapter.order = order
    if hasattr(iterator, "_distributed_dataset"):  # TensorFlow builds its dataset once; the others ask at each epoch
        strategy = iterator._distribute_strategy
        adapter.made = iterator._distributed_dataset if hasattr(iterator._distributed_dataset, "_inputs") else None
        iterator._distributed_dataset = strategy.experimental_distribute_dataset(adapter.get_tf_dataset())
    iterator.reset()
    whole_epoch = iterator._enumerate_iterator

    def rest_of_epoch() -> Iterator[tuple[int, int, Any]]:
        iterator._num_batches = adapter.num_batches
        iterator._current_iterator = None
        skipped = order.first_step
        for first, last, batches in whole_epoch():
            yield first + skipped, last + skipped, batches

    iterator._enumerate_iterator = rest_of_epoch
    return order


def fingerprint(fit: Fit) -> str:
    """Identify the training data: the shapes, the dtypes and the content of its arrays."""
    digest = hashlib.sha256()
    for leaf in keras.tree.flatten(fit.iterator.data_adapter._inputs):
        if leaf is None:
            continue
        array = np.asarray(leaf) if not hasattr(leaf, "detach") else leaf.detach().cpu().numpy()
        digest.update(f"{array.shape} {array.dtype.str};".encode())
        if array.dtype.hasobject:
            continue
        flat: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if flat.nbytes <= _FINGERPRINT_ALL:
            digest.update(flat)
        else:
            for start in np.linspace(0, flat.nbytes - _BLOCK, 256).astype(int):
                digest.update(flat[start : start + _BLOCK])
    return digest.hexdigest()[:16]
