"""TensorFlow's distribution strategies; imported in a scope only."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify
from colabkit._patches import keras_issue_20585
from colabkit.accelerator import cluster
from colabkit.accelerator.collectives import shared_length
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence

    from colabkit.accelerator.base import Strategy

_PIECE = 1 << 26  # bytes sent to the other workers at once


def devices(chosen: Strategy) -> contextlib.AbstractContextManager[Any]:
    """Return the scope that puts variables and training steps on the devices."""
    import tensorflow as tf

    if chosen.device == "cpu":
        return workers() if chosen.workers > 1 else distribute(["/cpu:0"])
    if chosen.device == "tpu":
        return tpu()
    gpus = tf.config.list_physical_devices("GPU")
    expected = chosen.replicas // chosen.workers
    if len(gpus) < expected:
        raise UnsupportedError(
            f"TensorFlow sees {len(gpus)} of {expected} GPUs",
            why="the driver lists them, but TensorFlow could not load its CUDA libraries or was told to hide them",
            hint="install tensorflow[and-cuda] and restart the kernel, or pass prefer='cpu'",
        )
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, enable=True)
        except RuntimeError:  # the GPU is in use already, and its memory taken
            notify("TensorFlow already uses the GPU: it keeps the memory it took")
            break
    return workers() if chosen.workers > 1 else distribute([f"/gpu:{number}" for number in range(expected)])


def distribute(names: list[str]) -> contextlib.AbstractContextManager[Any]:
    """Return the scope of one device, or of several that share each batch."""
    import tensorflow as tf

    chosen = tf.distribute.OneDeviceStrategy(names[0]) if len(names) == 1 else tf.distribute.MirroredStrategy(names)
    scope: contextlib.AbstractContextManager[Any] = chosen.scope()
    return scope


def tpu() -> contextlib.AbstractContextManager[Any]:
    """Return the scope of this machine's TPU chips; "local", since today's hosts hold them themselves.

    Source:
        https://www.tensorflow.org/guide/tpu
    """
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect("local")
    except (RuntimeError, tf.errors.OpError) as error:
        raise UnsupportedError(
            "TensorFlow does not reach the TPU",
            why=str(error).splitlines()[0],
            hint="end other processes that use it and restart the kernel, or ask for prefer='jax'",
        ) from error
    scope: contextlib.AbstractContextManager[Any] = tf.distribute.TPUStrategy(resolver).scope()
    return scope


def workers() -> contextlib.AbstractContextManager[Any]:
    """Return the scope of all workers that TF_CONFIG names."""
    scope: contextlib.AbstractContextManager[Any] = _workers().scope()
    return scope


@functools.cache  # the servers of a process can be started once
def _workers() -> Any:
    import tensorflow as tf

    cluster.announce()
    if not os.environ.get(cluster.TF_CONFIG):
        raise UnsupportedError(
            "TensorFlow's workers do not know each other",
            why="the environment names the first host only (MASTER_ADDR), and TensorFlow needs the address of each",
            hint="start it by `colabkit launch --workers host1,host2 SCRIPT` on each host, set TF_CONFIG, or use JAX",
        )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UnsupportedError(
            "it is too late to join the workers",
            why=f"TensorFlow has already computed in this process ({error})",
            hint="enter ck.strategy() before the first line that makes a tensor or a model",
        ) from error
    keras_issue_20585.mend(strategy)
    return strategy


def spans_workers(strategy: Any) -> bool:
    """Say whether a strategy of tf.distribute joins several processes."""
    extended = getattr(strategy, "extended", None)
    return getattr(extended, "_num_workers", 1) > 1


def _adding(strategy: Any) -> Any:
    """Return a function that adds up the words of all workers, traced once for any number of them."""
    import tensorflow as tf

    def add(words: Any) -> Any:
        context = tf.distribute.get_replica_context()
        # Where a worker has several devices, one of them speaks for it.
        first = context.replica_id_in_sync_group % strategy.extended._num_devices_per_worker == 0
        return context.all_reduce("SUM", tf.where(first, words, tf.zeros_like(words)))

    return tf.function(lambda words: strategy.run(add, (words,)), input_signature=[tf.TensorSpec([None], tf.int32)])


class Collectives:
    """What TensorFlow's workers tell each other, see `collectives`.

    Args:
        strategy: A `tf.distribute.MultiWorkerMirroredStrategy`.
    """

    def __init__(self, strategy: Any) -> None:
        resolver = strategy.cluster_resolver
        self._strategy = strategy
        self.count: int = strategy.extended._num_workers
        spec = resolver.cluster_spec().as_dict()
        chiefs = len(spec.get("chief", []))
        self.index = int(resolver.task_id) + (chiefs if resolver.task_type == "worker" else 0)
        self._add = _adding(strategy)

    def gather(self, numbers: Sequence[int]) -> list[list[int]]:
        """Give every worker's numbers to all."""
        import numpy as np

        table = np.zeros((self.count, len(numbers)), np.int32)
        table[self.index] = numbers
        gathered: list[list[int]] = self._sum(table).tolist()
        return gathered

    def broadcast(self, data: bytes | None) -> bytes:
        """Give the chief's bytes to all, as a sum in which the others are zero."""
        import numpy as np

        length = shared_length(self, data)
        received = []
        for start in range(0, length, _PIECE):
            words = np.zeros(-(-min(_PIECE, length - start) // 4), np.int32)
            if self.index == 0 and data is not None:
                piece = data[start : start + _PIECE]
                words[:] = np.frombuffer(piece + bytes(-len(piece) % 4), np.int32)
            received.append(self._sum(words).tobytes())
        return b"".join(received)[:length]

    def _sum(self, words: Any) -> Any:
        totals = self._add(words.reshape(-1))
        return self._strategy.experimental_local_results(totals)[0].numpy().reshape(words.shape)
