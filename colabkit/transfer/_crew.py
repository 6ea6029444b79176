"""Several connections that share one file: pieces handed out, failures forgiven, numbers adapted to the server."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.transfer._network import too_busy
from colabkit.transfer._part import ClosedError
from colabkit.transfer.base import ChangedError, ExpiredError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._tools.retry import Backoff
    from colabkit.transfer._http import Answer, Client
    from colabkit.transfer._part import Part
    from colabkit.transfer.base import Source, Target

SMALLEST = 1 << 20
LARGEST = 32 << 20
"""Bounds of a piece: large enough that asking costs little, small enough that the last ones end together."""

FIRST = 8
MOST = 16
FURTHEST = 24
"""Connections at the beginning; when these have shown that ranges work; and where each one more brings more, as from a
server that gives every connection the same share."""

_PROBE = 0.1
_TRIAL = 0.25
_MORE = 4
_WORTH = 0.5
"""Seconds until the second number, seconds for each step beyond it, its connections, and how much of their fair share
they must have brought for the next step."""
_MOST_RENEWALS = 3
_TICK = 0.05
_WINDOW = 20.0
_SLOWEST = 1024.0
REAL_PROGRESS = 64 << 10
"""Bytes that renew the budget of tries; fewer could be a server that will never get done."""


class Pace:
    """Notices a connection that delivers next to nothing for long."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._bytes = 0

    def add(self, count: int) -> None:
        """Count what arrived.

        Raises:
            TransientError: Less than 1 KiB/s over 20 seconds.
        """
        self._bytes += count
        elapsed = time.monotonic() - self._begun
        if elapsed >= _WINDOW:
            if self._bytes < _SLOWEST * elapsed:
                raise TransientError(f"the server sent only {self._bytes:,} bytes in {elapsed:.0f} s")
            self._begun += elapsed
            self._bytes = 0


