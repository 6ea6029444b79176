"""A bound on the variables that Keras makes while it loads a file of somebody else.

Keras builds what a configuration says, `units=1000000000` too, before it looks at the weights. It has no bound of its
own, and no hook for one; so its variables count themselves while a file is loaded here. The test that a bomb is refused
tells when Keras does it itself.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_left: contextvars.ContextVar[list[int] | None] = contextvars.ContextVar("colabkit_variables_left", default=None)
_patching = threading.Lock()


class OverBudgetError(Exception):
    """The variables would have more numbers than they may."""


@contextlib.contextmanager
def variables_at_most(numbers: int) -> Iterator[None]:
    """Let this thread make variables of so many numbers at most.

    Args:
        numbers: How many all of them may have together.

    Raises:
        OverBudgetError: One more would exceed that; it is not made.
    """
    _patch()
    token = _left.set([numbers])
    try:
        yield
    finally:
        _left.reset(token)


def _patch() -> None:
    from keras.src.backend.common import variables

    kind: Any = getattr(variables, "Variable", None) or variables.KerasVariable
    with _patching:
        if getattr(kind.__init__, "colabkit_counts", False):
            return
        original = kind.__init__

        def counted(self: Any, initializer: Any, shape: Any = None, *args: Any, **options: Any) -> None:
            if (left := _left.get()) is not None:
                given = shape if shape is not None else getattr(initializer, "shape", ())
                left[0] -= math.prod(int(length or 1) for length in given)
                if left[0] < 0:
                    raise OverBudgetError(f"a variable of the shape {tuple(given)} is one too many")
            original(self, initializer, shape, *args, **options)

        counted.colabkit_counts = True  # type: ignore[attr-defined]
        kind.__init__ = counted
