"""Arrays as training data: the order of the samples is taken into our hands, so that any step can be the next."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

from colabkit._internal.log import warn
from colabkit._internal.process.threads import Later, for_each
from colabkit.checkpoint.keras.data import Source
from colabkit.checkpoint.keras.data.sample_order import SampleOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from colabkit._patches.keras_steps import Fit
    from colabkit.checkpoint.keras.data import Array

_FINGERPRINT_ALL = 1 << 28  # arrays up to 256 MiB are hashed whole, larger ones by 256 blocks of 1 MiB
_BLOCK = 1 << 20
_PIECE = 8 << 20  # bytes that are hashed by one thread


class ExactArrays(ArrayDataAdapter):  # type: ignore[misc]
    """Keras' adapter for arrays, with the order of the samples in our hands."""

    order: SampleOrder
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
            if self.order.samples % size or self.order.shift:
                rest = tf.data.Dataset.from_tensor_slices(tf.reshape(indices[whole:], [1, -1]))
                rest = rest.take(tf.cast(tf.size(indices, tf.int64) > whole, tf.int64))
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


class ArrayData(Source):
    """NumPy arrays and tensors, given whole."""

    kind = "arrays"

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
            self._attach_data(adapter)

    def _attach_data(self, adapter: Any) -> None:
        size, self._shuffle = adapter._batch_size, bool(adapter._shuffle)
        self._order = SampleOrder(seed=self.seed, samples=adapter._num_samples, batch_size=size, shuffle=self._shuffle)
        adapter.__class__ = ExactArrays
        adapter.order = self._order
        parts = adapter._inputs if isinstance(adapter._inputs, tuple) else (adapter._inputs,)
        # Where an older version began the run, it kept one fingerprint of the samples and their weights.
        self._apart = not self.saved.get("fingerprint") or "weights" in self.saved
        samples, weights = (parts[:2], parts[2:]) if self._apart else (parts, ())
        self._fingerprints = Later(lambda: (fingerprint(samples), fingerprint(weights)))  # while TensorFlow builds
        given = getattr(self.fit.iterator, "_distributed_dataset", None)
        adapter.made = given if hasattr(given, "_inputs") else None
        self._adapter = adapter
        self._build()

    def _build(self) -> None:
        iterator = self.fit.iterator
        if hasattr(iterator, "_distributed_dataset"):  # TensorFlow builds it once; the others ask at each epoch
            strategy = iterator._distribute_strategy
            iterator._distributed_dataset = strategy.experimental_distribute_dataset(self._adapter.get_tf_dataset())
        iterator.reset()

    def _shift(self, samples: int) -> None:
        if samples != self._order.shift:
            self._order.shift = samples
            self._build()

    def identity(self) -> dict[str, Any]:
        """Tell the shape of the data and a hash of its content."""
        samples, weights = self._fingerprints.result()
        return {
            "kind": self.kind,
            "fingerprint": samples,
            **({"weights": weights} if self._apart else {}),
            "seed": self.seed,
            "samples": self._order.samples,
            "batch_size": self._order.batch_size,
            "shift": self._order.shift,
            "shuffle": self._order.shuffle,
        }

    def check(self, run: str, *, in_epoch: bool, check_data: bool) -> None:
        """As of any data; tell other weights of samples and classes, and that the samples are shuffled or not."""
        super().check(run, in_epoch=in_epoch, check_data=check_data)
        before, now = self.saved, self.identity()
        if before.get("weights", now.get("weights")) != now.get("weights"):
            warn("%s: the weights of the samples or classes are others, and in effect from now on", run)
        if (shuffled := before.get("shuffle", self._shuffle)) != self._shuffle:
            warn("%s: shuffle=%s instead of %s, from the next epoch on", run, self._shuffle, shuffled)
            if in_epoch:
                self._order.shuffle = shuffled

    def go_on_after(self, samples: int) -> int:
        """Begin the rest of the epoch at that very sample, whatever the batches are."""
        order = self._order
        left = max(0, order.samples - samples)
        done = order.steps - -(-left // order.batch_size)
        self._shift(order.samples - left - done * order.batch_size)
        return done

    def go_to(self, *, epoch: int, done: int) -> None:
        """Set the order to the epoch."""
        self._order.epoch, self._order.first_step = epoch, done
        if not done:
            self._order.shift, self._order.shuffle = 0, self._shuffle

    def restore(self, state: Any, tensors: Mapping[str, Array], *, steps: int, done: int) -> None:  # noqa: ARG002
        """Keep the place between two batches at which an epoch went on in batches of another size."""
        if done and self._order.batch_size == self.saved.get("batch_size"):
            self._shift(int(self.saved.get("shift", 0)))


def fingerprint(inputs: Any) -> str:
    """Identify data by the shapes, the dtypes and the content of its arrays."""
    digest = hashlib.sha256()
    threads = os.cpu_count() or 1
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
        hashes = [b""] * len(pieces)
        for_each(_hash_into(hashes, pieces), range(len(pieces)), threads=threads, name="colabkit-fingerprint")
        for row_hash in hashes:
            digest.update(row_hash)
    return digest.hexdigest()[:16]


def _hash_into(hashes: list[bytes], pieces: list[Any]) -> Callable[[int], None]:
    def hash_one(number: int) -> None:
        hashes[number] = hashlib.sha256(pieces[number]).digest()

    return hash_one
