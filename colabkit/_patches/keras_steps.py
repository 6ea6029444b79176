"""The running `fit` of Keras, found from a callback, and its steps as they are done.

`fit` has no public door for this: a callback is given the model and nothing else, and the iterator over the data is a
local variable.
"""

from __future__ import annotations

import concurrent.futures
import sys
from dataclasses import dataclass
from operator import itemgetter
from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


_LISTENERS = "_colabkit_told"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What the running `fit` has built, its iterator over the data and its callbacks, and what it validates on."""

    iterator: Any
    callbacks: Any
    validation_data: Any = None


def running_fit(model: Any, frame: FrameType | None = None) -> Fit | None:
    """Find the `fit` of this model among the callers, or None.

    Args:
        model: The model.
        frame: Where to begin, going outwards; the caller when None.
    """
    frame = frame or sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "fit":
            here = frame.f_locals
            if here.get("self") is model and "epoch_iterator" in here:
                return Fit(
                    iterator=here["epoch_iterator"],
                    callbacks=here.get("callbacks"),
                    validation_data=here.get("validation_data"),
                )
        frame = frame.f_back
    return None


def tell_steps(fit: Fit, done: Callable[[int, Any], None], *, last: bool = False) -> None:
    """Call a function with the number and the logs of each step that is done, after the callbacks were called.

    On JAX Keras runs ahead of the steps, and lets threads call the callbacks, as long as none of them has a method for
    the end of each. So this is for those that want to know of it and must not cost that: the function is called by the
    thread that trains, between two steps, with logs that may still be computed.

    Args:
        fit: The running `fit`, before its first step.
        done: The function.
        last: Call it after all that were, or will be, given without this.
    """
    listeners: list[tuple[bool, Callable[[int, Any], None]]] | None = getattr(fit.callbacks, _LISTENERS, None)
    if listeners is None:
        listeners = []
        setattr(fit.callbacks, _LISTENERS, listeners)
        _watch(fit.callbacks, listeners)
    listeners.append((last, done))
    listeners.sort(key=itemgetter(0))


def _watch(callbacks: Any, listeners: list[tuple[bool, Callable[[int, Any], None]]]) -> None:
    end = callbacks.on_train_batch_end

    # A method by that name: where an error came from is read from the names in its traceback.
    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:  # noqa: ARG001
        end(batch, logs)
        for _, done in listeners:
            done(batch, logs)

    callbacks.on_train_batch_end = MethodType(on_train_batch_end, callbacks)


def wait_for_callbacks(fit: Fit) -> None:
    """Wait until those callbacks were called that Keras lets a thread call; what they raise is Keras' to tell."""
    if futures := getattr(fit.callbacks, "_futures", None):
        concurrent.futures.wait(futures)


def plain_logs(logs: Any) -> Any:
    """Wait for the logs of a step, and turn them into plain numbers as callbacks get them."""
    from keras.src.utils.python_utils import pythonify_logs

    return pythonify_logs(logs)
