"""The engine: one file from one source, resumable, verified, over as many connections as help."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._engine.concurrency import FURTHEST
from colabkit._engine.pool import REAL_PROGRESS, RangeDownloader, StallDetector, check_part
from colabkit._engine.range_queue import SMALLEST
from colabkit._http import coding as _coding
from colabkit._http import error_page, headers
from colabkit._http.client import HTTPClient
from colabkit._http.errors import retries_exhausted
from colabkit._http.types import ChangedError, ExpiredError, NoRangesError, TransientError, WrongPartError
from colabkit._internal.disk.checksum import Checksum, IncrementalHasher, of_file
from colabkit._internal.display.progress import amount
from colabkit._internal.retry import Backoff
from colabkit.errors import ColabKitError, DiskFullError, IntegrityError, OfflineError, TransferError, WebPageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._engine.concurrency import ConnectionBudget
    from colabkit._engine.partial_file import PartialFile
    from colabkit._engine.source import Source
    from colabkit._http.client import Response
    from colabkit._http.types import RemoteFile, RequestSpec
    from colabkit._internal.display.progress import Progress

_STARTS = 4
_MARGIN = 1 << 20
_WATCH = 0.02
_SOON = 0.5
"""Seconds between two looks at the speed, and what one connection must still need for more to be worth their start."""
_BREAKS = 3
"""Connections that may break before a request for a part is answered, until the part is given up for the whole."""
_HURRY = 10.0
"""Seconds without a byte after which a connection that had begun to deliver is given up."""


@dataclass(frozen=True, kw_only=True)
class DownloadResult:
    """What lies complete and verified in the part.

    Attributes:
        name: The file name that the server or the address gives, or "".
        size: Bytes.
        checksum: The hash that was verified, if one was promised.
        packed: It is a zip that holds the one file.
        gzipped: It is compressed, as it is stored.
        kept: The server lets it be used again without being asked.
        wanted: The hash of what is taken out of it, if the user or the source said one.
    """

    name: str
    size: int
    checksum: Checksum | None
    packed: bool = False
    gzipped: bool = False
    kept: bool = True
    wanted: Checksum | None = None


class Downloader:
    """Fills a part with a remote file.

    Args:
        source: Where the file comes from.
        part: The growing file; what an earlier process left in it is used if the remote file is still the same.
        checksum: What the user expects.
        connections: How many connections at most; None adapts.
        spare: Where connections beyond the first are taken from; None takes as many as the server likes.
        bar: Shows how far it is.
        client: Sends the requests; one of its own by default.
        page_expected: The user wants a web page.
        accept: Told the name that the server gives, before the body is read; raises if it cannot be used.
    """

    def __init__(
        self,
        source: Source,
        part: PartialFile,
        *,
        checksum: Checksum | None,
        connections: int | None,
        spare: ConnectionBudget | None = None,
        bar: Progress,
        client: HTTPClient | None = None,
        page_expected: bool = False,
        accept: Callable[[str], None] | None = None,
    ) -> None:
        self._source = source
        self._part = part
        self._wanted = checksum
        self._connections = connections
        self._spare = spare
        self._bar = bar
        self._page_expected = page_expected
        self._accept = accept
        self._backoff = Backoff()
        self._furthest = 0
        self._wrong_parts = 0
        self._ranges = True
        self._proved = False
        self._hash: IncrementalHasher | None = None
        self._expected = checksum
        self._gzipped = False
        self._headers_asked = False
        self._at = 0
        self._own_client = client is None
        self._client = client or HTTPClient(connections or FURTHEST)
        self._target: RequestSpec
        self._pause = threading.Event()  # never set: it is a sleep that Ctrl-C interrupts on every platform
        self._remote: RemoteFile

    def run(self) -> DownloadResult:
        """Fetch and verify; afterwards the part is complete and on disk.

        Raises:
            TransferError: Or one of its kinds; what can be resumed stays in the part.
        """
        try:
            for _ in range(_STARTS):
                try:
                    return self._attempt()
                except ChangedError as error:
                    self._ranges = self._ranges and not isinstance(error, NoRangesError)
                    self._furthest = 0
                    self._stop_hash()
                    self._part.reset()
        finally:
            self._stop_hash()
            if self._own_client:
                self._client.close()
        raise TransferError(
            f"{self._source.shown} changes while it is being fetched",
            why=f"it was a different file at each of {_STARTS} tries",
            hint="wait until its owner has finished writing it, then run it again",
        )

    def _attempt(self) -> DownloadResult:
        if self._part.resumable and not (self._ranges and (self._part.validator.trusted or self._wanted)):
            self._part.reset()  # nothing tells whether these bytes still belong to the file
        self._expected = self._wanted
        self._gzipped = False
        response = self._first_answer()
        try:
            response = self._receive(response)
        finally:
            response.close()
        return self._verified(response)

    def _first_answer(self) -> Response:
        """Ask for the file, or for what is missing of it.

        The whole is asked for without a range: some servers refuse any, and a link that works once must be read to
        its end. What is missing is asked for by a range, and once more without one if the server refuses that.
        """
        remote = self._remote = self._source.remote()
        self._ranges = self._ranges and remote.target.body is None
        if self._part.resumable and remote.target.version not in ("", self._part.validator.version):
            self._part.reset()
        span = (0, SMALLEST - 1) if remote.in_parts and self._ranges else None
        if self._part.resumable:
            span = self._missing_span()
        failures = breaks = 0
        while True:
            first, last = span or (None, None)
            try:
                response, self._target = self._client.get(
                    remote.target, first=first, last=last, if_range=self._part.validator.if_range if span else ""
                )
                if span is not None and not response.partial and self._is_page(response):
                    response.close()
                    span = None  # it says in a page that it gives no ranges
                    continue
            except TransientError as error:
                try:
                    self._wait_or_raise(error)
                except TransferError:
                    if span is None or error.unreachable or error.line:
                        raise
                    span = None  # the last resort of a server that is too busy for any range
                breaks += error.line
                failures += not (error.crowded or error.unreachable or error.line)
                if failures > 1 or (breaks > _BREAKS and not self._proved):
                    span = None  # some servers answer with a failure, or with none at all, to any range
            except (ExpiredError, TransferError) as error:
                if span is None:
                    raise error.error if isinstance(error, ExpiredError) else error from None
                span = None
            else:
                return response

    def _missing_span(self) -> tuple[int, int]:
        missing, size = self._part.missing(), self._part.size or 0
        # If all is there, one byte tells whether the file is still the same.
        start, stop = missing[0] if missing else (max(0, size - 1), size)
        return start, min(stop, start - start % SMALLEST + SMALLEST) - 1

    def _wait_or_raise(self, error: TransientError) -> None:
        # A host that never answered is more likely absent than busy: two short tries, then the truth.
        fresh = error.unreachable and not self._client.has_reached(self._remote.target.url)
        tries_left = self._backoff.failures < 2 and error.why != "the host does not answer"
        wait = self._backoff.wait(error.retry_after) if tries_left or not fresh else None
        if self._remote.target.body is not None and not error.unreachable:
            wait = None  # what was posted may have been done; only the user can say whether to do it again
        if wait is None:
            what = f"cannot fetch {self._source.shown}"
            if fresh:
                raise OfflineError(what, why=error.why, hint="check the network and the address, then run it again")
            raise retries_exhausted(f"{what}: tried {self._backoff.failures + 1} times", error)
        self._pause.wait(wait)

    def _receive(self, response: Response) -> Response:
        """Read an answer to its end, and ask for the rest as often as the connection breaks; return the last one."""
        ended, same = (0, ""), 0
        while True:
            self._at = 0
            try:
                self._begin(response)
                self._read(response)
            except TransientError as error:
                response.close()
                self._stop_hash()
                if isinstance(error, WrongPartError):
                    self._wrong_parts += 1
                    if self._wrong_parts > 1:
                        raise NoRangesError from None
                if not response.partial and self._at and not error.line:
                    same = same + 1 if ended == (self._at, error.why) else 1
                    if same == (2 if self._at >= SMALLEST else 3):  # a small one is cut at one of few blocks by chance
                        self._part.resumable = False
                        # Not the network, which breaks anywhere: one more whole download would end alike.
                        raise TransferError(
                            f"cannot fetch {self._source.shown}: {same} tries in a row ended at the same byte",
                            why=error.why,
                            hint="its server reports a wrong length or truncates the file; use another address of it",
                        ) from None
                    moved, ended = ended[0] not in (0, self._at), (self._at, error.why)
                    if moved:
                        self._keep_what_came(response)
                elif error.line:
                    self._keep_what_came(response)
                self._renew_if_further(response)
                self._wait_or_raise(error)
                response = self._first_answer()
            else:
                return response

    def _keep_what_came(self, response: Response) -> None:
        """Go on with a small file, too, whose beginning came over a line that breaks."""
        if self._at and not self._part.resumable and self._can_go_on(response):
            self._part.begin(response.total or 0, response.validator, self._name(response))

    def _can_go_on(self, response: Response) -> bool:
        """Say whether the rest of a whole answer could be asked for as a part of the same version."""
        may = self._ranges and response.splits and not response.partial and response.total
        return bool(may and (response.validator.trusted or self._wanted))

    def _renew_if_further(self, response: Response) -> None:
        size, count = self._part.size or response.total, self._part.count
        if count - self._furthest >= min(REAL_PROGRESS, max(1, (size or REAL_PROGRESS << 3) >> 3)):
            self._furthest = count
            self._backoff.renew()

    def _begin(self, response: Response) -> None:
        """Make ready for the bytes of an answer.

        Raises:
            ChangedError: They do not belong to what is there.
            TransientError: It breaks at once.
            ColabKitError: It is no answer that the file could come from.
        """
        part = self._part
        self._settle_coding(response)
        if response.start == 0:
            self._refuse_page(response)
        total = response.total or 0
        large = total > SMALLEST  # a small one is not worth its notes
        if response.partial:
            if not part.resumable:
                self._need_room(total)
                trusted = self._ranges and (response.validator.trusted or self._wanted)
                if response.start or response.total is None or not (trusted or response.stop == total):
                    self._ranges = False
                    raise ChangedError
                part.begin(total, response.validator, self._name(response))
            missing = part.missing()
            if part.size:
                check_part(response, part, missing[0][0] if missing else part.size - 1)
                self._proved = True
        else:
            if part.validator.trusted and response.validator == part.validator and total not in (0, part.size):
                raise NoRangesError  # the same version in another size: a part that is called the whole
            self._stop_hash()
            part.reset()
        if self._accept is not None:
            self._accept(self._source.name if self._remote.packed else part.name or self._name(response))
        self._need_room((part.size or response.total or 0) - part.count)
        if large and self._can_go_on(response):
            part.begin(total, response.validator, self._name(response))
        self._start_hash(self._to_check(response), part.size or response.total)
        self._at = response.start

    def _read(self, response: Response) -> None:
        """Read one answer; hand it over to a pool of connections where more of them would be worth it.

        Raises:
            TransientError: It broke.
        """
        part, begun, begun_at = self._part, time.monotonic(), self._at
        if part.resumable:
            missing = part.missing()
            if not missing:
                return
            if missing != [(response.start, response.stop)]:
                self._pool().run(response, self._watch)
                return
        response.hurry(_HURRY)
        stalls, look_at = StallDetector(), begun + _WATCH
        single = not part.resumable or response.partial or 1 in (self._connections, self._remote.connections)
        while data := response.read():
            part.write(self._at, data)
            self._at += len(data)
            stalls.add(len(data))
            if (now := time.monotonic()) < look_at:
                continue
            look_at = now + _WATCH
            self._watch(None if part.resumable else self._at, response.stop)
            left, done, seconds = (part.size or 0) - self._at, self._at - begun_at, now - begun
            if not single and seconds > 2 * _WATCH and left > 2 * SMALLEST and left * seconds > _SOON * done:
                response.start = self._at
                self._pool().run(response, self._watch, rate=done / seconds)
                return
        if not part.resumable:
            part.size = self._at
            part.name = self._name(response)

    def _pool(self) -> RangeDownloader:
        return RangeDownloader(
            self._client,
            self._source,
            self._part,
            self._target,
            connections=self._connections or self._remote.connections,
            spare=self._spare,
            backoff=self._backoff,
        )

    def _name(self, response: Response) -> str:
        return self._remote.name or headers.better_name(response.name, self._source.name)

    def _settle_coding(self, answer: Response) -> None:
        """Decide whether the body is what was published, or was compressed on its way.

        Raises:
            ChangedError: That can be told from the whole body only, which must be asked for.
            UnsupportedError: It was compressed, and nothing here can undo it.
        """
        for coding in reversed(answer.codings):
            head = answer.peek() if answer.start == 0 else b""
            if answer.start == 0 and (not head or _coding.fits(coding, head) is False):
                return  # the label is wrong
            in_parts = answer.measured or not answer.partial
            published = self._wanted or self._remote.checksum
            if published and in_parts and coding in _coding.GZIP and len(answer.codings) == 1:
                self._gzipped = True  # both are looked at when all is there: the checksum knows which one is meant
                return
            names = (self._remote.name, self._source.name, answer.name)
            inner = _coding.begins_with(coding, head)
            twice = _coding.fits(coding, inner) or error_page.is_page(inner, answer.content_type)
            if in_parts and _coding.is_packed_name(coding, names) and not twice:
                return
            if answer.partial:
                self._ranges = False
                raise ChangedError
            answer.decode(coding)

    def _refuse_page(self, answer: Response) -> None:
        if self._is_page(answer):
            said = error_page.words(answer.peek())
            if answer.partial:
                self._part.resumable = False  # a page is no beginning of the file
            raise WebPageError(
                f"got a web page instead of a file from {answer.shown}",
                why=f"the page says: {said}" if said else "the page has no text",
                hint="open the address in a browser; if the page itself is wanted, pass to='NAME.html'",
            )

    def _is_page(self, answer: Response) -> bool:
        if self._page_expected or self._remote.page_expected:
            return False
        return error_page.is_page(answer.peek(), answer.content_type)

    def _need_room(self, size: int) -> None:
        if size <= SMALLEST:
            return  # the disk itself tells
        folder = self._part.path.parent
        free = shutil.disk_usage(folder).free
        if size + _MARGIN > free:
            raise DiskFullError(
                f"no room for {self._source.shown} in {folder}",
                why=f"{amount(size)} are needed and {amount(free)} are free",
                hint="free some space there, or choose another folder with to=",
            )

    def _to_check(self, answer: Response) -> Checksum | None:
        remote = self._remote
        # What the user wants is the file; what comes packed is another one until it is taken out.
        if self._gzipped:
            return answer.checksum
        wanted = None if remote.packed or remote.gzipped else self._wanted
        known = wanted or remote.checksum or answer.checksum
        return self._asked_for_hash(answer) if known is None and answer.partial else known

    def _asked_for_hash(self, answer: Response) -> Checksum | None:
        """Ask once for the headers alone: some servers tell the hash of a file, but not with a part of it."""
        if not self._headers_asked:
            self._headers_asked = True
            with contextlib.suppress(TransientError, ExpiredError, ColabKitError):
                validator, checksum = self._client.promise(self._remote.target)
                if not self._part.validator.contradicts(validator) and not answer.codings:
                    return checksum
        return None

    def _start_hash(self, checksum: Checksum | None, size: int | None) -> None:
        self._expected = checksum
        if checksum is not None and (size is None or size > SMALLEST):
            self._hash = IncrementalHasher(checksum.algorithm, self._part.reader(), lambda: self._part.prefix)

    def _stop_hash(self) -> None:
        if self._hash is not None:
            self._hash.stop()
            self._hash = None

    def _watch(self, done: int | None = None, total: int | None = None) -> None:
        if self._hash is not None:
            self._hash.nudge()
        self._part.save_if_due()
        self._bar.update(self._part.count if done is None else done, self._part.size if total is None else total)

    def _verified(self, answer: Response) -> DownloadResult:
        size = self._part.size or 0
        self._part.finish(size)
        self._bar.update(size, size)
        actual = None
        if self._hash is not None:
            actual, self._hash = self._hash.result(size), None
        elif self._expected is not None:  # a small file is hashed when it is there
            actual = of_file(self._part.path, self._expected.algorithm)
        if answer.size is not None and answer.size != size and not self._gzipped:
            self._part.resumable = False
            raise IntegrityError(
                f"the file from {self._source.shown} is not the expected one",
                why=f"the server said {answer.size:,} bytes, and {size:,} arrived",
                hint="run it again; if it fails again, the file is damaged at the source",
            )
        if actual != self._expected:
            self._part.resumable = False  # wrong bytes are no beginning of the right ones
            promise = "you" if self._expected == self._wanted else "the server"
            raise IntegrityError(
                f"the file from {self._source.shown} is not the expected one",
                why=f"{promise} said {self._expected}, the {size:,} bytes that arrived have {actual}",
                hint="run it again; if it fails again, the file or the checksum has changed at the source",
            )
        remote = self._remote
        return DownloadResult(
            name=self._part.name or self._name(answer),
            size=size,
            checksum=actual,
            packed=remote.packed,
            gzipped=remote.gzipped or self._gzipped,
            kept=answer.kept,
            wanted=self._wanted or (remote.checksum if self._gzipped else None),
        )
