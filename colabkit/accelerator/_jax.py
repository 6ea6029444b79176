"""JAX: it takes the best device by itself; several share a batch by keras.distribution. Imported in a scope only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from colabkit.accelerator.base import Strategy


def devices(chosen: Strategy) -> contextlib.AbstractContextManager[Any]:
    """Return the scope that puts variables and training steps on the devices."""
    import jax
    import keras

    scope: contextlib.AbstractContextManager[Any]
    if chosen.device == "cpu":
        scope = keras.device("cpu:0")
        return scope
    seen = [device for device in jax.devices() if device.platform == chosen.device]
    if len(seen) < chosen.replicas:
        title = chosen.device.upper()
        raise UnsupportedError(
            f"JAX sees {len(seen)} of {chosen.replicas} {title} devices",
            why=f"this JAX has no support for a {title}, or another process holds it",
            do=f"install jax[{'tpu' if chosen.device == 'tpu' else 'cuda12'}] and restart the kernel, "
            "or pass prefer='cpu'",
        )
    return shared(chosen.device) if chosen.replicas > 1 else contextlib.nullcontext()


def shared(device: str) -> contextlib.AbstractContextManager[Any]:
    """Return the scope in which all devices of a kind share each batch."""
    import keras

    names = keras.distribution.list_devices(device)
    scope: contextlib.AbstractContextManager[Any] = keras.distribution.DataParallel(devices=names).scope()
    return scope
