"""Numbers that are moments of a clock, and mean something in one process only."""

from __future__ import annotations

import time
from typing import Any

_WEEK = 7 * 24 * 3600


def is_a_moment(value: Any, *, of_any_clock: bool = False) -> bool:
    """Tell whether a number is a moment of a clock, as `time.time()` gives it, or one within a week of it.

    A callback that ends a session after eight hours would end the next one at once if it had the first one's.

    Args:
        value: The value.
        of_any_clock: Also of a clock that counts from the start of the machine or process, if it is a moment ago. Any
            sum may be such a number, so this is asked only of what was set just now.

    Example:
        >>> is_a_moment(time.time() + 3600), is_a_moment(time.time_ns()), is_a_moment(12.5)
        (True, True, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if any(abs(value - now) < unit * _WEEK for now, unit in ((time.time(), 1), (time.time_ns(), 1_000_000_000))):
        return True
    clocks = (time.monotonic(), time.perf_counter(), time.process_time())
    return of_any_clock and isinstance(value, float) and value > 0 and any(0 <= now - value < 60 for now in clocks)
