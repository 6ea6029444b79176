"""Several connections that share one file: pieces handed out, failures forgiven, numbers adapted to the server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from colabkit._engine.concurrency import _LEAST, _MORE, _PROBE, _TRIAL, _WORTH, FIRST, FURTHEST, MOST
from colabkit._engine.partial_file import ClosedError
from colabkit._engine.range_queue import LARGEST, SMALLEST, ByteRange, _without
from colabkit._http.errors import retries_exhausted
from colabkit._http.types import (
    ChangedError,
    ExpiredError,
    NoRangesError,
    ReplacedError,
    TransientError,
    WrongPartError,
)
from colabkit._internal.process.threads import start_thread
from colabkit.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._engine.concurrency import ConnectionBudget
    from colabkit._engine.partial_file import PartialFile
    from colabkit._engine.source import Source
    from colabkit._http.client import HTTPClient, Response
    from colabkit._http.types import RequestSpec
    from colabkit._internal.retry import Backoff

_MOST_RENEWALS = 3
_TICK = 0.05
_WINDOW = 20.0
_SLOWEST = 1024.0
REAL_PROGRESS = 64 << 10
"""Bytes that renew the budget of tries; fewer could be a server that will never get done."""


class StallDetector:
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


class RangeDownloader:
    """Fetches the missing bytes of a part.

    It begins with an answer that somebody else asked for. If that one holds the rest of the file, it is the lead: the
    others take pieces from its end, and where they cannot have any it goes on alone.

    | state | a helper is refused | the lead breaks | the file is another one |
    |---|---|---|---|
    | lead and helpers | lead alone, to the end | helpers, by ranges | start over |
    | lead alone | - | start over without ranges | - |
    | helpers, by ranges | error | - | start over |

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
        client: HTTPClient,
        source: Source,
        part: PartialFile,
        target: RequestSpec,
        *,
        connections: int | None,
        spare: ConnectionBudget | None,
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
        self._open: dict[int, Response] = {}
        self._pieces: dict[int, ByteRange] = {}
        self._lead: ByteRange | None = None
        self._lead_stop = 0
        self._rate_alone = 0.0
        self._alone = False
        self._refused = False
        self._helped = False
        self._fatal: BaseException | None = None
        self._pause_until = 0.0
        self._stumbled_at = part.count
        self._expired_at = -1
        self._renewals = 0
        self._probed = time.monotonic()
        self._probed_at = part.count
        self._last = (0, 0.0)  # the connections of the trial before, and its bytes a second

    def run(self, answer: Response, watch: Callable[[], None], *, rate: float | None = None) -> None:
        """Work until all bytes are there.

        Args:
            answer: The first answer, whose body is still to be read.
            watch: Called twenty times a second from this thread.
            rate: The bytes a second of that answer, if it holds the rest of the file.

        Raises:
            ChangedError: The remote file is another version now, or its server gives no parts after all.
            ColabKitError: It cannot be done; the bytes that are there stay.
        """
        span = (answer.start, min(answer.stop or self._size, self._size))
        self._todo = _without(self._part.missing(), span)
        first = ByteRange(*span)
        if rate is not None:
            self._lead, self._lead_stop, self._rate_alone = first, first.stop, rate
        self._spawn(first, answer, own=True)
        try:
            while not self._over():
                self._scale_up()
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

    def _scale_up(self) -> None:
        now = time.monotonic()
        with self._state:
            if self._limit < self._most and not self._crowded:
                self._probe(now)
            if not self._working and not self._todo:
                self._todo, self._alone = self._part.missing(), False  # whatever became of it, it is still to come
            if self._alone:
                return
            pieces = sum(-(-(stop - start) // SMALLEST) for start, stop in self._todo)
            if self._lead is not None:
                pieces += max(0, (self._lead.stop - self._lead.at) // SMALLEST - 1)
            wanted = min(self._limit - self._working, pieces)
        for _ in range(wanted):
            own = not self._own_is_busy
            if not own and self._spare is not None and not self._spare.take():
                return
            self._spawn(None, None, own=own)

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
        elif self._lead is not None and rate < self._rate_alone * (1 + _LEAST):
            self._alone = True  # one connection is as fast as all of them
        elif rate > rate_before * (1 + _WORTH * (self._limit / before - 1)):
            self._limit = min(self._most, self._limit + _MORE)
        else:
            self._most = self._limit

    def _spawn(self, piece: ByteRange | None, answer: Response | None, *, own: bool) -> None:
        with self._state:
            self._working += 1
            self._own_is_busy |= own
            first = self._working == 1
        if start_thread(lambda: self._work(piece, answer, own), name="colabkit-fetch") is not None:
            return
        if first:
            self._work(piece, answer, own)  # where no thread can be started, all comes over one connection
        else:
            self._leave(own)

    def _work(self, piece: ByteRange | None, answer: Response | None, own: bool) -> None:
        me = threading.get_ident()
        try:
            while not self._stopped.is_set():
                piece = piece or self._take()
                if piece is None:
                    return
                self._pieces[me], broke = piece, None
                try:
                    self._carry(piece, answer)
                except TransientError as error:
                    broke = error
                finally:
                    self._pieces.pop(me, None)
                    self._give_back(piece)
                if broke is not None and not self._handle_transient(broke, began=answer is not None):
                    return
                piece = answer = None
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the caller
            self._fail(error)
        finally:
            self._leave(own)

    def _leave(self, own: bool) -> None:
        if not own and self._spare is not None:
            self._spare.give()
        with self._state:
            self._own_is_busy &= not own
            self._working -= 1
            self._state.notify_all()

    def _take(self) -> ByteRange | None:
        """Cut the next piece: a fair share of what is left, so that slow and fast connections end together."""
        with self._state:
            lead = self._lead
            if self._alone or not (self._todo or lead):
                return None
            left = sum(stop - start for start, stop in self._todo) + (lead.stop - lead.at if lead else 0)
            connections = max(self._limit, min(self._most, MOST))  # there will soon be as many
            share = min(LARGEST, max(SMALLEST, left // (2 * connections) // SMALLEST * SMALLEST))
            if not self._todo:
                if lead is None or lead.stop - lead.at < share + 2 * SMALLEST:
                    return None
                stop, lead.stop = lead.stop, (lead.stop - share) // SMALLEST * SMALLEST
                return ByteRange(lead.stop, stop)
            start, stop = self._todo.pop(0)
            if stop - start > share + SMALLEST // 2:
                self._todo.insert(0, (start + share, stop))
                stop = start + share
            return ByteRange(start, stop)

    def _give_back(self, piece: ByteRange) -> None:
        with self._state:
            if piece is self._lead:
                # Alone it passed over what helpers had brought: what is still missing is looked up.
                self._lead, self._alone = None, False
                self._todo = self._part.missing()
                for other in list(self._pieces.values()):
                    self._todo = _without(self._todo, (other.at, other.stop))
            elif piece.at < piece.stop and not (self._alone and self._lead):
                self._todo = sorted([*self._todo, (piece.at, piece.stop)])
                while self._lead is not None and self._todo and self._todo[0][0] == self._lead.stop:
                    self._lead.stop = self._todo.pop(0)[1]  # it comes past there anyway

    def _go_alone(self, piece: ByteRange | None, *, refused: bool = True) -> bool:
        """Let the lead bring all, as others are refused or break; False where there is no lead."""
        with self._state:
            self._refused |= refused
            if self._lead is None or self._lead is piece:
                return False
            self._alone = True
            self._lead.stop = self._lead_stop
            self._todo = []
        return True

    def _carry(self, piece: ByteRange, answer: Response | None) -> None:
        if answer is None:
            try:
                answer = self._ask(piece)
            except ReplacedError:
                raise
            except (ChangedError, TransferError):
                if self._go_alone(piece):
                    return
                if self._lead_stop and not self._helped:
                    raise NoRangesError from None
                raise
            if answer is None:
                return
        me = threading.get_ident()
        self._open[me] = answer
        stalls = StallDetector()
        try:
            while piece.at < piece.stop:
                data = answer.read()
                if not data:
                    return  # the server sent a shorter part than it could have; the rest is asked for anew
                if self._stopped.is_set():
                    return
                data = data[: max(0, piece.stop - piece.at)]
                self._part.write(piece.at, data, generation=self._generation)
                piece.at += len(data)
                stalls.add(len(data))
        finally:
            self._open.pop(me, None)
            answer.close()
        with self._state:
            self._state.notify_all()

    def _ask(self, piece: ByteRange) -> Response | None:
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
        self._helped = True
        return answer

    def _handle_transient(self, error: TransientError, *, began: bool) -> bool:
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
                if self._refused and not self._helped and self._lead is None:
                    raise NoRangesError  # the lead was the only way in
                wait = self._backoff.wait(error.retry_after)
                if isinstance(error, WrongPartError) and self._backoff.failures > 1:
                    raise NoRangesError
                hopeless = wait is None or (not self._helped and self._backoff.failures > 1)
                if hopeless and not began and self._go_alone(None, refused=not error.line):
                    return False
                if wait is None:
                    raise retries_exhausted(
                        f"cannot fetch {self._source.shown}: tried {self._backoff.failures} times", error
                    )
                self._pause_until = now + wait
            pause = self._pause_until - now
        self._stopped.wait(pause)
        return True

    def _renew(self, refused: RequestSpec, error: ExpiredError) -> None:
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


def check_part(answer: Response, part: PartialFile, start: int) -> None:
    """Hold an answer to a range request against what is known of the file.

    Raises:
        ReplacedError: It belongs to another version.
        ChangedError: It is not a part at all.
        WrongPartError: It is another part than the one that was asked for.
    """
    if part.validator.contradicts(answer.validator) or (answer.partial and answer.total != part.size):
        raise ReplacedError
    if not answer.partial or (answer.codings and not answer.measured):
        raise ChangedError
    if answer.start != start or answer.stop is None or answer.stop <= start:
        raise WrongPartError("the server sent a different part than the one requested")
