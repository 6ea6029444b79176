"""The hash that a downloaded file must have, and the proof that it has it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from colabkit._engine.range_queue import SMALLEST
from colabkit._http.types import ExpiredError, TransientError
from colabkit._internal.disk.checksum import Checksum, IncrementalHasher, of_file
from colabkit.errors import ColabKitError, IntegrityError

if TYPE_CHECKING:
    from colabkit._engine.partial_file import PartialFile
    from colabkit._engine.source import Source
    from colabkit._http.client import HTTPClient, Response
    from colabkit._http.types import RemoteFile


class Verification:
    """Hashes a file while it arrives, and refuses it if it is not the one that was promised.

    The first hash that is known counts: the user's, that of the source's own index, the server's.

    Args:
        source: Where the file comes from, for messages.
        part: The growing file.
        checksum: What the user expects.
        client: Asks the server for a hash that it does not send with a part.

    Attributes:
        checksum: What the user expects.
        stored_gzipped: The file came compressed as it is stored; the user's hash may be that of what is in it.
    """

    def __init__(self, source: Source, part: PartialFile, checksum: Checksum | None, client: HTTPClient) -> None:
        self.checksum = checksum
        self.stored_gzipped = False
        self._source = source
        self._part = part
        self._client = client
        self._expected = checksum
        self._hasher: IncrementalHasher | None = None
        self._headers_asked = False

    def reset(self) -> None:
        """Know nothing of the file but what the user expects."""
        self.stop()
        self._expected = self.checksum
        self.stored_gzipped = False

    def begin(self, response: Response, remote: RemoteFile) -> None:
        """Begin to hash the bytes that are there and those that come."""
        size = self._part.size or response.total
        self._expected = expected = self._promised(response, remote)
        if expected is not None and (size is None or size > SMALLEST):  # a small one is hashed when it is there
            self._hasher = IncrementalHasher(expected.algorithm, self._part.reader(), lambda: self._part.prefix)

    def nudge(self) -> None:
        """Tell that more bytes have arrived."""
        if self._hasher is not None:
            self._hasher.nudge()

    def stop(self) -> None:
        """End the hashing of bytes that are not gone on with."""
        if self._hasher is not None:
            self._hasher.stop()
            self._hasher = None

    def verify(self, response: Response, size: int) -> Checksum | None:
        """Return the hash of the complete file, if one was promised.

        Raises:
            IntegrityError: It is not the file that was promised.
        """
        actual = None
        if self._hasher is not None:
            actual, self._hasher = self._hasher.result(size), None
        elif self._expected is not None:
            actual = of_file(self._part.path, self._expected.algorithm)
        if response.size is not None and response.size != size and not self.stored_gzipped:
            raise self._refused(
                f"the server said {response.size:,} bytes, and {size:,} arrived", "the file is damaged at the source"
            )
        if actual != self._expected:
            promise = "you" if self._expected == self.checksum else "the server"
            raise self._refused(
                f"{promise} said {self._expected}, the {size:,} bytes that arrived have {actual}",
                "the file or the checksum has changed at the source",
            )
        return actual

    def _refused(self, why: str, likely: str) -> IntegrityError:
        self._part.resumable = False  # wrong bytes are no beginning of the right ones
        return IntegrityError(
            f"the file from {self._source.shown} is not the expected one",
            why=why,
            hint=f"run it again; if it fails again, {likely}",
        )

    def _promised(self, response: Response, remote: RemoteFile) -> Checksum | None:
        # What the user expects is the file; what comes packed is another one until it is taken out.
        if self.stored_gzipped:
            return response.checksum
        own = None if remote.packed or remote.gzipped else self.checksum
        promised = own or remote.checksum or response.checksum
        return self._promised_alone(response, remote) if promised is None and response.partial else promised

    def _promised_alone(self, response: Response, remote: RemoteFile) -> Checksum | None:
        """Ask once for the headers alone: some servers tell the hash of a file, but not with a part of it."""
        if not self._headers_asked:
            self._headers_asked = True
            with contextlib.suppress(TransientError, ExpiredError, ColabKitError):
                validator, checksum = self._client.promise(remote.target)
                if not self._part.validator.contradicts(validator) and not response.codings:
                    return checksum
        return None
