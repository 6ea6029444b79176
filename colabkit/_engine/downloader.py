"""The engine: one file from one source, resumable, verified, over as many connections as help."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._engine.concurrency import FURTHEST
from colabkit._engine.content_check import is_page, page_instead, settle_coding
from colabkit._engine.pool import CurrentAddress, RangeDownloader, StallDetector, check_part
from colabkit._engine.range_queue import SMALLEST
from colabkit._engine.requester import Requester
from colabkit._engine.verification import Verification
from colabkit._http import headers
from colabkit._http.client import HTTPClient
from colabkit._http.types import ChangedError, NoRangesError, TransientError, WrongPartError
from colabkit._internal.display.progress import amount
from colabkit._internal.retry import Backoff
from colabkit.errors import DiskFullError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._engine.concurrency import ConnectionBudget
    from colabkit._engine.partial_file import PartialFile
    from colabkit._engine.source import Source
    from colabkit._http.client import Response
    from colabkit._http.headers import Validator
    from colabkit._internal.disk.checksum import Checksum
    from colabkit._internal.display.progress import Progress

_STARTS = 4
_MARGIN = 1 << 20
_WATCH = 0.02
_SOON = 0.5
"""Seconds between two looks at the speed, and what one connection must still need for more to be worth their start."""
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


class _BrokenAnswers:
    """Where whole answers broke off: the network breaks anywhere, a truncated file or a wrong length at one byte."""

    def __init__(self, part: PartialFile, address: str) -> None:
        self._part = part
        self._address = address
        self._last = (0, "")
        self._alike = 0

    def add(self, at: int, why: str) -> bool:
        """Count one; return whether the one before broke at another byte, so that it is worth going on behind it.

        Raises:
            TransferError: They end at the same byte again and again; one more whole download would end alike.
        """
        before, self._last = self._last, (at, why)
        self._alike = self._alike + 1 if before == self._last else 1
        if self._alike == (2 if at >= SMALLEST else 3):  # a small one is cut at one of few blocks by chance
            self._part.resumable = False
            raise TransferError(
                f"cannot fetch {self._address}: {self._alike} tries in a row ended at the same byte",
                why=why,
                hint="its server reports a wrong length or truncates the file; use another address of it",
            ) from None
        return before[0] not in (0, at)


class Downloader:
    """Fills a part with a remote file: asks, reads, goes on where a connection broke, and verifies.

    What a `Requester` gets is read here, or handed over to a pool of connections where more of them help; whatever the
    part held before, it is complete and verified in the end, or an error says why not.

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
        self._connections = connections
        self._spare = spare
        self._bar = bar
        self._accept = accept
        self._own_client = client is None
        self._client = client or HTTPClient(connections or FURTHEST)
        self._requester = Requester(source, part, self._client, Backoff(), page_expected=page_expected)
        self._verification = Verification(source, part, checksum, self._client)
        self._wrong_parts = 0
        self._at = 0

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
                    self._requester.ranges &= not isinstance(error, NoRangesError)
                    self._requester.backoff.start_over()
                    self._verification.stop()
                    self._part.reset()
        finally:
            self._verification.stop()
            if self._own_client:
                self._client.close()
        raise TransferError(
            f"{self._source.shown} changes while it is being fetched",
            why=f"it was a different file at each of {_STARTS} tries",
            hint="wait until its owner has finished writing it, then run it again",
        )

    def _attempt(self) -> DownloadResult:
        if self._part.resumable and not self._may_resume(self._part.validator):
            self._part.reset()  # nothing tells whether these bytes still belong to the file
        self._verification.reset()
        response = self._receive(self._requester.first_response())
        response.close()
        return self._verified(response)

    def _take_small_file(self, response: Response) -> bool:
        """Take a small file whose first answer holds all of it in one piece, without notes; False leaves it all there.

        Raises:
            ColabKitError: It is no answer that the file could come from.
        """
        data = _small_file(response) if self._part.is_fresh else b""
        if not data or (not self._requester.page_expected and is_page(response)):
            return False
        name = self._name(response)
        if self._accept is not None:
            self._accept(self._source.name if self._requester.remote.packed else name)
        self._part.write(0, data)
        self._part.size, self._part.name = len(data), name
        self._verification.begin(response, self._requester.remote)
        return True

    def _receive(self, response: Response) -> Response:
        """Read an answer to its end, and ask for the rest as often as the connection breaks; return the last one.

        Each is closed before the next is asked for, and the last one where it is refused.
        """
        broken = _BrokenAnswers(self._part, self._source.shown)
        while True:
            self._at = 0
            try:
                if not self._take_small_file(response):
                    self._begin(response)
                    self._read(response)
            except TransientError as error:
                response.close()
                self._verification.stop()
                if isinstance(error, WrongPartError):
                    self._wrong_parts += 1
                    if self._wrong_parts > 1:
                        raise NoRangesError from None
                if error.line or (not response.partial and self._at and broken.add(self._at, error.why)):
                    self._keep_what_came(response)
                self._requester.renew_if_further(self._part.size or response.total)
                self._requester.wait_or_raise(error)
                response = self._requester.first_response()
            except BaseException:
                response.close()
                raise
            else:
                return response

    def _keep_what_came(self, response: Response) -> None:
        """Go on with a small file, too, whose beginning came over a line that breaks."""
        if self._at and not self._part.resumable and self._can_go_on(response):
            self._part.begin(response.total or 0, response.validator, self._name(response))

    def _can_go_on(self, response: Response) -> bool:
        """Say whether the rest of a whole answer could be asked for as a part of the same version."""
        has_parts = response.splits and not response.partial and response.total
        return bool(has_parts and self._may_resume(response.validator))

    def _may_resume(self, version: Validator) -> bool:
        """Say whether it would show if parts that come later belonged to another version of the file."""
        return self._requester.ranges and bool(version.trusted or self._verification.checksum)

    def _begin(self, response: Response) -> None:
        """Make ready for the bytes of an answer.

        Raises:
            ChangedError: They do not belong to what is there.
            TransientError: It breaks at once.
            ColabKitError: It is no answer that the file could come from.
        """
        part, remote = self._part, self._requester.remote
        names, hashed = (remote.name, self._source.name, response.name), self._verification.checksum or remote.checksum
        self._verification.stored_gzipped |= settle_coding(response, names, hashed=bool(hashed))
        if response.start == 0 and not self._requester.page_expected and is_page(response):
            part.resumable &= not response.partial  # a page is no beginning of the file
            raise page_instead(response)
        total = response.total or 0
        large = total > SMALLEST  # a small one is not worth its notes
        if response.partial:
            if not part.resumable:
                _need_room(part, total, self._source.shown)
                trusted = self._may_resume(response.validator)
                if response.start or response.total is None or not (trusted or response.stop == total):
                    raise NoRangesError
                part.begin(total, response.validator, self._name(response))
            missing = part.missing()
            if part.size:
                check_part(response, part, missing[0][0] if missing else part.size - 1)
                self._requester.ranges_work = True
        else:
            if part.validator.trusted and response.validator == part.validator and total not in (0, part.size):
                raise NoRangesError  # the same version in another size: a part that is called the whole
            self._verification.stop()
            part.reset()
        if self._accept is not None:
            self._accept(self._source.name if remote.packed else part.name or self._name(response))
        _need_room(part, (part.size or response.total or 0) - part.count, self._source.shown)
        if large and self._can_go_on(response):
            part.begin(total, response.validator, self._name(response))
        self._verification.begin(response, remote)
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
                self._read_ranges(response)
                return
        response.hurry(_HURRY)
        stalls, look_at = StallDetector(), begun + _WATCH
        single = not part.resumable or response.partial or 1 in (self._connections, self._requester.remote.connections)
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
                self._read_ranges(response, rate=done / seconds)
                return
        if not part.resumable:
            part.size = self._at
            part.name = self._name(response)

    def _read_ranges(self, response: Response, *, rate: float = 0.0) -> None:
        pool = RangeDownloader(
            self._client,
            CurrentAddress(self._source, self._requester.target),
            self._part,
            response,
            rate=rate,
            connections=self._connections or self._requester.remote.connections,
            spare=self._spare,
            backoff=self._requester.backoff,
        )
        pool.run(self._watch)

    def _name(self, response: Response) -> str:
        return self._requester.remote.name or headers.better_name(response.name, self._source.name)

    def _watch(self, done: int | None = None, total: int | None = None) -> None:
        self._verification.nudge()
        self._part.save_if_due()
        self._bar.update(self._part.count if done is None else done, self._part.size if total is None else total)

    def _verified(self, response: Response) -> DownloadResult:
        size = self._part.size or 0
        self._part.finish(size)
        self._bar.update(size, size)
        proof, remote = self._verification, self._requester.remote
        return DownloadResult(
            checksum=proof.verify(response, size),
            name=self._part.name or self._name(response),
            size=size,
            packed=remote.packed,
            gzipped=remote.gzipped or proof.stored_gzipped,
            kept=response.kept,
            wanted=proof.checksum or (remote.checksum if proof.stored_gzipped else None),
        )


def _small_file(response: Response) -> bytes:
    """Return the whole of a small file without taking it; b"" where the answer is another, or does not come at once."""
    size = response.total
    if response.partial or response.codings or not size or size > SMALLEST:
        return b""
    response.hurry(_HURRY)
    data = response.gather(size, _SOON)
    return data if len(data) == size else b""


def _need_room(part: PartialFile, size: int, shown: str) -> None:
    """Refuse what does not fit the disk before it is downloaded.

    Raises:
        DiskFullError: It does not.
    """
    if size <= SMALLEST:
        return  # the disk itself tells
    folder = part.path.parent
    free = shutil.disk_usage(folder).free
    if size + _MARGIN > free:
        raise DiskFullError(
            f"no room for {shown} in {folder}",
            why=f"{amount(size)} are needed and {amount(free)} are free",
            hint="free some space there, or choose another folder with to=",
        )
