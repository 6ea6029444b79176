"""Several connections that share one file: pieces handed out, failures forgiven, numbers adapted to the server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from colabkit._engine.concurrency import Concurrency, FileConnections
from colabkit._engine.partial_file import ClosedError
from colabkit._engine.range_queue import ByteRange, RangeQueue
from colabkit._engine.requester import REAL_PROGRESS
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


class CurrentAddress:
    """The address that answers now; when it expires, the source gives a new one of the same version.

    Its methods are called under the lock of the pool: of the connections that are refused together, one asks.

    Args:
        source: Is asked for a new address.
        target: The address that answered, and the headers that may be sent there.
    """

    def __init__(self, source: Source, target: RequestSpec) -> None:
        self.source = source
        self.target = target
        self._expired_at = -1
        self._renewals = 0

    def follow(self, asked: RequestSpec, reached: RequestSpec) -> None:
        """Ask from now on where a redirect led."""
        if self.target is asked:
            self.target = reached

    def renew(self, refused: RequestSpec, error: ExpiredError, count: int) -> None:
        """Ask the source for a fresh address, as signed ones expire; three times without progress is a refusal.

        Args:
            refused: The address that was refused.
            error: What was answered.
            count: The bytes that are there.

        Raises:
            AccessError: It is refused for good.
            ChangedError: Another version is there now.
        """
        if self.target is not refused:
            return  # another connection was refused too, and has asked already
        self._renewals = 1 if count != self._expired_at else self._renewals + 1
        self._expired_at = count
        if self._renewals >= _MOST_RENEWALS:
            raise error.error
        renewed = self.source.remote().target
        if renewed.version != refused.version:
            raise ChangedError
        self.target = renewed


class RangeDownloader:
    """Fetches the missing bytes of a part, over as many connections as help, which share one budget of tries.

    It begins with an answer that somebody else asked for. If that one holds the rest of the file, it is the lead: the
    others take pieces from its end, and where they cannot have any it goes on alone.

    | state | a helper is refused | the lead breaks | the file is another one |
    |---|---|---|---|
    | lead and helpers | lead alone, to the end | helpers, by ranges | start over |
    | lead alone | - | start over without ranges | - |
    | helpers, by ranges | error | - | start over |

    Args:
        client: Sends the requests.
        address: Where to ask.
        part: The growing file, with its size and version known.
        response: The first answer, whose body is still to be read.
        rate: The bytes a second of that answer, if it holds the rest of the file; 0 if it does not.
        connections: The number the user chose, or None.
        spare: Where connections beyond the first are taken from; None has any number of them.
        backoff: The budget of tries.
    """

    def __init__(
        self,
        client: HTTPClient,
        address: CurrentAddress,
        part: PartialFile,
        response: Response,
        *,
        rate: float,
        connections: int | None,
        spare: ConnectionBudget | None,
        backoff: Backoff,
    ) -> None:
        self._client = client
        self._address = address
        self._part = part
        size = part.size or 0
        self._first = (ByteRange(response.start, min(response.stop or size, size)), response)
        self._queue = RangeQueue(part, self._first[0], leads=rate > 0)
        self._concurrency = Concurrency(connections, part.count, rate_alone=rate)
        self._connections = FileConnections(spare)
        self._backoff = backoff
        self._pause_until = 0.0
        self._state = threading.Condition()
        self._stopped = threading.Event()
        self._open: dict[int, Response] = {}
        self._refused = False
        self._helped = False
        self._fatal: BaseException | None = None

    def run(self, watch: Callable[[], None]) -> None:
        """Work until all bytes are there.

        Args:
            watch: Called twenty times a second from this thread.

        Raises:
            ChangedError: The remote file is another version now, or its server gives no parts after all.
            ColabKitError: It cannot be done; the bytes that are there stay.
        """
        self._connections.take()
        self._spawn(*self._first)
        try:
            while not self._over():
                self._scale_up()
                watch()
                with self._state:
                    self._state.wait_for(self._over, timeout=_TICK)
        finally:
            self._stopped.set()
            for open_response in list(self._open.values()):
                open_response.abandon()
        if self._fatal is not None:
            raise self._fatal

    def _over(self) -> bool:
        return self._fatal is not None or self._part.count >= (self._part.size or 0)

    def _scale_up(self) -> None:
        with self._state:
            queue = self._queue
            if not self._concurrency.adapt(self._part.count, leads=queue.lead is not None):
                queue.lead_alone = True
            if not self._connections.count:
                queue.look_again()
            more = min(self._concurrency.limit - self._connections.count, queue.worth_connections())
        for _ in range(more):
            with self._state:
                if not self._connections.take():
                    return
            self._spawn(None, None)

    def _spawn(self, piece: ByteRange | None, response: Response | None) -> None:
        """Start a worker on a connection that was taken for it."""
        with self._state:
            only = self._connections.count == 1
        if start_thread(lambda: self._work(piece, response), name="colabkit-fetch") is not None:
            return
        if only:
            self._work(piece, response)  # where no thread can be started, all comes over one connection
        else:
            self._leave()

    def _work(self, piece: ByteRange | None, response: Response | None) -> None:
        try:
            while not self._stopped.is_set():
                if piece is None:
                    with self._state:
                        piece = self._queue.take(self._concurrency.expected)
                if piece is None:
                    return
                broke = None
                try:
                    self._download_range(piece, response)
                except TransientError as error:
                    broke = error
                finally:
                    with self._state:
                        self._queue.give_back(piece)
                if broke is not None and not self._handle_transient(broke, began=response is not None):
                    return
                piece = response = None
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the caller
            self._fail(error)
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._state:
            self._connections.give()
            self._state.notify_all()

    def _download_range(self, piece: ByteRange, response: Response | None) -> None:
        if response is None:
            try:
                response = self._request(piece)
            except ReplacedError:
                raise
            except (ChangedError, TransferError):
                if self._leave_to_lead(piece, refused=True):
                    return
                if self._queue.had_lead and not self._helped:
                    raise NoRangesError from None
                raise
            if response is None:
                return
        me = threading.get_ident()
        self._open[me] = response
        stalls = StallDetector()
        try:
            while piece.at < piece.stop:
                data = response.read()
                if not data:
                    return  # the server sent a shorter part than it could have; the rest is asked for anew
                if self._stopped.is_set():
                    return
                data = data[: max(0, piece.stop - piece.at)]
                self._part.write(piece.at, data, generation=self._queue.generation)
                piece.at += len(data)
                stalls.add(len(data))
        finally:
            self._open.pop(me, None)
            response.close()
        with self._state:
            self._state.notify_all()

    def _request(self, piece: ByteRange) -> Response | None:
        """Ask for a piece; None where the address had expired, and is another one now."""
        target = self._address.target
        try:
            response, reached = self._client.get(
                target,
                first=piece.at,
                last=piece.stop - 1,
                if_range=self._part.validator.if_range,
                read_timeout=min(60.0, 10.0 * (1 + self._backoff.failures)),
            )
        except ExpiredError as error:
            with self._state:
                self._address.renew(target, error, self._part.count)
            return None
        with self._state:
            self._address.follow(target, reached)
        try:
            check_part(response, self._part, piece.at)
        except BaseException:
            response.close()
            raise
        self._helped = True
        return response

    def _leave_to_lead(self, piece: ByteRange | None, *, refused: bool) -> bool:
        with self._state:
            self._refused |= refused
            return self._queue.leave_to_lead(piece)

    def _handle_transient(self, error: TransientError, *, began: bool) -> bool:
        """Decide after a failure: wait and go on (True), or leave the work to the other connections (False)."""
        with self._state:
            self._backoff.renew_after(self._part.count, REAL_PROGRESS)
            if error.crowded and not began and self._connections.count > 1:
                self._concurrency.reduce(self._connections.count - 1)
                if error.retry_after is not None:
                    self._pause_until = max(self._pause_until, time.monotonic() + min(error.retry_after, 5.0))
                return False
            now = time.monotonic()
            if now >= self._pause_until:  # connections that break together are one failure, not many
                if self._refused and not self._helped and self._queue.lead is None:
                    raise NoRangesError  # the lead was the only way in
                wait = self._backoff.wait(error.retry_after)
                if isinstance(error, WrongPartError) and self._backoff.failures > 1:
                    raise NoRangesError
                hopeless = wait is None or (not self._helped and self._backoff.failures > 1)
                if hopeless and not began and self._leave_to_lead(None, refused=not error.line):
                    return False
                if wait is None:
                    raise retries_exhausted(
                        f"cannot fetch {self._address.source.shown}: tried {self._backoff.failures} times", error
                    )
                self._pause_until = now + wait
            pause = self._pause_until - now
        self._stopped.wait(pause)
        return True

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
