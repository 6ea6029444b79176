"""The engine: one file from one source, resumable, verified, over as many connections as help."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._tools.progress import amount
from colabkit._tools.retry import Backoff
from colabkit.errors import DiskFullError, IntegrityError, OfflineError, TransferError, WebPageError
from colabkit.transfer import _html
from colabkit.transfer._checksum import Checksum, PrefixHash, of_file
from colabkit.transfer._crew import FURTHEST, REAL_PROGRESS, SMALLEST, Crew, Pace, check_part
from colabkit.transfer._http import Client
from colabkit.transfer._network import too_busy
from colabkit.transfer.base import ChangedError, ExpiredError, TransientError

if TYPE_CHECKING:
    from colabkit._tools.progress import Progress
    from colabkit.transfer._crew import Spare
    from colabkit.transfer._http import Answer
    from colabkit.transfer._part import Part
    from colabkit.transfer.base import Remote, Source, Target

_STARTS = 4
_RANGED_STARTS = 2
_MARGIN = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Received:
    """What lies complete and verified in the part.

    Attributes:
        name: The file name that the server or the address gives, or "".
        size: Bytes.
        checksum: The hash that was verified, if one was promised.
        packed: It is a zip that holds the one file.
        gzipped: It is compressed, as it is stored.
    """

    name: str
    size: int
    checksum: Checksum | None
    packed: bool = False
    gzipped: bool = False


class Download:
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
    """

    def __init__(
        self,
        source: Source,
        part: Part,
        *,
        checksum: Checksum | None,
        connections: int | None,
        spare: Spare | None = None,
        bar: Progress,
        client: Client | None = None,
        page_expected: bool = False,
    ) -> None:
        self._source = source
        self._part = part
        self._wanted = checksum
        self._connections = connections
        self._spare = spare
        self._bar = bar
        self._page_expected = page_expected
        self._backoff = Backoff()
        self._furthest = 0
        self._ranges = True
        self._hash: PrefixHash | None = None
        self._expected = checksum
        self._own_client = client is None
        self._client = client or Client(connections or FURTHEST)
        self._target: Target
        self._pause = threading.Event()  # never set: it is a sleep that Ctrl-C interrupts on every platform
        self._remote: Remote

    def run(self) -> Received:
        """Fetch and verify; afterwards the part is complete and on disk.

        Raises:
            TransferError: Or one of its kinds; what can be resumed stays in the part.
        """
        try:
            for start in range(_STARTS):
                self._ranges = self._ranges and start < _RANGED_STARTS
                try:
                    return self._attempt()
                except ChangedError:
                    self._stop_hash()
                    self._part.reset()
        finally:
            self._stop_hash()
            if self._own_client:
                self._client.close()
        raise TransferError(
            f"{self._source.shown} changes while it is fetched",
            why=f"it was another file at each of {_STARTS} tries",
            do="wait until its owner has finished writing it, then run the same again",
        )

    def _attempt(self) -> Received:
        if self._part.resumable and not (self._ranges and (self._part.validator.trusted or self._wanted)):
            self._part.reset()  # nothing tells whether these bytes still belong to the file
        self._expected = self._wanted
        answer = self._first_answer()
        try:
            if answer.partial:
                self._take_parts(answer)
            else:
                self._take_stream(answer)
        finally:
            answer.close()
        return self._verified(answer)

    def _first_answer(self) -> Answer:
        remote = self._remote = self._source.remote()
        if self._part.resumable and remote.target.version not in ("", self._part.validator.version):
            self._part.reset()
        self._ranges = self._ranges and remote.target.body is None
        first = last = None
        if self._ranges:
            first, last = 0, SMALLEST - 1
        if self._part.resumable:
            size = self._part.size or 0
            start, stop = next(iter(self._part.missing()), (max(0, size - 1), size))
            first, last = start, min(stop, start + SMALLEST) - 1
        while True:
            try:
                answer, self._target = self._client.get(
                    remote.target, first=first, last=last, if_range=self._part.validator.if_range
                )
            except TransientError as error:
                self._wait_or_raise(error)
            except ExpiredError as error:
                raise error.error from None
            else:
                return answer

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
                raise OfflineError(what, why=error.why, do="check the network and the address, then run the same again")
            raise too_busy(f"{what}: tried {self._backoff.failures + 1} times", error)
        self._pause.wait(wait)

    def _take_parts(self, answer: Answer) -> None:
        part = self._part
        if part.resumable:
            missing = part.missing()
            start = missing[0][0] if missing else max(0, (part.size or 0) - 1)
            check_part(answer, part, start)
        else:
            self._begin_parts(answer)
            if answer.total == 0:
                return
        if answer.start == 0:
            self._refuse_page(answer)
        self._need_room((part.size or 0) - part.count)
        self._start_hash(self._to_check(answer))
        missing = part.missing()
        if not missing:
            return
        if missing == [(answer.start, answer.stop)]:
            self._take_the_rest(answer)
            return
        crew = Crew(
            self._client,
            self._source,
            part,
            self._target,
            connections=self._connections or self._remote.connections,
            spare=self._spare,
            backoff=self._backoff,
        )
        crew.run(answer, self._watch)

    def _take_the_rest(self, answer: Answer) -> None:
        """Take what one answer holds when nothing else is missing: a small file needs no more threads."""
        at = answer.start
        try:
            pace = Pace()
            while data := answer.read():
                self._part.write(at, data)
                at += len(data)
                pace.add(len(data))
                self._watch()
        except TransientError as error:
            answer.close()
            self._stop_hash()
            if at - answer.start >= REAL_PROGRESS:
                self._backoff.renew()
            self._wait_or_raise(error)
            fresh = self._first_answer()
            try:
                if not fresh.partial:
                    raise ChangedError from None
                self._take_parts(fresh)
            finally:
                fresh.close()

    def _begin_parts(self, answer: Answer) -> None:
        """Decide whether a first part can be the beginning of a file in parts; if not, the whole is asked for."""
        trusted = answer.validator.trusted or self._wanted
        whole = answer.stop == answer.total
        if answer.total is None or answer.start != 0 or answer.encoding or not (trusted or whole):
            self._ranges = False
            raise ChangedError
        self._part.begin(answer.total, answer.validator, answer.name)

    def _take_stream(self, answer: Answer) -> None:
        """Take a whole file from a server that gives no parts; a failure means the beginning again."""
        ended: tuple[int, str] | None = None
        while True:
            self._stop_hash()
            self._part.reset()
            offset = 0
            try:
                self._refuse_page(answer)
                self._need_room(answer.stop or 0)
                self._start_hash(self._to_check(answer))
                pace = Pace()
                while data := answer.read():
                    self._part.write(offset, data)
                    offset += len(data)
                    pace.add(len(data))
                    self._watch(offset, answer.stop)
            except TransientError as error:
                answer.close()
                if offset and ended == (offset, error.why):
                    # Not the network, which breaks anywhere: a third whole download would end alike.
                    raise TransferError(
                        f"cannot fetch {self._source.shown}: both of 2 tries ended at the same byte",
                        why=error.why,
                        do="its server tells a wrong length or cuts the file; use another address of it",
                    ) from None
                ended = (offset, error.why)
                if offset - self._furthest >= REAL_PROGRESS:
                    self._furthest = offset
                    self._backoff.renew()
                self._wait_or_raise(error)
                fresh = self._first_answer()
                if fresh.partial:
                    fresh.close()
                    raise ChangedError from None
                answer = fresh
            else:
                self._part.size = offset
                self._part.name = answer.name
                answer.close()
                return

    def _refuse_page(self, answer: Answer) -> None:
        if self._page_expected or self._remote.page_expected:
            return
        head = answer.peek()
        if _html.is_page(head, answer.content_type):
            said = _html.words(head)
            self._part.resumable = False  # a page is no beginning of the file
            raise WebPageError(
                f"a web page came instead of a file from {answer.shown}",
                why=f"the page says: {said}" if said else "the page has no text",
                do="open the address in a browser; if the page itself is wanted, pass to='NAME.html'",
            )

    def _need_room(self, size: int) -> None:
        folder = self._part.path.parent
        free = shutil.disk_usage(folder).free
        if size + _MARGIN > free:
            raise DiskFullError(
                f"no room for {self._source.shown} in {folder}",
                why=f"{amount(size)} are needed and {amount(free)} are free",
                do="free some space there, or choose another folder with to=",
            )

    def _to_check(self, answer: Answer) -> Checksum | None:
        remote = self._remote
        # What the user wants is the file; what comes packed is another one until it is taken out.
        wanted = None if remote.packed or remote.gzipped else self._wanted
        return wanted or remote.checksum or answer.checksum

    def _start_hash(self, checksum: Checksum | None) -> None:
        self._expected = checksum
        if checksum is not None and (self._part.size is None or self._part.size > SMALLEST):
            self._hash = PrefixHash(checksum.algorithm, self._part.reader(), lambda: self._part.prefix)

    def _stop_hash(self) -> None:
        if self._hash is not None:
            self._hash.stop()
            self._hash = None

    def _watch(self, done: int | None = None, total: int | None = None) -> None:
        if self._hash is not None:
            self._hash.nudge()
        self._part.save_if_due()
        self._bar.update(self._part.count if done is None else done, self._part.size if total is None else total)

    def _verified(self, answer: Answer) -> Received:
        size = self._part.size or 0
        self._part.finish(size)
        self._bar.update(size, size)
        found = None
        if self._hash is not None:
            found, self._hash = self._hash.result(size), None
        elif self._expected is not None:  # a small file is hashed when it is there
            found = of_file(self._part.path, self._expected.algorithm)
        if found != self._expected:
            self._part.resumable = False  # wrong bytes are no beginning of the right ones
            promise = "you" if self._expected == self._wanted else "the server"
            raise IntegrityError(
                f"the file from {self._source.shown} is not the one that was promised",
                why=f"{promise} said {self._expected}, the {size:,} bytes that arrived have {found}",
                do="run the same again; if it fails alike, the file or the checksum has changed at the source",
            )
        remote = self._remote
        return Received(
            name=remote.name or self._part.name or answer.name,
            size=size,
            checksum=found,
            packed=remote.packed,
            gzipped=remote.gzipped,
        )
