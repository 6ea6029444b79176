"""Arrays given to `fit` on several workers: each worker takes its share of every batch; the batch stays the same.

TensorFlow shares them out by itself. On JAX Keras expects that each process brings its own part, so that a script
would have to cut its arrays; here `batch_size` means the whole batch, as in one process. Imported in a scope only.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras.src.trainers import data_adapters
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter
from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter

from colabkit.errors import DataError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator


def shard_batches(index: int, count: int, *, devices: int) -> None:
    """Let every `fit` and `evaluate` of this process take its share of the data; a second call changes nothing.

    Args:
        index: This worker's place.
        count: How many workers there are.
        devices: How many devices share a batch, those of all workers together.
    """
    choose = data_adapters.get_data_adapter
    if hasattr(choose, "shares"):
        return
    on_jax = keras.backend.backend() == "jax"

    @functools.wraps(choose)
    def get_data_adapter(*args: Any, **options: Any) -> Any:
        adapter = choose(*args, **options)
        if isinstance(adapter, ArrayDataAdapter):
            check_divides(adapter._num_samples, adapter._batch_size, devices)
            if on_jax:
                adapter.get_jax_iterator = functools.partial(_own_iterator, adapter, index, count)
        elif on_jax and not isinstance(adapter, TFDatasetAdapter):
            raise UnsupportedError(
                f"data of this kind ({type(adapter).__name__.removesuffix('Adapter')}) cannot be shared among workers",
                why="every worker would train on all of it, as JAX expects each to bring its own part",
                hint="pass arrays or a tf.data.Dataset",
            )
        return adapter

    get_data_adapter.shares = (index, count)  # type: ignore[attr-defined]
    data_adapters.get_data_adapter = get_data_adapter


def _own_iterator(adapter: Any, index: int, count: int) -> Iterator[Any]:
    full_iterator = type(adapter)._get_iterator

    def own_part(take: Any, inputs: Any) -> Any:
        def take_own(sliceable: Any, indices: Any) -> Any:
            if isinstance(indices, slice):
                indices = np.arange(*indices.indices(adapter._num_samples))
            size = len(indices) // count
            return take(sliceable, indices=indices[index * size : (index + 1) * size])

        return full_iterator(adapter, take_own, inputs)

    adapter._get_iterator = own_part
    iterator: Iterator[Any] = type(adapter).get_jax_iterator(adapter)
    return iterator


def check_divides(samples: int, batch_size: int, devices: int) -> None:
    """Refuse a batch that cannot be shared evenly: the mean over it would weigh its samples differently.

    Raises:
        DataError: The batch, or the last one of an epoch, leaves a rest.
    """
    if samples > batch_size and batch_size % devices:
        lower, upper = batch_size // devices * devices, -(-batch_size // devices) * devices
        raise DataError(
            f"a batch of {batch_size} cannot be split evenly among {devices} devices",
            hint=f"use batch_size={upper}" + (f" or {lower}" if lower else ""),
        )
    if rest := (samples % batch_size or batch_size) % devices:
        raise DataError(
            f"the last batch of {samples} samples cannot be split evenly among {devices} devices",
            why=f"it has {samples % batch_size or samples} samples",
            hint=f"leave out the last {rest}: x[:{samples - rest}]"
            if samples > rest
            else f"give at least {devices} samples",
        )