class Spare:
    """Connections that several files share: each has one of its own, and takes more as long as some are left.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._left = threading.Semaphore(count)

    def take(self) -> bool:
        """Take one, if there is one."""
        return self._left.acquire(blocking=False)

    def give(self) -> None:
        """Give one back."""
        self._left.release()


@dataclass
class _Piece:
    at: int
    stop: int


class Crew:
    """Fetches the missing bytes of a part.

    Args:
        client: Sends the requests.
        source: Is asked for a new address when the present one expires.
        part: The growing file, with its size and version known.
        target: The address that answered, and the headers that may be sent there.
        connections: The number the user chose, or None.
        spare: Where connections beyond the first are taken from; None has any number of them.
        backoff: The budget of tries, shared by all connections.
    """

    def __init__(
        self,
        client: Client,
        source: Source,
        part: Part,
        target: Target,
        *,
        connections: int | None,
        spare: Spare | None,
        backoff: Backoff,
    ) -> None:
        self._client = client
        self._source = source
        self._part = part
        self._generation = part.generation
        self._target = target
        self._size = part.size or 0
        self._most = connections or FURTHEST
        self._limit = connections or FIRST
        self._spare = spare
        self._crowded = False
        self._backoff = backoff
        self._state = threading.Condition()
        self._stopped = threading.Event()
        self._todo: list[tuple[int, int]] = []
        self._working = 0
        self._own_is_busy = False
        self._open: dict[int, Answer] = {}
        self._fatal: BaseException | None = None
        self._pause_until = 0.0
        self._stumbled_at = part.count
        self._expired_at = -1
        self._renewals = 0
        self._probed = time.monotonic()
        self._probed_at = part.count
        self._last = (0, 0.0)  # the connections of the trial before, and its bytes a second

    def run(self, answer: Answer, watch: Callable[[], None]) -> None:
        """Work until all bytes are there.

        Args:
            answer: The first answer, whose body is still to be read.
            watch: Called twenty times a second from this thread.

        Raises:
            ChangedError: The remote file is another version now.
            ColabKitError: It cannot be done; the bytes that are there stay.
        """
        span = (answer.start, min(answer.stop or self._size, self._size))
        self._todo = _without(self._part.missing(), span)
        self._hire(_Piece(*span), answer, own=True)
        try:
            while not self._over():
                self._grow()
                watch()
                with self._state:
                    self._state.wait_for(self._over, timeout=_TICK)
        finally:
            self._stopped.set()
            for open_answer in list(self._open.values()):
                open_answer.abandon()
        if self._fatal is not None:
            raise self._fatal

    def _over(self) -> bool:
        return self._fatal is not None or self._part.count >= self._size

    def _grow(self) -> None:
        now = time.monotonic()
        with self._state:
            if self._limit < self._most and not self._crowded:
                self._probe(now)
            pieces = sum(-(-(stop - start) // SMALLEST) for start, stop in self._todo)
            wanted = min(self._limit - self._working, pieces)
        for _ in range(wanted):
            own = not self._own_is_busy
            if not own and self._spare is not None and not self._spare.take():
                return
            self._hire(None, None, own=own)

    def _probe(self, now: float) -> None:
        """Allow more connections where those of the last step were worth it."""
        seconds = now - self._probed
        if seconds < (_PROBE if self._limit < MOST else _TRIAL):
            return
        count = self._part.count
        (before, rate_before), rate = self._last, (count - self._probed_at) / seconds
        self._last, self._probed, self._probed_at = (self._limit, rate), now, count
        if self._limit < MOST:
            self._limit = min(self._most, MOST, self._limit * 2)
        elif rate > rate_before * (1 + _WORTH * (self._limit / before - 1)):
            self._limit = min(self._most, self._limit + _MORE)
        else:
            self._most = self._limit

    def _hire(self, piece: _Piece | None, answer: Answer | None, *, own: bool) -> None:
        with self._state:
            self._working += 1
            self._own_is_busy |= own
        threading.Thread(target=self._work, args=(piece, answer, own), name="colabkit-fetch", daemon=True).start()

    def _work(self, piece: _Piece | None, answer: Answer | None, own: bool) -> None:
        try:
            while not self._stopped.is_set():
                piece = piece or self._take()
                if piece is None:
                    return
                try:
                    self._carry(piece, answer)
                except TransientError as error:
                    if not self._stumble(error, began=answer is not None):
                        return
                finally:
                    self._give_back(piece)
                piece = answer = None
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the caller
            self._fail(error)
        finally:
            if not own and self._spare is not None:
                self._spare.give()
            with self._state:
                self._own_is_busy &= not own
                self._working -= 1
                self._state.notify_all()

    def _take(self) -> _Piece | None:
        """Cut the next piece: a fair share of what is left, so that slow and fast connections end together."""
        with self._state:
            if not self._todo:
                return None
            left = sum(stop - start for start, stop in self._todo)
            share = min(LARGEST, max(SMALLEST, left // (2 * self._limit)))
            start, stop = self._todo.pop(0)
            if stop - start > share + SMALLEST // 2:
                self._todo.insert(0, (start + share, stop))
                stop = start + share
            return _Piece(start, stop)

    def _give_back(self, piece: _Piece) -> None:
        if piece.at < piece.stop:
            with self._state:
                self._todo = sorted([*self._todo, (piece.at, piece.stop)])

    def _carry(self, piece: _Piece, answer: Answer | None) -> None:
        answer = answer or self._ask(piece)
        if answer is None:
            return
        me = threading.get_ident()
        self._open[me] = answer
        pace = Pace()
        try:
            while piece.at < piece.stop:
                data = answer.read()
                if not data:
                    return  # the server sent a shorter part than it could have; the rest is asked for anew
                if self._stopped.is_set():
                    return
                data = data[: piece.stop - piece.at]
                self._part.write(piece.at, data, generation=self._generation)
                piece.at += len(data)
                pace.add(len(data))
        finally:
            self._open.pop(me, None)
            answer.close()
        with self._state:
            self._state.notify_all()

    def _ask(self, piece: _Piece) -> Answer | None:
        target = self._target
        try:
            answer, reached = self._client.get(
                target,
                first=piece.at,
                last=piece.stop - 1,
                if_range=self._part.validator.if_range,
                read_timeout=min(60.0, 10.0 * (1 + self._backoff.failures)),
            )
        except ExpiredError as error:
            self._renew(target, error)
            return None
        with self._state:
            if self._target is target:
                self._target = reached
        try:
            check_part(answer, self._part, piece.at)
        except BaseException:
            answer.close()
            raise
        return answer

    def _stumble(self, error: TransientError, *, began: bool) -> bool:
        """Decide after a failure: wait and go on (True), or leave the work to the other connections (False)."""
        with self._state:
            count = self._part.count
            if count - self._stumbled_at >= REAL_PROGRESS:
                self._backoff.renew()
            self._stumbled_at = count
            if error.crowded and not began and self._working > 1:
                self._crowded = True
                self._limit = max(1, self._working - 1)
                if error.retry_after is not None:
                    self._pause_until = max(self._pause_until, time.monotonic() + min(error.retry_after, 5.0))
                return False
            now = time.monotonic()
            if now >= self._pause_until:  # connections that break together are one failure, not many
                wait = self._backoff.wait(error.retry_after)
                if wait is None:
                    raise too_busy(f"cannot fetch {self._source.shown}: tried {self._backoff.failures} times", error)
                self._pause_until = now + wait
            pause = self._pause_until - now
        self._stopped.wait(pause)
        return True

    def _renew(self, refused: Target, error: ExpiredError) -> None:
        """Ask the source for a fresh address, as signed ones expire; three times without progress is a refusal."""
        with self._state:
            if self._target is not refused:
                return  # another connection was refused too, and has asked already
            count = self._part.count
            self._renewals = 1 if count != self._expired_at else self._renewals + 1
            self._expired_at = count
            if self._renewals >= _MOST_RENEWALS:
                raise error.error
            renewed = self._source.remote().target
            if renewed.version != refused.version:
                raise ChangedError
            self._target = renewed

    def _fail(self, error: BaseException) -> None:
        with self._state:
            if self._fatal is None and not isinstance(error, ClosedError):
                self._fatal = error
            self._stopped.set()


def check_part(answer: Answer, part: Part, start: int) -> None:
    """Hold an answer to a range request against what is known of the file.

    Raises:
        ChangedError: It belongs to another version, or is not a part at all.
        TransientError: It is another part than the one that was asked for.
    """
    if not answer.partial or answer.encoding or answer.total != part.size:
        raise ChangedError
    if part.validator.contradicts(answer.validator):
        raise ChangedError
    if answer.start != start or answer.stop is None or answer.stop <= start:
        raise TransientError("the server sent another part than the one that was asked for")


def _without(spans: list[tuple[int, int]], gone: tuple[int, int]) -> list[tuple[int, int]]:
    """Take one span out of others.

    Example:
        >>> _without([(0, 10), (20, 30)], (0, 4))
        [(4, 10), (20, 30)]
    """
    left = []
    for start, stop in spans:
        pairs = ((start, min(stop, gone[0])), (max(start, gone[1]), stop))
        left += [(low, high) for low, high in pairs if low < high]
    return left
