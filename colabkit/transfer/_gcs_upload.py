"""Uploads to Google Cloud Storage: none replaces what it did not see, and its checksum is compared."""

from __future__ import annotations

import base64
import json
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.errors import AddressError, IntegrityError, TransferError
from colabkit.transfer._gcs_api import ConditionError, GcsObject, read_object
from colabkit.transfer._upload import ONE_REQUEST, Upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from colabkit.transfer._content import Content, FileContent
    from colabkit.transfer._gcs_api import Api
    from colabkit.transfer._many import Watch
    from colabkit.transfer._upload_note import Note

__all__ = ["ONE_REQUEST", "GcsUpload", "Place"]


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


class GcsUpload(Upload[GcsObject]):
    """One object on its way to a bucket.

    Args:
        api: Sends the requests.
        place: Where it goes.
        content: What it is.
        watch: Called with (bytes sent, bytes in all or None).
        note: Keeps the session for another process; None keeps it nowhere.
    """

    def __init__(self, api: Api, place: Place, content: Content, *, watch: Watch, note: Note | None = None) -> None:
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

    def _create(self, way: str, headers: Mapping[str, str], data: bytes) -> requests.Response:
        place = self._place
        condition = {"ifGenerationMatch": place.generation} if place.generation else {}
        path = f"/upload/storage/v1/b/{urllib.parse.quote(place.bucket, safe='')}/o"
        query = {"uploadType": way, **condition}
        return self._api.call("POST", path, place.bucket, place.name, query=query, headers=headers, data=data)

    def _at_once(self, content: FileContent) -> GcsObject:
        try:
            return super()._at_once(content)
        except ConditionError as error:
            found = self._api.find(self._place.bucket, self._place.name) if error.perhaps_ours else None
            if found is None or (found.size, found.crc32c) != (content.size, content.digits()):
                raise
            return found
        except AddressError as error:
            raise self._corrupted(error) from None

    def _resource(self) -> dict[str, Any]:
        return {"name": self._place.name, **({"contentType": self._kind} if self._kind else {})}

    def _proof(self, content: FileContent) -> dict[str, Any]:
        return {"crc32c": _base64(content.digits())}

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
            do="make sure that nothing writes to the file, then run the same again",
        )


def _base64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()
