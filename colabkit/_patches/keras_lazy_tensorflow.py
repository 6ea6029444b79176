"""Lets Keras describe a model without an import of TensorFlow, where the backend is another and nobody has imported it.

`keras.src.saving.serialization_lib` asks `tensorflow.available`, which imports it: some seconds, and beside torch it
may end the process. Keras 3.0 to 3.15 (no issue upstream). Probe: the module has a `tf` with an `_available` of None.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Say for a while that there is no TensorFlow, unless it is imported or Keras has looked for it."""
    from keras.src.saving import serialization_lib

    lazy: Any = getattr(serialization_lib, "tf", None)
    if "tensorflow" in sys.modules or getattr(lazy, "_available", True) is not None:
        yield
        return
    lazy._available = False
    try:
        yield
    finally:
        lazy._available = None
