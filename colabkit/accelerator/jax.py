"""JAX: it takes the best device by itself; several share a batch by keras.distribution. Imported in a scope only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from colabkit.accelerator import cluster
from colabkit.accelerator.collectives import shared_length
from colabkit.errors import UnsupportedError, WorkerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit.accelerator.base import Strategy


def devices(chosen: Strategy) -> contextlib.AbstractContextManager[Any]:
    """Return the scope that puts variables and training steps on the devices."""
    import jax
    import keras

    scope: contextlib.AbstractContextManager[Any]
    if chosen.workers > 1:
        _join()
    elif chosen.device == "cpu":
        scope = keras.device("cpu:0")
        return scope
    seen = [device for device in jax.devices() if device.platform == chosen.device]
    if len(seen) < chosen.replicas:
        title = chosen.device.upper()
        raise UnsupportedError(
            f"JAX sees {len(seen)} of {chosen.replicas} {title} devices",
            why=f"this JAX has no support for a {title}, or another process holds it",
            hint=f"install jax[{'tpu' if chosen.device == 'tpu' else 'cuda12'}] and restart the kernel, "
            "or pass prefer='cpu'",
        )
    return shared(chosen.device) if chosen.replicas > 1 else contextlib.nullcontext()


def shared(device: str) -> contextlib.AbstractContextManager[Any]:
    """Return the scope in which all devices of a kind share each batch."""
    import jax
    import keras

    distribution = keras.distribution.DataParallel(devices=keras.distribution.list_devices(device))
    if jax.process_count() > 1:
        # True would refuse arrays, which `keras_batch_sharding` shares out; a tf.data.Dataset is still cut by Keras.
        distribution.auto_shard_dataset = False
        distribution.distribute_dataset = distribution.distribute_tf_dataset
    scope: contextlib.AbstractContextManager[Any] = distribution.scope()
    return scope


def _join() -> None:
    """Bring this process together with the other workers, once."""
    import jax
    import keras

    if jax.distributed.is_initialized():
        return
    cluster.announce()
    try:
        keras.distribution.initialize()  # reads the variables of `cluster`
    except RuntimeError as error:
        if "before any JAX" in str(error):
            raise UnsupportedError(
                "it is too late to join the workers",
                why="JAX has already computed in this process",
                hint="enter ck.strategy() before the first line that makes an array of JAX or a model",
            ) from error
        raise WorkerUnreachableError(
            "JAX could not join the workers",
            why=str(error).splitlines()[0],
            hint="check that every worker was started, and that the coordinator's port is open between them",
        ) from error


class Collectives:
    """What JAX's processes tell each other, see `collectives`."""

    def __init__(self) -> None:
        import jax

        self.index: int = jax.process_index()
        self.count: int = jax.process_count()

    def gather(self, numbers: Sequence[int]) -> list[list[int]]:
        """Give every worker's numbers to all."""
        import numpy as np
        from jax.experimental import multihost_utils

        gathered: list[list[int]] = multihost_utils.process_allgather(np.array(numbers, np.int32)).tolist()
        return gathered

    def broadcast(self, data: bytes | None) -> bytes:
        """Give the chief's bytes to all."""
        import numpy as np
        from jax.experimental import multihost_utils

        length = shared_length(self, data)
        words = np.zeros(length, np.uint8)
        if self.index == 0 and data is not None:
            words[:] = np.frombuffer(data, np.uint8)
        if not length:
            return b""
        return bytes(np.asarray(multihost_utils.broadcast_one_to_all(words)).tobytes())
