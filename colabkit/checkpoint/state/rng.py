"""The states of the global random generators that a user may draw from: Python, NumPy, torch, TensorFlow and Keras."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array = np.ndarray[Any, Any]

_EPOCH_START = "begin/"


def capture() -> dict[str, Array]:
    """Copy the states into arrays whose names begin with `rng/`."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    assert version == 3 and kind == "MT19937"  # noqa: S101, PT018 - fixed in CPython and NumPy since 2001 and 2005
    return {
        "rng/python": np.array(words, np.uint32),
        "rng/python_gauss": np.array([np.nan if gauss is None else gauss]),
        "rng/numpy": np.array([*keys, position, has_gauss], np.uint32),
        "rng/numpy_gauss": np.array([cached]),
        **_capture_torch(),
        **_capture_keras(),
        **_capture_tensorflow(),
    }


def restore(tensors: Mapping[str, Array]) -> None:
    """Put back what `capture` took."""
    if "rng/keras" in tensors and (state := _keras_state(make=True)) is not None:  # first: making it draws a seed
        state.assign(tensors["rng/keras"])
    gauss = float(tensors["rng/python_gauss"][0])
    random.setstate((3, tuple(int(word) for word in tensors["rng/python"]), None if np.isnan(gauss) else gauss))
    words = tensors["rng/numpy"]
    np.random.set_state(("MT19937", words[:-2], int(words[-2]), int(words[-1]), float(tensors["rng/numpy_gauss"][0])))
    _restore_torch(tensors)
    if "rng/tensorflow_global" in tensors:
        import tensorflow as tf

        shared = tf.random.get_global_generator()
        if tuple(shared.state.shape) == tensors["rng/tensorflow_global"].shape:
            shared.state.assign(tensors["rng/tensorflow_global"])
    if "rng/tensorflow" in tensors and (generator := _tensorflow_generator()) is not None:
        generator.setstate((3, tuple(int(word) for word in tensors["rng/tensorflow"]), None))


def at_epoch_start(states: Mapping[str, Array]) -> dict[str, Array]:
    """Name the states with which an epoch began, so that they stand in a checkpoint beside the present ones.

    Example:
        >>> at_epoch_start({"rng/python": 1})
        {'begin/rng/python': 1}
    """
    return {f"{_EPOCH_START}{name}": array for name, array in states.items()}


def of_epoch_start(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return the states with which the epoch of a checkpoint began.

    Example:
        >>> of_epoch_start({"begin/rng/python": 1, "rng/python": 2})
        {'rng/python': 1}
    """
    return {name[len(_EPOCH_START) :]: array for name, array in tensors.items() if name.startswith(_EPOCH_START)}


def _capture_torch() -> dict[str, Array]:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_rng_state"):
        return {}
    states = {"rng/torch": torch.get_rng_state().numpy().copy()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for number, state in enumerate(torch.cuda.get_rng_state_all()):
            states[f"rng/torch_cuda/{number}"] = state.numpy().copy()
    return states


def _restore_torch(tensors: Mapping[str, Array]) -> None:
    torch = sys.modules.get("torch")
    if torch is None or "rng/torch" not in tensors:
        return
    torch.set_rng_state(torch.from_numpy(tensors["rng/torch"].copy()))
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if (state := tensors.get(f"rng/torch_cuda/{number}")) is not None:
            torch.cuda.set_rng_state(torch.from_numpy(state.copy()), number)


def _capture_keras() -> dict[str, Array]:
    state = _keras_state(make=False)
    if state is None:
        return {}
    keras = sys.modules["keras"]
    return {"rng/keras": np.array(keras.ops.convert_to_numpy(state))}


def _capture_tensorflow() -> dict[str, Array]:
    generator = _tensorflow_generator()
    states = {} if generator is None else {"rng/tensorflow": np.array(generator.getstate()[1], np.uint32)}
    module = sys.modules.get("tensorflow.python.ops.stateful_random_ops")
    if (shared := getattr(module, "global_generator", None)) is not None:  # of `tf.random.get_global_generator()`
        states["rng/tensorflow_global"] = shared.state.numpy().copy()
    return states


def _tensorflow_generator() -> random.Random | None:
    """Find what gives the seeds of eager operations after `tf.random.set_seed`; None without such a seed."""
    module = sys.modules.get("tensorflow.python.eager.context")
    if module is None:
        return None
    generator: random.Random | None = getattr(module.context(), "_rng", None)
    return generator


def _keras_state(*, make: bool) -> Any:
    """Find the state behind `keras.random.normal(...)` without a seed; None where there is none."""
    if "keras" not in sys.modules:
        return None
    from keras.src.backend.common import global_state
    from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, global_seed_generator

    generator = global_seed_generator() if make else global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    return None if generator is None else generator.state


def fingerprint() -> tuple[Any, ...]:
    """Give a value that changes when someone draws from the generators of Python or NumPy."""
    kind, keys, *position = np.random.get_state(legacy=True)
    return kind, hash(random.getstate()), hash(np.asarray(keys).tobytes()), position


def peek() -> int:
    """Give 63 bits that depend on the seed the user has set, if any, without drawing from the global generator."""
    private = random.Random()  # noqa: S311 - shuffling, not secrets
    private.setstate(random.getstate())
    return private.getrandbits(63)


def is_generator(value: Any) -> bool:
    """Tell whether a value is a random generator of Python, NumPy or torch whose state can be read."""
    if isinstance(value, np.random.Generator | np.random.RandomState | random.Random):
        return not isinstance(value, random.SystemRandom)
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "Generator") and isinstance(value, torch.Generator)


def generator_state(generator: Any) -> Any:
    """Take the state of a generator, in arrays and plain values."""
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state().numpy().copy()


def make_generator(state: Any) -> Any:
    """Make a generator of NumPy or Python with a state that `generator_state` took."""
    if not isinstance(state, dict):
        made: Any = random.Random()  # noqa: S311 - its state is given
    elif "gauss" in state:
        made = np.random.RandomState()
    else:
        made = np.random.Generator(getattr(np.random, _bit_generator(state))())
    set_generator_state(made, state)
    return made


def _bit_generator(state: dict[str, Any]) -> str:
    name = str(state["bit_generator"])
    if name not in ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"):
        raise ValueError(f"NumPy has no generator {name}")
    return name


def set_generator_state(generator: Any, state: Any) -> None:
    """Give a generator a state back."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        version, words, gauss = state
        generator.setstate((version, tuple(int(word) for word in words), gauss))
    else:
        import torch

        generator.set_state(torch.from_numpy(np.array(state, np.uint8)))
