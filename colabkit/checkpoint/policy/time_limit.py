"""How long a training may take: `time="50 min"`, or until the host ends the session; and whether that is enough."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.training_progress import duration
from colabkit._internal.log import notify, warn
from colabkit.checkpoint.policy import parse_every
from colabkit.errors import AddressError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SESSION = "session"
_BEFORE_THE_END = 300.0  # seconds that saving, mirroring and evaluating may take
_ASK_QUOTA = 60.0  # seconds of an epoch from which on its host's command is asked what is left
_FORMS = 'write it as "50 min", "2 h", a number of seconds, or "session" for until the session ends'


class TimeLimit:
    """Says when the time of a training is over.

    Args:
        seconds: From now on.
        clock: Tells the time in seconds.

    Example:
        >>> now = [0.0]
        >>> limit = TimeLimit(60, clock=lambda: now[0])
        >>> now[0] = 61.0
        >>> limit.is_over()
        True
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.ends = clock() + seconds

    def is_over(self) -> bool:
        """Say whether it is."""
        return self._clock() >= self.ends

    def left(self) -> float:
        """Return the seconds until then."""
        return self.ends - self._clock()


class Forecast:
    """Says once, when the first whole epoch has told the pace, that a training will not finish in the time there is.

    Args:
        name: What is trained.
        limit: The limit that the user gave; None for none.
        lasts: What is saved is copied to a place that outlives the session.
        clock: Tells the time in seconds.
        ends: Gives what ends the session, with the seconds until then; asked once, with the seconds of an epoch.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: TimeLimit | None,
        lasts: bool,
        clock: Callable[[], float] = time.monotonic,
        ends: Callable[[float], Sequence[tuple[str, float]]] | None = None,
    ) -> None:
        self._name, self._limit, self._lasts, self._clock = name, limit, lasts, clock
        self._ends = session_ends if ends is None else ends
        self._begun: float | None = None
        self._told = False

    def epoch_begins(self, *, whole: bool = True) -> None:
        """Begin to measure an epoch; one that an earlier process began tells no pace."""
        self._begun = self._clock() if whole and not self._told else None

    def epoch_ends(self, left: float) -> None:
        """Say what is to be expected.

        Args:
            left: How many epochs are still to come; the last one may be cut short by a number of steps.
        """
        if self._begun is None or self._told or left <= 0:
            return
        self._told = True
        epoch = self._clock() - self._begun
        need = left * epoch
        ends = list(self._ends(epoch))
        if self._limit is not None:
            ends.append(("time= is over", self._limit.left()))
        reason, seconds = min(ends, key=lambda end: end[1], default=("", float("inf")))
        if need <= seconds:
            return
        words = "%s: will not finish: %s more epochs take about %s, and %s in about %s, after about %s of them"
        seconds = max(0.0, seconds)
        what = (self._name, f"{left:.3g}", duration(need), reason, duration(seconds), int(seconds // epoch))
        if reason == "time= is over":
            notify(f"{words}; what there is by then is saved, and the same line goes on", *what)
        elif self._lasts:
            warn(
                f'{words}; the same line goes on in the next session, and time="session" ends this one in order', *what
            )
        else:
            warn(
                f'{words}; ask for fewer epochs, end it in good order by time="session", or give the run mirror= or an '
                'address that lasts, as "drive:runs/NAME", and the next session goes on',
                *what,
            )


def session_ends(epoch: float) -> list[tuple[str, float]]:
    """Return what ends this session, with the seconds until then.

    Args:
        epoch: Seconds of an epoch; the host's command is asked what is left only where it is long.
    """
    from colabkit.checkpoint.policy.save_triggers import session_left
    from colabkit.runtime import detect

    ends = []
    if (left := session_left()) is not None:
        ends.append(("the session ends", left))
    runtime = detect()
    if epoch >= _ASK_QUOTA and runtime.host in ("colab", "kaggle"):
        kinds = {one.kind.upper() for one in runtime.accelerators}
        ends += [
            (f"the {quota.what} of this account are used up", quota.hours_left * 3600)
            if quota.what == "compute units"
            else (f"this account's {quota.what} hours are used up", quota.hours_left * 3600)
            for quota in runtime.quotas
            if quota.hours_left is not None and (quota.what == "compute units" or quota.what in kinds)
        ]
    return ends


def parse_time(given: Any) -> float:
    """Read how long something may take, in seconds; infinity where the session has no known end.

    Raises:
        DataError: It is not a length of time.

    Example:
        >>> parse_time("50 min"), parse_time(90)
        (3000.0, 90.0)
    """
    if isinstance(given, str) and given.strip().lower() in (SESSION, "before the session ends"):
        from colabkit.checkpoint.policy.save_triggers import session_left

        if (left := session_left()) is None:
            notify('time="session": this runtime states no limit, so training continues to its last epoch')
            return float("inf")
        return max(1.0, left - _BEFORE_THE_END)
    try:
        seconds = None if isinstance(given, bool) else parse_every(given).seconds
    except AddressError:
        seconds = None
    if seconds is None or not seconds > 0:
        raise DataError(f"time={given!r} is not a length of time", why="it takes one above zero", hint=_FORMS)
    return seconds


def sooner(given: str | float | None, other: TimeLimit | None) -> TimeLimit | None:
    """Return the limit that a user gives, counted from now, or the other one where that ends before."""
    own = None if given is None else TimeLimit(parse_time(given))
    if own is None or (other is not None and other.ends < own.ends):
        return other
    return own
