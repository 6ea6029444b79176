"""A workaround for https://github.com/keras-team/keras/issues/20585: `fit` of Keras 3 fails with several workers.

Two private functions of Keras' TensorFlow trainer hand what is spread over workers to `Strategy.reduce` in a form that
it refuses. Each is tried on the strategy in hand, and replaced only where it fails; the version plays no part. A test
fails as soon as neither is needed any more: then this file can go.
"""

from __future__ import annotations

from typing import Any


def mend(strategy: Any) -> list[str]:
    """Replace what fails with this strategy, in this process; every worker must call it at the same time.

    Args:
        strategy: A `tf.distribute.MultiWorkerMirroredStrategy`.

    Returns:
        The names of the functions that were replaced.
    """
    from keras.src.backend.tensorflow import trainer

    mended = []
    if _build_fails(strategy, trainer.TensorFlowTrainer._maybe_symbolic_build):
        original_build = trainer.TensorFlowTrainer._maybe_symbolic_build

        def build(self: Any, iterator: Any = None, data_batch: Any = None) -> Any:
            if iterator is not None and _spans_workers(self._distribute_strategy):
                _, _, batches = next(iter(iterator))
                # Only shapes and dtypes count here, so that this worker's own part is as good as all of them.
                iterator, data_batch = None, _first_local(self._distribute_strategy, next(batches))
            return original_build(self, iterator=iterator, data_batch=data_batch)

        trainer.TensorFlowTrainer._maybe_symbolic_build = build
        mended.append("_maybe_symbolic_build")
    if _mean_fails(strategy, trainer.reduce_per_replica):
        original_reduce = trainer.reduce_per_replica

        def reduce(values: Any, strategy: Any, reduction: str) -> Any:
            import keras

            if reduction not in ("auto", "mean") or not _spans_workers(strategy):
                return original_reduce(values, strategy, reduction)
            return keras.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)

        trainer.reduce_per_replica = reduce
        mended.append("reduce_per_replica")
    return mended


def _spans_workers(strategy: Any) -> bool:
    import tensorflow as tf

    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and strategy.extended._in_multi_worker_mode()


def _first_local(strategy: Any, batch: Any) -> Any:
    import keras

    return keras.tree.map_structure(lambda value: strategy.experimental_local_results(value)[0], batch)


class _Trainer:
    """As much of a model as the function under test touches; building it draws no random number."""

    def __init__(self, strategy: Any) -> None:
        self._distribute_strategy = self.distribute_strategy = strategy

    def _symbolic_build(self, data_batch: Any) -> None:
        self.built_on = data_batch


def _build_fails(strategy: Any, build: Any) -> bool:
    import tensorflow as tf

    count = strategy.num_replicas_in_sync
    dataset = strategy.experimental_distribute_dataset(
        tf.data.Dataset.from_tensor_slices((tf.zeros([count, 1]), tf.zeros([count]))).batch(count)
    )
    try:
        build(_Trainer(strategy), iterator=[(0, 1, iter(dataset))])
    except ValueError:
        return True
    return False


def _mean_fails(strategy: Any, reduce: Any) -> bool:
    import tensorflow as tf

    try:
        reduce({"loss": tf.constant(0.0)}, strategy, "auto")
    except ValueError:
        return True
    return False
