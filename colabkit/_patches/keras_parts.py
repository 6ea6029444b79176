"""A training step of Keras that computes its batch in parts and adds their gradients before the weights move.

For a batch that does not fit the memory as a whole. Keras' `gradient_accumulation_steps` counts smaller batches of
`fit` instead: the end of an epoch falls between two updates, and a run that was begun with whole batches cannot go on.
Here the batches, their order, the steps and the schedules stay; only the inside of a step differs. The step is the
model's own, with the optimizer's update held back, so that a `train_step` of the user's works too, where it updates the
weights once.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def install(model: Any, parts: int) -> None:
    """Let the model's steps compute each batch in so many parts, from its next train function on.

    Args:
        model: A compiled model of Keras.
        parts: How many; 1 leaves it as it is.
    """
    import keras

    if parts < 2:
        return
    backend = keras.backend.backend()
    step, mean = model.train_step, "sum" not in _reductions(model)
    if backend == "jax":
        model.train_step = _on_jax(model, step, parts, mean=mean)
    elif backend == "tensorflow":
        model.train_step = _on_tensorflow(model, step, parts, mean=mean)
    else:
        model.train_step = _on_torch(model, step, parts, mean=mean)


def differences(model: Any, *, weighted: bool = False) -> list[str]:
    """Say what is not the same mathematics when a batch is computed in parts.

    Args:
        model: A compiled model of Keras.
        weighted: Its samples have weights.
    """
    import keras

    notes = []
    norms = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if norms:
        notes.append("BatchNormalization takes the mean of each part instead of that of the batch")
    reductions = _reductions(model)
    if weighted and "mean_with_sample_weight" in reductions:
        notes.append("the loss divides by the weights of each part instead of those of the batch")
    if len(reductions) > 1:
        notes.append("its losses are reduced in different ways, and are all added up as means")
    return notes


def _reductions(model: Any) -> set[str]:
    """Find how the losses of a batch become one number: a mean where it is not said."""
    import keras

    losses = keras.tree.flatten(getattr(model, "loss", None))
    return {str(getattr(loss, "reduction", "sum_over_batch_size")) for loss in losses if loss is not None}


class _Held:
    """The updates that an optimizer was asked for in one part."""

    def __init__(self) -> None:
        self.updates: list[tuple[list[Any], Any]] = []

    def only(self) -> tuple[list[Any], Any]:
        if len(self.updates) != 1:
            raise UnsupportedError(
                f"a batch cannot be computed in parts: a step of this model updates its weights {len(self.updates)} "
                "times",
                hint="pass a smaller batch_size and another run=",
            )
        return self.updates[0]


@contextlib.contextmanager
def _held(optimizer: Any, name: str) -> Iterator[_Held]:
    """Note the updates instead of doing them."""
    held = _Held()

    def apply(grads: Any, trainable_variables: Any = None) -> None:
        held.updates.append((list(grads), trainable_variables))

    def stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> tuple[Any, Any]:
        held.updates.append((list(grads), None))
        return trainable_variables, optimizer_variables

    optimizer.__dict__[name] = apply if name == "apply" else stateless_apply  # past the tracking of attributes
    try:
        yield held
    finally:
        del optimizer.__dict__[name]


def _added(total: list[Any] | None, grads: list[Any], weight: Any) -> list[Any]:
    """Add weighted gradients; one that is missing, or sparse, comes as it is needed."""
    import keras

    weighted = [None if each is None else keras.ops.convert_to_tensor(each, sparse=False) * weight for each in grads]
    if total is None:
        return weighted
    return [
        each if so_far is None else so_far if each is None else so_far + each
        for so_far, each in zip(total, weighted, strict=True)
    ]


def _sliced(data: Any, low: Any, high: Any) -> Any:
    import keras

    return keras.tree.map_structure(lambda each: None if each is None else each[low:high], data)


def _first(data: Any) -> Any:
    import keras

    return next(each for each in keras.tree.flatten(data) if each is not None)


def _on_tensorflow(model: Any, step: Callable[[Any], Any], parts: int, *, mean: bool) -> Callable[[Any], Any]:
    import tensorflow as tf

    def in_parts(data: Any) -> Any:
        count = tf.shape(_first(data))[0]
        total: list[Any] | None = None
        logs: Any = None
        variables: Any = None
        for number in range(parts):
            before = [each for each in total or [] if each is not None]
            with tf.control_dependencies(before):  # else they run side by side, and need the memory of the whole
                low, high = count * number // parts, count * (number + 1) // parts
                weight = tf.cast(high - low, tf.float32) / tf.cast(count, tf.float32) if mean else tf.constant(1.0)
                with _held(model.optimizer, "apply") as held:
                    logs = step(_sliced(data, low, high))
                grads, variables = held.only()
                dense = [tf.convert_to_tensor(each) if each is not None else None for each in grads]
                weights = [None if each is None else tf.cast(weight, each.dtype) for each in dense]
                scaled = [None if each is None else each * w for each, w in zip(dense, weights, strict=True)]
                total = _added(total, scaled, 1)
        model.optimizer.apply(total, variables)
        return logs

    def train_step(data: Any) -> Any:
        size = _first(data).shape[0]
        if size is not None:
            return in_parts(data) if size >= parts else step(data)
        count = tf.shape(_first(data))[0]
        return tf.cond(count >= parts, lambda: in_parts(data), lambda: step(data))

    return train_step


def _on_jax(model: Any, step: Callable[[Any, Any], Any], parts: int, *, mean: bool) -> Callable[[Any, Any], Any]:
    import jax

    def train_step(state: Any, data: Any) -> Any:
        count = _first(data).shape[0]
        if count < parts:
            return step(state, data)
        trainable, other, optimizer, metrics = state
        total: list[Any] | None = None
        logs: Any = None
        for number in range(parts):
            low, high = count * number // parts, count * (number + 1) // parts
            part = _sliced(data, low, high)
            if total is not None:  # else the compiler may let them run side by side
                part, total, other, metrics = jax.lax.optimization_barrier((part, total, other, metrics))
            with _held(model.optimizer, "stateless_apply") as held:
                logs, (_, other, _, metrics) = step((trainable, other, optimizer, metrics), part)
            total = _added(total, held.only()[0], (high - low) / count if mean else 1.0)
        trainable, optimizer = model.optimizer.stateless_apply(optimizer, total, trainable)
        return logs, (trainable, other, optimizer, metrics)

    return train_step


def _on_torch(model: Any, step: Callable[[Any], Any], parts: int, *, mean: bool) -> Callable[[Any], Any]:
    import torch

    def train_step(data: Any) -> Any:
        count = _first(data).shape[0]
        if count < parts:
            return step(data)
        total: list[Any] | None = None
        logs: Any = None
        variables: Any = None
        for number in range(parts):
            low, high = count * number // parts, count * (number + 1) // parts
            with _held(model.optimizer, "apply") as held:
                logs = step(_sliced(data, low, high))
            grads, variables = held.only()
            with torch.no_grad():
                total = _added(total, grads, (high - low) / count if mean else 1.0)
        with torch.no_grad():
            model.optimizer.apply(total, variables)
        return logs

    return train_step
