"""The state of the global random generators of Python and NumPy, which a user's own code may draw from."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    Array = np.ndarray[Any, Any]


def capture() -> dict[str, Array]:
    """Copy the state of `random` and `numpy.random` into arrays."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    assert version == 3 and kind == "MT19937"  # noqa: S101, PT018 - fixed in CPython and NumPy since 2001 and 2005
    return {
        "rng/python": np.array(words, np.uint32),
        "rng/python_gauss": np.array([np.nan if gauss is None else gauss]),
        "rng/numpy": np.array([*keys, position, has_gauss], np.uint32),
        "rng/numpy_gauss": np.array([cached]),
    }


def restore(tensors: Mapping[str, Array]) -> None:
    """Put a state back that `capture` took."""
    gauss = float(tensors["rng/python_gauss"][0])
    random.setstate((3, tuple(int(word) for word in tensors["rng/python"]), None if np.isnan(gauss) else gauss))
    words = tensors["rng/numpy"]
    np.random.set_state(("MT19937", words[:-2], int(words[-2]), int(words[-1]), float(tensors["rng/numpy_gauss"][0])))


def peek() -> int:
    """Give 63 bits that depend on the seed the user has set, if any, without drawing from the global generator."""
    private = random.Random()  # noqa: S311 - shuffling, not secrets
    private.setstate(random.getstate())
    return private.getrandbits(63)
