"""TensorFlow's distribution strategies; imported in a scope only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._tools.log import say
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    import contextlib

    from colabkit.accelerator.base import Strategy


def devices(chosen: Strategy) -> contextlib.AbstractContextManager[Any]:
    """Return the scope that puts variables and training steps on the devices."""
    import tensorflow as tf

    if chosen.device == "cpu":
        return distribute(["/cpu:0"])
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) < chosen.replicas:
        raise UnsupportedError(
            f"TensorFlow sees {len(gpus)} of {chosen.replicas} GPUs",
            why="the driver lists them, but TensorFlow could not load its CUDA libraries or was told to hide them",
            do="install tensorflow[and-cuda] and restart the kernel, or pass prefer='cpu'",
        )
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, enable=True)
        except RuntimeError:  # the GPU is in use already, and its memory taken
            say("TensorFlow already uses the GPU: it keeps the memory it took")
            break
    return distribute([f"/gpu:{number}" for number in range(chosen.replicas)])


def distribute(names: list[str]) -> contextlib.AbstractContextManager[Any]:
    """Return the scope of one device, or of several that share each batch."""
    import tensorflow as tf

    chosen = tf.distribute.OneDeviceStrategy(names[0]) if len(names) == 1 else tf.distribute.MirroredStrategy(names)
    scope: contextlib.AbstractContextManager[Any] = chosen.scope()
    return scope
