"""Arrays as training data: the order of the samples is taken into our hands, so that any step can be the next."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

from colabkit.checkpoint._keras_data import Source
from colabkit.checkpoint._order import Order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit._tools.keras_steps import Fit

_FINGERPRINT_ALL = 1 << 28  # arrays up to 256 MiB are hashed whole, larger ones by 256 blocks of 1 MiB
_BLOCK = 1 << 20
_PIECE = 8 << 20  # bytes that are hashed by one thread


class ExactArrays(ArrayDataAdapter):  # type: ignore[misc]
    """Keras' adapter for arrays, with the order of the samples in our hands."""

    order: Order
    made: Any = None  # the tf.data dataset that Keras has built over these arrays

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

    def _batches(self) -> Iterator[Any]:
        remaining = self.order.remaining()
        for start in range(0, len(remaining), self.order.batch_size):
            yield remaining[start : start + self.order.batch_size]


class Arrays(Source):
    """NumPy arrays and tensors, given whole."""

    def __init__(self, fit: Fit, *, seed: int, saved: Mapping[str, Any]) -> None:
        super().__init__(fit, seed=seed, saved=saved)
        adapter = fit.iterator.data_adapter
        if type(adapter) is not ArrayDataAdapter:
            self.why_inexact = f"colabkit does not know the adapter {type(adapter).__name__}"
        elif fit.iterator.steps_per_epoch:
            self.why_inexact = "steps_per_epoch cuts the data into epochs of another length"
        elif adapter._shuffle == "batch":
            self.why_inexact = 'shuffle="batch" draws its order from the backend'
        else:
            self._take_over(adapter)

    def _take_over(self, adapter: Any) -> None:
        size, shuffle = adapter._batch_size, bool(adapter._shuffle)
        self._order = Order(seed=self.seed, samples=adapter._num_samples, batch_size=size, shuffle=shuffle)
        adapter.__class__ = ExactArrays
        adapter.order = self._order
        pool = ThreadPoolExecutor(1, thread_name_prefix="colabkit-fingerprint")
        self._fingerprint = pool.submit(fingerprint, adapter._inputs)  # while TensorFlow builds its dataset
        pool.shutdown(wait=False)
        iterator = self.fit.iterator
        if hasattr(iterator, "_distributed_dataset"):  # TensorFlow builds it once; the others ask at each epoch
            strategy = iterator._distribute_strategy
            adapter.made = iterator._distributed_dataset if hasattr(iterator._distributed_dataset, "_inputs") else None
            iterator._distributed_dataset = strategy.experimental_distribute_dataset(adapter.get_tf_dataset())
        iterator.reset()

    def identity(self) -> dict[str, Any]:
        """Tell the shape of the data and a hash of its content."""
        return {
            "fingerprint": self._fingerprint.result(),
            "seed": self.seed,
            "samples": self._order.samples,
            "batch_size": self._order.batch_size,
        }

    def go_to(self, *, epoch: int, done: int) -> None:
        """Set the order to the epoch."""
        self._order.epoch, self._order.first_step = epoch, done


def fingerprint(inputs: Any) -> str:
    """Identify data by the shapes, the dtypes and the content of its arrays."""
    digest = hashlib.sha256()
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="colabkit-fingerprint") as pool:
        for leaf in keras.tree.flatten(inputs):
            if leaf is None:
                continue
            array = np.asarray(leaf) if not hasattr(leaf, "detach") else leaf.detach().cpu().numpy()
            digest.update(f"{array.shape} {array.dtype.str};".encode())
            if array.dtype.hasobject:
                continue
            flat: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            if flat.nbytes <= _FINGERPRINT_ALL:
                pieces = [flat[start : start + _PIECE] for start in range(0, flat.nbytes, _PIECE)]
            else:
                starts = np.linspace(0, flat.nbytes - _BLOCK, 256).astype(int)
                pieces = [flat[start : start + _BLOCK] for start in starts]
            for found in pool.map(_hash, pieces):
                digest.update(found)
    return digest.hexdigest()[:16]


def _hash(block: Any) -> bytes:
    return hashlib.sha256(block).digest()
