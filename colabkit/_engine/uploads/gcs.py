"""Uploads to Google Cloud Storage: none replaces what it did not see, and its checksum is compared."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._clients.gcs import ConditionError, GcsObject, read_object
from colabkit._engine.uploads.body import open_file, open_stream
from colabkit._engine.uploads.journal import UploadJournal, file_fingerprint
from colabkit._engine.uploads.resumable import ONE_REQUEST, ResumableUpload
from colabkit.errors import AddressError, IntegrityError, TransferError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import requests

    from colabkit._clients.gcs import Api
    from colabkit._engine.parallel import Watch
    from colabkit._engine.uploads.body import FileContent, UploadBody

__all__ = ["ABSENT", "ONE_REQUEST", "GcsUpload", "Place", "new_journal", "upload_bytes", "upload_file"]

ABSENT = "0"
"""The generation of an object that is not there."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an upload goes, and what must be there before.

    Attributes:
        bucket: The bucket.
        name: The object.
        generation: The generation that may be replaced; "0" means that nothing may be there, "" that anything may.
        content_type: The label that it gets.
    """

    bucket: str
    name: str
    generation: str
    content_type: str = ""

    @property
    def shown(self) -> str:
        """The address for messages."""
        return f"gs://{self.bucket}/{self.name}"


class GcsUpload(ResumableUpload[GcsObject]):
    """One object on its way to a bucket.

    Args:
        api: Sends the requests.
        place: Where it goes.
        content: What it is.
        watch: Called with (bytes sent, bytes in all or None).
        note: Keeps the session for another process; None keeps it nowhere.
    """

    def __init__(
        self, api: Api, place: Place, content: UploadBody, *, watch: Watch, note: UploadJournal | None = None
    ) -> None:
        super().__init__(api, content, shown=place.shown, kind=place.content_type, watch=watch, note=note)
        self._api = api
        self._place = place

    def run(self) -> GcsObject:
        """Send it, and return the object that was made and checked.

        Raises:
            ConditionError: Something else is there.
            TransferError: Or one of its kinds.
        """
        try:
            return super().run()
        except ConditionError:
            self._forget()
            raise

    def _begin(self) -> str:
        place = self._place
        session = self._api.session(
            place.bucket, place.name, size=self._content.size, kind=self._kind, generation=place.generation
        )
        return self._checked(session)

    def _at_once(self, content: FileContent) -> GcsObject:
        place, data = self._place, content.whole()
        self._watch(0, len(data))
        try:
            made = self._api.upload(place.bucket, place.name, data, kind=self._kind, generation=place.generation)
        except ConditionError as error:
            stored = self._api.find(place.bucket, place.name) if error.perhaps_ours else None
            if stored is None or (stored.size, stored.crc32c) != (content.size, content.digits()):
                raise
            made = stored
        except AddressError as error:
            raise self._corrupted(error) from None
        self._watch(len(data), len(data))
        return made

    def _last_headers(self) -> dict[str, str]:
        return {"x-goog-hash": f"crc32c={_base64(self._content.digits())}"}

    def _refusal(self, answer: requests.Response) -> Exception:
        error = self._api.refusal(answer, self._place.bucket, self._place.name)
        return self._corrupted(error) if isinstance(error, AddressError) else error

    def _made(self, answer: requests.Response) -> GcsObject:
        try:
            value: Any = json.loads(answer.content)
        except (ValueError, RecursionError):
            value = None
        return read_object(value, self._place.bucket)

    def _verify(self, made: GcsObject) -> None:
        crc32c = self._content.digits()
        size = self._content.size
        if made.crc32c == crc32c and size in (None, made.size):
            return
        self._api.delete(made.bucket, made.name, generation=made.generation)
        raise self._wrong(f"{crc32c} was sent and {made.crc32c} arrived; what arrived was removed")

    def _corrupted(self, error: AddressError) -> TransferError | AddressError:
        """Tell a checksum that does not fit from the other things that a 400 can mean."""
        if "crc32c" in error.why.lower() or "hash" in error.why.lower():
            self._forget()
            return self._wrong(error.why)
        return error

    def _wrong(self, why: str) -> IntegrityError:
        return IntegrityError(
            f"{self._place.shown} did not arrive as it was sent",
            why=f"the checksums differ: {why}",
            hint="make sure that nothing writes to the file, then run it again",
        )


def _base64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()


def upload_file(api: Api, place: Place, path: Path, watch: Watch) -> GcsObject:
    """Send one file to a place; a large one can be gone on with by another process.

    Raises:
        ConditionError: The place holds another generation than it may.
        TransferError: Or one of its kinds.
    """
    content = open_file(path, "crc32c")
    note = None
    try:
        if content.size > ONE_REQUEST:
            note = new_journal(api, place, str(path.absolute()), file_fingerprint(path))
        return GcsUpload(api, place, content, watch=watch, note=note).run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what arrived is kept; run it again to resume" if note else "") from None
    finally:
        content.close()


def upload_bytes(api: Api, place: Place, content: bytes, watch: Watch) -> GcsObject:
    """Send bytes to a place.

    Raises:
        ConditionError: The place holds another generation than it may.
        TransferError: Or one of its kinds.
    """
    return GcsUpload(api, place, open_stream(content, "crc32c"), watch=watch).run()


def new_journal(api: Api, place: Place, name: str, marks: Mapping[str, int | str]) -> UploadJournal:
    """Return where the session of an upload is kept for another process."""
    target = f"{api.endpoint}/{place.bucket}/{place.name}"
    return UploadJournal(name, {**marks, "generation": place.generation}, target)
