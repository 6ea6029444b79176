"""When this interpreter started: what was installed later was not there when its modules were loaded."""

from __future__ import annotations

import functools
import os
import time

from colabkit._internal.record import Record

TYPE_CHECKING = False  # `typing` itself would cost 8 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "COLABKIT_RESTARTED"
"""The variable by which a kernel that replaced itself knows that it did."""


class Mark(Record):
    """What a restarted kernel knows about its restart.

    Attributes:
        pid: The process; a child that inherits the variable is not it.
        when: When the process replaced itself, in seconds since the epoch.
        causes: For each request that is run again, by its id, what it has restarted the kernel for already.

    Example:
        >>> str(Mark(pid=7, when=1.5, causes={"a": ["numpy"], "b": []}))
        '7:1.500:{"a": ["numpy"], "b": []}'
    """

    pid: int
    when: float
    causes: dict[str, list[str]]

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Mark | None:
        """Return the mark of this process, or None if it never restarted in place."""
        try:
            pid, when, causes = env[MARK].split(":", 2)
            import json

            mark = cls(pid=int(pid), when=float(when), causes=json.loads(causes))
        except (KeyError, ValueError):
            return None
        return mark if mark.pid == os.getpid() else None

    def __str__(self) -> str:
        import json  # not above: 10 ms

        return f"{self.pid}:{self.when:.3f}:{json.dumps(self.causes)}"


@functools.cache
def interpreter_start() -> float:
    """Return when this interpreter started, in seconds since the epoch.

    An interpreter that replaced itself is younger than its process. Where the platform does not tell the process'
    age, this is the moment of the first call.
    """
    mark = Mark.read(os.environ)
    if mark is not None:
        return mark.when
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.time()
    return time.time() - age
