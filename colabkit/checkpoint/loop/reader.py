"""Who reads the batches of a loop: an `enumerate` that counts them, for one."""

from __future__ import annotations

import gc
import inspect
from typing import Any


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
