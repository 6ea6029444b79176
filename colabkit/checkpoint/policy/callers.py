"""Whether the trainer of a library is among the callers: its `fit` is running, and was not ended by an error."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def frame_of_method(name: str, *, of: Callable[[Any], bool], frame: FrameType | None = None) -> FrameType | None:
    """Find the frame in which a method runs, among the callers.

    Args:
        name: The method's.
        of: Says whether it belongs to the object that is looked for.
        frame: Where to begin; None for the caller.

    Returns:
        The innermost one; None where the method does not run.

    Example:
        >>> class Trainer:
        ...     def fit(self):
        ...         return frame_of_method("fit", of=lambda owner: owner is self) is not None
        >>> Trainer().fit(), frame_of_method("fit", of=lambda owner: True)
        (True, None)
    """
    frame = frame or inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == name and of(frame.f_locals.get("self")):
            return frame
        frame = frame.f_back
    return None
