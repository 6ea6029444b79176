"""What became of a launch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from colabkit._internal.display.show import Shown
from colabkit._internal.process.proc import signal_name
from colabkit._safe_text import safe_text

_FATAL_SIGNAL = 128  # added to a signal's number, as shells do


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt ended before its time.

    Attributes:
        attempt: Which attempt it was, from 1.
        worker: The rank of the worker that failed first.
        workers: How many took part.
        code: Its exit code, negative for a signal; None when its host was lost.
        reason: The same in words.
        seconds: How long the attempt had run.
        error: The ColabKitError that ended it, taken apart; None when it was something else.
    """

    attempt: int
    worker: int
    workers: int
    code: int | None
    reason: str
    seconds: float
    error: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Report(Shown):
    """How it ended, the same on every host.

    Attributes:
        code: 0 when every worker ended with 0; 130 or 143 when it was interrupted; else that of the last failure.
        workers: How many took part in the last attempt.
        attempts: How often they were started.
        failures: What ended the attempts that did not succeed, in order.
        seconds: From the first start to the end.
    """

    code: int
    workers: int
    attempts: int
    failures: tuple[Failure, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every worker ended with 0."""
        return self.code == 0

    def __str__(self) -> str:
        if self.ok:
            again = f", started {self.attempts} times" if self.attempts > 1 else ""
            return f"{self.workers} workers ended well after {self.seconds:.1f} s{again}"
        if not self.failures:
            return f"stopped after {self.seconds:.1f} s"
        last = self.failures[-1]
        return f"gave up after {self.attempts} attempt{'s' if self.attempts > 1 else ''}: {safe_text(last.reason)}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"ok": self.ok, **asdict(self), "failures": [asdict(failure) for failure in self.failures]}


def from_json(value: dict[str, Any]) -> Report:
    """Read what `to_json` made."""
    return Report(
        code=int(value["code"]),
        workers=int(value["workers"]),
        attempts=int(value["attempts"]),
        failures=tuple(Failure(**failure) for failure in value["failures"]),
        seconds=float(value["seconds"]),
    )


def in_words(worker: int, code: int | None) -> str:
    """Say how a worker ended.

    Example:
        >>> in_words(1, -9), in_words(0, 3)
        ('worker 1 was killed by SIGKILL', 'worker 0 ended with code 3')
        >>> in_words(1, -100)
        'worker 1 was killed by signal 100'
    """
    if code is None:
        return f"the host of worker {worker} was lost"
    if code < 0:
        return f"worker {worker} was killed by {signal_name(-code)}"
    return f"worker {worker} ended with code {code}"


def exit_code(code: int | None) -> int:
    """Turn a worker's code into that of this command.

    Example:
        >>> exit_code(3), exit_code(-9), exit_code(None)
        (3, 137, 1)
    """
    if code is None:
        return 1
    return code if code >= 0 else _FATAL_SIGNAL - code
