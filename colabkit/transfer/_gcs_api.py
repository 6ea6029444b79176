"""The JSON API of Google Cloud Storage: objects, listings, conditions, and every refusal in words."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import json
import os
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.errors import AccessError, AddressError, IntegrityError, NotFoundError, TransferError
from colabkit.transfer import _headers, _html
from colabkit.transfer._checksum import of_bytes, promised
from colabkit.transfer._gcs_auth import EMULATOR, PAYING_PROJECT, SIGN_IN, Caller
from colabkit.transfer._google_auth import CREDENTIALS
from colabkit.transfer._service import PATIENT, Service
from colabkit.transfer.base import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

SERVICE = "https://storage.googleapis.com"
_NO_RANGE = 416
_MOST_REFUSALS = 3
"""An anonymous try, one with an old token, one with a new one, and one that names who pays."""
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_FIELDS = "name,bucket,generation,size,crc32c,md5Hash,contentEncoding,contentType,updated"
_PAGE = 1000
_SETTINGS = (CREDENTIALS, PAYING_PROJECT, "CLOUDSDK_CONFIG", "HOME")
_MOST_WORDS = 65536
NO_BUCKET = "there is no bucket"


class ConditionError(Exception):
    """A 412: the object is not the generation that the request was for.

    Attributes:
        perhaps_ours: An earlier try of the same request may have arrived, and only its answer was lost.
    """

    perhaps_ours = False


@dataclass(frozen=True, kw_only=True)
class GcsObject:
    """One generation of an object.

    Attributes:
        bucket: Its bucket.
        name: Its name there.
        size: Bytes, as they are stored.
        generation: The number of this version; it changes with every write.
        crc32c: The checksum of the stored bytes, in hexadecimal digits.
        md5: The same as an MD5; "" for objects that were composed.
        encoding: "gzip" when the stored bytes are compressed, and meant to be uncompressed on arrival.
        updated: When it was written, in seconds since 1970.
    """

    bucket: str
    name: str
    size: int
    generation: str
    crc32c: str
    md5: str
    encoding: str
    updated: float

    @property
    def shown(self) -> str:
        """The address for messages."""
        return f"gs://{self.bucket}/{self.name}"


class Api(Service):
    """Sends the requests that are not media, each again when it failed in passing.

    Args:
        caller: Who asks.
        endpoint: The service, or an emulator.
        tries: Failures in a row that are forgiven.
    """

    def __init__(self, caller: Caller, endpoint: str = SERVICE, *, tries: int = PATIENT) -> None:
        super().__init__(endpoint, tries=tries)
        self.caller = caller
        self._paying: set[str] = set()

    def object(self, bucket: str, name: str, generation: str = "") -> GcsObject:
        """Ask what an object is now.

        Raises:
            NotFoundError: There is no such object or bucket.
            AccessError: It may not be read.
        """
        query = {"fields": _FIELDS, **({"generation": generation} if generation else {})}
        answer = self.call("GET", f"/storage/v1/{_place(bucket, name)}", bucket, name, query=query)
        return read_object(_json(answer), bucket)

    def find(self, bucket: str, name: str) -> GcsObject | None:
        """Ask what an object is now; None when there is none."""
        try:
            return self.object(bucket, name)
        except NotFoundError as error:
            if error.what.startswith(NO_BUCKET):
                raise
            return None

    def objects(self, bucket: str, prefix: str = "", *, most: int | None = None) -> Iterator[GcsObject]:
        """List the objects whose names begin with a text, in the order of their names."""
        query = {"prefix": prefix, "fields": f"nextPageToken,items({_FIELDS})", "maxResults": str(most or _PAGE)}
        while True:
            answer = self.call("GET", f"/storage/v1/b/{_quoted(bucket)}/o", bucket, prefix, query=query)
            page = _json(answer)
            for item in page.get("items") or []:
                yield read_object(item, bucket)
            token = page.get("nextPageToken")
            if not token or most is not None:
                return
            query["pageToken"] = str(token)

    def delete(self, bucket: str, name: str, *, generation: str = "") -> None:
        """Delete an object, or just one generation of it; one that is gone counts as deleted.

        Raises:
            ConditionError: Another generation is there.
        """
        query = {"ifGenerationMatch": generation} if generation else {}
        try:
            self.call("DELETE", f"/storage/v1/{_place(bucket, name)}", bucket, name, query=query)
        except NotFoundError as error:
            if error.what.startswith(NO_BUCKET):
                raise

    def read(self, bucket: str, name: str, size: int | None = None) -> bytes:
        """Return a small object in one request, or its first bytes; the whole is checked by its checksum.

        Raises:
            NotFoundError: There is no such object or bucket.
            IntegrityError: What came is not what is stored.
        """
        headers = {"Accept-Encoding": "identity", **({} if size is None else {"Range": f"bytes=0-{max(0, size - 1)}"})}
        path = f"/download/storage/v1/{_place(bucket, name)}"
        # A range of an empty object cannot be had.
        answer = self.call("GET", path, bucket, name, query={"alt": "media"}, headers=headers, also=_NO_RANGE)
        if answer.status_code == _NO_RANGE or size == 0:
            return b""
        content: bytes = answer.content
        wanted = promised(answer.headers, whole=size is None)
        if size is None and wanted is not None and (found := of_bytes(content, wanted.algorithm)) != wanted:
            raise IntegrityError(
                f"gs://{bucket}/{name} did not arrive as it is stored",
                why=f"the service said {wanted}, the {len(content):,} bytes that came have {found}",
                do="run the same again",
            )
        return content

    def media(self, found: GcsObject) -> tuple[str, dict[str, str]]:
        """Return the address of exactly these bytes, and the headers to ask for them."""
        query = {"alt": "media", "generation": found.generation, **self.payer(found.bucket)}
        path = f"{self.endpoint}/download/storage/v1/{_place(found.bucket, found.name)}"
        return f"{path}?{urllib.parse.urlencode(query)}", self.caller.headers()

    def payer(self, bucket: str) -> dict[str, str]:
        """Return the part of a query that names who pays, for buckets that have asked for it."""
        return {"userProject": self.caller.paying_project} if bucket in self._paying else {}

    def call(
        self,
        method: str,
        path: str,
        bucket: str,
        name: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        also: int = 0,
    ) -> requests.Response:
        """Send one request, again while it fails in passing, and return the answer of a success.

        Raises:
            ConditionError: A condition in the query does not hold.
            TransferError: Or one of its kinds: it is refused, or was tried often enough.
        """
        backoff, refusals = self.tries(), 0
        while True:
            url = f"{self.endpoint}{path}?{urllib.parse.urlencode({**(query or {}), **self.payer(bucket)})}"
            shown = f"gs://{bucket}/{name}"
            try:
                answer = self.send(method, url, {**self.caller.headers(), **(headers or {})}, data, shown)
                if answer.status_code < 300 or answer.status_code == also:
                    return answer
                if refusals < _MOST_REFUSALS and self._may_be_asked_again(answer, bucket):
                    refusals += 1
                    continue
                raise self.refusal(answer, bucket, name)
            except TransientError as error:
                self.wait(backoff, error, shown)
            except ConditionError as error:
                error.perhaps_ours = backoff.failures > 0
                raise

    def refusal(self, answer: requests.Response, bucket: str, name: str) -> Exception:
        """Turn an answer that is no success into an error."""
        status, said = answer.status_code, _words(answer)
        shown = f"gs://{bucket}/{name}" if name else f"gs://{bucket}"
        why = f"the service answered {status}" + (f": {said}" if said else "")
        if status in TRANSIENT:
            return TransientError(why, retry_after=_headers.retry_after(answer.headers), crowded=status in (429, 503))
        if status == 412:
            return ConditionError(why)
        if "requester pays" in said.lower():
            do = f"set {PAYING_PROJECT} to the id of your project, which then pays for the traffic, and run it again"
            return AccessError(f"the bucket {bucket} makes its readers pay, and no project is named", why=why, do=do)
        if status == 401 and not self.caller.anonymous:
            return AccessError(f"the sign-in of {self.caller.name} is not accepted", why=why, do=SIGN_IN)
        if status == 401 or (status == 403 and self.caller.anonymous):
            what = f"{shown} is not public, and nobody is signed in"
            return AccessError(
                what, why=f"{self.caller.why_anonymous or 'no credentials are accepted'}; {why}", do=SIGN_IN
            )
        if status == 403:
            return AccessError(f"{self.caller.name} may not do this with {shown}", why=why, do=_remedy(said))
        if status == 404 and (not name or "specified bucket" in said):
            return NotFoundError(f"{NO_BUCKET} {bucket}", why=why, do="check its name: gs://BUCKET/OBJECT")
        if status == 404:
            return NotFoundError(f"there is no object {shown}", why=why, do="check its name; a folder ends with /")
        if status == 400:
            return AddressError(
                f"the service cannot do this with {shown}", why=why, do="check the names in the address"
            )
        return TransferError(f"the service refuses {shown}", why=why, do="run the same again later")

    def _may_be_asked_again(self, answer: requests.Response, bucket: str) -> bool:
        status = answer.status_code
        if status == 400 and bucket not in self._paying and "requester pays" in _words(answer).lower():
            if not self.caller.paying_project and not (self.caller.anonymous and self.caller.refused()):
                return False
            self._paying.add(bucket)
            return bool(self.caller.paying_project)
        return status == 401 and self.caller.refused()


def connect(project: str = "", *, tries: int = PATIENT, env: Mapping[str, str] = os.environ) -> Api:
    """Return the API that this environment asks for; calls with the same settings share it.

    Args:
        project: The project that pays where a bucket demands it, or "" for the environment's.
        tries: Failures in a row that are forgiven.
        env: The environment.
    """
    return _connect(env.get(EMULATOR, ""), project, tries, *(env.get(name, "") for name in _SETTINGS))


@functools.lru_cache(maxsize=4)
def _connect(emulator: str, project: str, tries: int, *_settings: str) -> Api:
    endpoint = emulator.rstrip("/") if "://" in emulator or not emulator else f"http://{emulator}"
    return Api(Caller(project=project), endpoint or SERVICE, tries=tries)


def read_object(value: Any, bucket: str) -> GcsObject:
    """Read an object's resource as the API describes it.

    Raises:
        TransferError: It is none.
    """
    try:
        found = _mapping(value)
        generation = str(found["generation"])
        size = int(found["size"])
        if not generation.isascii() or not generation.isdecimal() or not 0 <= size < 1 << 60:
            raise ValueError(generation)
        return GcsObject(
            bucket=bucket,
            name=str(found["name"]),
            size=size,
            generation=generation,
            crc32c=_digits(found.get("crc32c", ""), 4),
            md5=_digits(found.get("md5Hash", ""), 16),
            encoding=str(found.get("contentEncoding", "")).lower(),
            updated=_seconds(found.get("updated", "")),
        )
    except (KeyError, TypeError, ValueError):
        raise TransferError(
            f"the service describes an object of gs://{bucket} in a way that cannot be read",
            why="its name, size or generation is missing or malformed",
            do="check that the address of the service is right",
        ) from None


def _digits(text: Any, size: int) -> str:
    try:
        raw = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return raw.hex() if len(raw) == size else ""


def _seconds(text: Any) -> float:
    try:
        return dt.datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        return _mapping(json.loads(answer.content))
    except (ValueError, TypeError, RecursionError):
        raise TransferError(
            "the answer of the service cannot be read",
            why="it is no JSON",
            do="check the proxy and the address of the service",
        ) from None


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _words(answer: requests.Response) -> str:
    """Return what a refusal says, on one line."""
    text = answer.text[:_MOST_WORDS]
    try:
        error = json.loads(text)["error"]
        return " ".join(str(error["message"]).split())[:300]
    except (ValueError, KeyError, TypeError, RecursionError):
        return _html.words(text.encode())


def _remedy(said: str) -> str:
    lower = said.lower()
    if "billing" in lower or "accountdisabled" in lower.replace(" ", ""):
        return "the project that owns the bucket has no billing account: its owner must attach one in the Cloud console"
    if "userproject" in lower.replace(" ", "") or "serviceusage" in lower:
        return f"set {PAYING_PROJECT} to a project of your own, in which you may use services"
    return "ask the bucket's owner for the role Storage Object Viewer to read, or Storage Object User to write"


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _place(bucket: str, name: str) -> str:
    return f"b/{_quoted(bucket)}/o/{_quoted(name)}"
