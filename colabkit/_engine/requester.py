"""Asks for one file, or for what is missing of it, within one budget of tries."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from colabkit._engine.content_check import is_page
from colabkit._engine.range_queue import SMALLEST
from colabkit._http.errors import STOPPED, retries_exhausted
from colabkit._http.types import ExpiredError, TransientError
from colabkit._internal.log import notify
from colabkit.errors import OfflineError, TransferError

if TYPE_CHECKING:
    from colabkit._engine.partial_file import PartialFile
    from colabkit._engine.source import Source
    from colabkit._http.client import HTTPClient, Response
    from colabkit._http.types import RemoteFile, RequestSpec
    from colabkit._internal.retry import Backoff

REAL_PROGRESS = 64 << 10
"""Bytes that renew the budget of tries; fewer could be a server that will never get done."""
_PATIENCE = 30.0
"""Seconds for the first byte of an answer; after a try without one twice as long, as a server may prepare the file."""
_SILENT = 3
"""Tries without a byte, after which the server is taken for dead."""
_BREAKS = 3
"""Connections that may break before a request for a part is answered, until the part is given up for the whole."""


class Requester:
    """Gets an answer that holds the file, or the next bytes that are missing.

    The whole is asked for without a range: some servers refuse any, and a link that works once must be read to its
    end. What is missing is asked for by a range, and once more without one if the server refuses that. So its tries
    are not all alike, which is why it has a loop of its own around the budget.

    Args:
        source: Where the file comes from.
        part: The growing file.
        client: Sends the requests.
        backoff: The budget of tries; real progress renews it.
        page_expected: The user wants a web page.

    Attributes:
        remote: What the source said of the file when it was last asked.
        target: The address that answered, and the headers that may be sent there.
        ranges: The server may still be asked for parts.
        ranges_work: It has sent one.
    """

    remote: RemoteFile
    target: RequestSpec

    def __init__(
        self, source: Source, part: PartialFile, client: HTTPClient, backoff: Backoff, *, page_expected: bool
    ) -> None:
        self.ranges = True
        self.ranges_work = False
        self.backoff = backoff
        self._source = source
        self._part = part
        self._client = client
        self._page_expected = page_expected
        self._pause = threading.Event()  # never set: it is a sleep that Ctrl-C interrupts on every platform

    @property
    def page_expected(self) -> bool:
        """Whether a web page is no error."""
        return self._page_expected or self.remote.page_expected

    def first_response(self) -> Response:
        """Ask for the file, or for what is missing of it.

        Raises:
            TransferError: Or one of its kinds: it cannot be had, or not now.
        """
        remote = self.remote = self._source.remote()
        self.ranges = self.ranges and remote.target.body is None
        if self._part.resumable and remote.target.version not in ("", self._part.validator.version):
            self._part.reset()
        span = (0, SMALLEST - 1) if remote.in_parts and self.ranges else None
        if self._part.resumable:
            span = self._missing_span()
        failures = breaks = silent = 0
        while True:
            first, last = span or (None, None)
            try:
                response, self.target = self._client.get(
                    remote.target,
                    first=first,
                    last=last,
                    if_range=self._part.validator.if_range if span else "",
                    read_timeout=_PATIENCE * 2**silent,
                )
                if span is not None and not response.partial and not self.page_expected and is_page(response):
                    response.close()
                    span = None  # it says in a page that it gives no ranges
                    continue
            except TransientError as error:
                silent = self._count_silence(error, silent, whole=span is None)
                try:
                    self.wait_or_raise(error)
                except TransferError:
                    if span is None or error.unreachable or error.line:
                        raise
                    span = None  # the last resort of a server that is too busy for any range
                breaks += error.line
                failures += not (error.crowded or error.unreachable or error.line)
                if failures > 1 or (breaks > _BREAKS and not self.ranges_work):
                    span = None  # some servers answer with a failure, or with none at all, to any range
            except (ExpiredError, TransferError) as error:
                if span is None:
                    raise error.error if isinstance(error, ExpiredError) else error from None
                span = None
            else:
                return response

    def _count_silence(self, error: TransientError, silent: int, *, whole: bool) -> int:
        """Return how many requests for the whole had no answer by now.

        Raises:
            TransferError: They are enough.
        """
        if not whole or error.why != STOPPED:
            return silent
        error.why = f"the server gave no answer in {_PATIENCE * 2**silent:.0f} s"
        if silent + 1 == _SILENT:
            raise retries_exhausted(f"cannot fetch {self._source.shown}: tried {_SILENT} times", error) from None
        notify("%s: %s; asking again, and waiting twice as long", self._source.shown, error.why)
        return silent + 1

    def wait_or_raise(self, error: TransientError) -> None:
        """Wait before the next try.

        Raises:
            TransferError: There is none.
        """
        # A host that never answered is more likely absent than busy: two short tries, then the truth.
        fresh = error.unreachable and not self._client.has_reached(self.remote.target.url)
        tries_left = self.backoff.failures < 2 and error.why != "the host does not answer"
        wait = self.backoff.wait(error.retry_after) if tries_left or not fresh else None
        if self.remote.target.body is not None and not error.unreachable:
            wait = None  # what was posted may have been done; only the user can say whether to do it again
        if wait is None:
            what = f"cannot fetch {self._source.shown}"
            if fresh:
                raise OfflineError(what, why=error.why, hint="check the network and the address, then run it again")
            raise retries_exhausted(f"{what}: tried {self.backoff.failures + 1} times", error)
        self._pause.wait(wait)

    def renew_if_further(self, size: int | None) -> None:
        """Renew the budget if enough has come since the last time: of a small file an eighth.

        Args:
            size: That of the file, if it is known.
        """
        least = min(REAL_PROGRESS, max(1, (size or REAL_PROGRESS << 3) >> 3))
        self.backoff.renew_after(self._part.count, least)

    def _missing_span(self) -> tuple[int, int]:
        missing, size = self._part.missing(), self._part.size or 0
        # If all is there, one byte tells whether the file is still the same.
        start, stop = missing[0] if missing else (max(0, size - 1), size)
        return start, min(stop, start - start % SMALLEST + SMALLEST) - 1
