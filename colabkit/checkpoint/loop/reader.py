"""Who reads the batches of a loop, an `enumerate` that counts them for one; and how it is left."""

from __future__ import annotations

import dis
import gc
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

_YIELDS = {"YIELD_VALUE", "RESUME"}  # where a generator waits, and is closed
_BREAKS = {"POP_TOP", "POP_ITER", "END_FOR", "SWAP"}  # what runs when a `for` is left by break or return
_OURS = __name__.rpartition(".")[0]


def numbers_anew(batches: Any) -> bool:
    """Say whether an `enumerate` reads a generator, through a bar perhaps, and its next number is 0.

    Example:
        >>> batches = (each for each in [1.5, 2.5])
        >>> numbered = enumerate(batches)
        >>> numbers_anew(batches)
        True
    """
    owners = gc.get_referrers(batches)
    owners += [outer for owner in owners if inspect.isgenerator(owner) for outer in gc.get_referrers(owner)]
    return any(type(owner) is enumerate and owner.__reduce__()[1][1] == 0 for owner in owners)


def left_by_break() -> tuple[bool, FrameType | None]:
    """Say whether the `for` that reads this generator is being left by break or return, not by an error; and its frame.

    A bar around the loop is a generator too, and is closed by the `for` that reads it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        operation = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        closed = frame.f_code.co_flags & inspect.CO_GENERATOR and operation in _YIELDS
        ours = str(frame.f_globals.get("__name__")).startswith(f"{_OURS}.")
        if not ours and not closed:
            return operation in _BREAKS, frame
        frame = frame.f_back
    return False, None
