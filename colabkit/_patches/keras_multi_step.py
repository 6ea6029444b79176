"""Many steps of a training in one program, for the small models whose steps cost less than the way to them and back.

Keras' own `steps_per_execution` goes back to Python for each step on JAX, and on TensorFlow asks four times a step
whether there is another. Here the loop is part of the compiled program: the same steps on the same batches, in the same
order. For one CPU alone; elsewhere Keras' own is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def choose(steps: int, most: int) -> int:
    """Choose how many steps run at once, so that no shorter execution is left for the end of an epoch.

    Args:
        steps: Steps in an epoch.
        most: What a kill may cost.

    Returns:
        The largest number up to `most` that divides the epoch; `most` where that is less than half of it.

    Example:
        >>> choose(1875, 32), choose(188, 32), choose(240, 32)
        (25, 32, 30)
    """
    divisor = max(number for number in range(1, most + 1) if steps % number == 0)
    return divisor if divisor * 2 >= most else most


def install(model: Any, number: int, *, steps: int, backend: str) -> None:
    """Let the model's next `fit` run so many steps at once; `model.train_function = None` undoes it.

    Args:
        model: A compiled Keras model.
        number: How many steps.
        steps: Steps in an epoch.
        backend: The backend of Keras; another word for Keras' own way.
    """
    model.steps_per_execution = number
    if number > 1 and backend == "jax":
        model.train_function = _on_jax(model, number)
    elif number > 1 and backend == "tensorflow" and steps % number == 0:
        model.train_function = _on_tensorflow(model, number)


def _on_jax(model: Any, number: int) -> Callable[[Any, Iterator[Any]], Any]:
    import jax

    step = jax.jit(model.train_step)  # traced once, though it is called in two places below

    def loop(state: Any, batches: tuple[Any, ...], count: Any) -> Any:
        data = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *batches)
        shapes, _ = jax.eval_shape(step, state, batches[0])
        logs = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), shapes)

        def body(at: Any, before: Any) -> Any:
            return step(before[1], jax.tree.map(lambda leaf: leaf[at], data))

        return jax.lax.fori_loop(0, count, body, (logs, state))

    run = jax.jit(loop, donate_argnums=0)

    def train(state: Any, iterator: Iterator[Any]) -> Any:
        batches = [next(iterator)]
        for batch in iterator:
            batches.append(batch)
            if len(batches) == number:
                break
        shape = jax.tree.map(jax.numpy.shape, batches[0])
        alike = [batch for batch in batches if jax.tree.map(jax.numpy.shape, batch) == shape]
        count = len(alike)
        # Filled up to the one length that is compiled; what is beyond `count` is never computed.
        logs, state = run(state, tuple(alike + alike[-1:] * (number - count)), count)
        for batch in batches[count:]:  # the last batch of an epoch may be smaller
            logs, state = step(state, batch)
        return logs, state

    return train


def _on_tensorflow(model: Any, number: int) -> Any:
    """Make the loop; each execution must find all its batches, since one that is cut off has drawn numbers already."""
    import tensorflow as tf

    @tf.function  # type: ignore[untyped-decorator]
    def train(iterator: Any) -> Any:
        def body(at: Any) -> tuple[Any]:
            model.train_step(next(iterator))
            return (at + 1,)

        tf.while_loop(lambda at: at < number, body, (tf.constant(0),), parallel_iterations=1)
        return model.get_metrics_result()

    return train
