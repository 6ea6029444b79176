"""Google Cloud Storage by its own client: what there is, where its bytes are, and every refusal in words."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import threading
import urllib.parse
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from colabkit import config
from colabkit._clients.gcs.auth import EMULATOR, PAYING_PROJECT, Caller
from colabkit._clients.gcs.refusals import NO_BUCKET, ConditionError, refusal, words
from colabkit._clients.google_auth import CREDENTIALS, SECRET
from colabkit._http.errors import map_transport_errors
from colabkit._http.service import CONNECT, PATIENT, READ, ApiSession
from colabkit._http.types import TransientError
from colabkit._internal.optional import require
from colabkit._patches import global_random
from colabkit.errors import ColabKitError, IntegrityError, NotFoundError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["NO_BUCKET", "Api", "ConditionError", "GcsObject", "connect", "read_object"]

_GOOGLES = SERVICE = "https://storage.googleapis.com"
_NO_RANGE = 416
_EMPTY = "AAAAAA=="
"""The checksum of no bytes."""
_MOST_REFUSALS = 3
"""An anonymous try, one with an old token, one with a new one, and one that names who pays."""
_FIELDS = "name,bucket,generation,size,crc32c,md5Hash,contentEncoding,contentType,updated,mediaLink"
_PAGE = 1000
_SETTINGS = (CREDENTIALS, SECRET, PAYING_PROJECT, "CLOUDSDK_CONFIG", "HOME")
_TIMEOUT = (CONNECT, READ)

Result = TypeVar("Result")


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
        link: The address of exactly these bytes.
    """

    bucket: str
    name: str
    size: int
    generation: str
    crc32c: str
    md5: str
    encoding: str
    updated: float
    link: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The address for messages."""
        return f"gs://{self.bucket}/{self.name}"


class Api(ApiSession):
    """Asks the service by its own client, again where it failed in passing; bytes are moved by the engine.

    The client's own retry is off: it knows neither our budget nor whose credentials to try next.

    Args:
        caller: Who asks.
        endpoint: The service, or an emulator.
        tries: Failures in a row that are forgiven.
    """

    def __init__(self, caller: Caller, endpoint: str = SERVICE, *, tries: int = PATIENT) -> None:
        super().__init__(endpoint, tries=tries)
        self.caller = caller
        self._paying: set[str] = set()
        self._made = threading.local()  # its session is one of requests, which does not promise that threads may share

    def object(self, bucket: str, name: str, generation: str = "") -> GcsObject:
        """Ask what an object is now.

        Raises:
            NotFoundError: There is no such object or bucket.
            AccessError: It may not be read.
        """

        def do(place: Any) -> GcsObject:
            blob = place.blob(name, generation=int(generation) if generation else None)
            blob.reload(retry=None, timeout=_TIMEOUT)
            return read_object(_resource(blob), bucket)

        return self.ask(bucket, name, do)

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

        def page(place: Any, token: str | None) -> tuple[list[GcsObject], str | None]:
            blobs = place.client.list_blobs(
                place,
                prefix=prefix,
                page_token=token,
                max_results=most,
                page_size=most or _PAGE,
                fields=f"nextPageToken,items({_FIELDS})",
                retry=None,
                timeout=_TIMEOUT,
            )
            return [read_object(_resource(blob), bucket) for blob in next(blobs.pages, ())], blobs.next_page_token

        token: str | None = None
        while True:
            items, token = self.ask(bucket, prefix, lambda place, at=token: page(place, at))  # type: ignore[misc]
            yield from items
            if not token or most is not None:
                return

    def delete(self, bucket: str, name: str, *, generation: str = "") -> None:
        """Delete an object, or just one generation of it; one that is gone counts as deleted.

        Raises:
            ConditionError: Another generation is there.
        """
        condition = {"if_generation_match": int(generation)} if generation else {}
        try:
            self.ask(
                bucket,
                name,
                lambda place: place.blob(name).delete(**condition, retry=None, timeout=_TIMEOUT),
                conditional=bool(condition),
            )
        except NotFoundError as error:
            if error.what.startswith(NO_BUCKET):
                raise

    def read(self, bucket: str, name: str, size: int | None = None) -> bytes:
        """Return a small object in one request, or its first bytes; the whole is checked by its checksum.

        Raises:
            NotFoundError: There is no such object or bucket.
            IntegrityError: What came is not what is stored.
        """
        part = {} if size is None else {"start": 0, "end": max(0, size - 1)}

        def do(place: Any) -> bytes:
            try:
                data: bytes = place.blob(name).download_as_bytes(
                    **part, raw_download=True, checksum="crc32c", retry=None, timeout=_TIMEOUT
                )
            except Exception as error:
                if type(error).__name__ == "DataCorruption":
                    raise IntegrityError(
                        f"gs://{bucket}/{name} did not arrive as it is stored",
                        why="the checksum that the service gave is not that of the bytes that came",
                        hint="run it again",
                    ) from None
                if _status(error) == _NO_RANGE:  # a range of an empty object cannot be had
                    return b""
                raise
            return data

        data = self.ask(bucket, name, do)
        return data if size is None else data[:size]

    def media(self, stored: GcsObject) -> tuple[str, dict[str, str]]:
        """Return the address of exactly these bytes, and the headers to ask for them.

        Raises:
            TransferError: The service names an address that is not its own.
        """
        link = urllib.parse.urlsplit(stored.link)
        if not stored.link:  # Google's own emulator names none, and Google's own client makes it in this way
            place = f"{urllib.parse.quote(stored.bucket)}/o/{urllib.parse.quote(stored.name, safe='')}"
            link = urllib.parse.urlsplit(
                f"{self.endpoint}/download/storage/v1/b/{place}?generation={stored.generation}&alt=media"
            )
        elif f"{link.scheme}://{link.netloc}" != self.endpoint and not (link.hostname or "").endswith(self._domain()):
            raise TransferError(
                f"{stored.shown} cannot be fetched",
                why="the service gave a download address that is not its own",
                hint="check the proxy and the address of the service",
            )
        paying = f"&userProject={urllib.parse.quote(self._payer(stored.bucket))}" if self._payer(stored.bucket) else ""
        return link.geturl() + paying, self.caller.headers()

    def session(self, bucket: str, name: str, *, size: int | None, kind: str, generation: str) -> str:
        """Begin an upload that any process can go on with, and return its address.

        Raises:
            ConditionError: Another generation is there.
        """
        condition = {"if_generation_match": int(generation)} if generation else {}

        def do(place: Any) -> str:
            # The checksum is sent with the last bytes: a stream has none before its end.
            address: str = place.blob(name).create_resumable_upload_session(
                content_type=kind or None, size=size, checksum=None, **condition, retry=None, timeout=_TIMEOUT
            )
            return address

        return self.ask(bucket, name, do, conditional=bool(condition))

    def upload(self, bucket: str, name: str, data: bytes, *, kind: str, generation: str) -> GcsObject:
        """Send a small object in one request; its checksum goes along, and bytes that differ make no object.

        Raises:
            ConditionError: Another generation is there.
        """
        condition = {"if_generation_match": int(generation)} if generation else {}

        def do(place: Any) -> GcsObject:
            blob = place.blob(name)
            blob.upload_from_string(
                data,
                content_type=kind or "application/octet-stream",
                checksum="crc32c",
                **condition,
                retry=None,
                timeout=_TIMEOUT,
            )
            return read_object(_resource(blob), bucket)

        return self.ask(bucket, name, do, conditional=bool(condition))

    def ask(self, bucket: str, name: str, do: Callable[[Any], Result], *, conditional: bool = False) -> Result:
        """Do something with a bucket, again while it fails in passing.

        Args:
            bucket: Its name.
            name: The object that it is about, for messages.
            do: Is given the client's bucket.
            conditional: It sends a condition; else a 412 is a rule of the bucket's, not another writer.

        Raises:
            ConditionError: A condition does not hold.
            TransferError: Or one of its kinds: it is refused, or was tried often enough.
        """
        backoff, refusals, display = self.tries(), 0, f"gs://{bucket}/{name}"
        while True:
            try:
                return self._once(bucket, do, display)
            except ColabKitError:
                raise
            except TransientError as error:
                self.wait(backoff, error, display)
                continue
            except _WithdrawnError:
                continue  # as nobody, which happens once
            except Exception as error:
                status, message = _status(error), words(getattr(error, "response", None))
                if not status:
                    raise
                if refusals < _MOST_REFUSALS and self._is_retryable(status, message, bucket):
                    refusals += 1
                    continue
                failure = refusal(self.caller, status, message, bucket, name, getattr(error, "response", None))
            if isinstance(failure, TransientError):
                self.wait(backoff, failure, display)
                continue
            if isinstance(failure, ConditionError):
                if not conditional:
                    failure = TransferError(
                        f"the service refuses {display}",
                        why=str(failure),
                        hint="ask the bucket's owner which rules it has",
                    )
                else:
                    failure.perhaps_ours = backoff.failures > 0
            raise failure from None

    def _once(self, bucket: str, do: Callable[[Any], Result], display: str) -> Result:
        import google.auth.exceptions as auth
        import requests

        with map_transport_errors(display):
            self._session()  # that there is no network is known soon
            try:
                return do(self._client().bucket(bucket, user_project=self._payer(bucket) or None))
            except auth.InvalidOperation:
                raise _AnonymousError from None  # how the client tells a 401 to nobody
            except auth.GoogleAuthError as error:
                self.caller.give_up(error)
                raise _WithdrawnError from None
            except requests.exceptions.JSONDecodeError:
                raise TransferError(
                    "the service's answer cannot be read",
                    why="it is not JSON",
                    hint="check the proxy and the address of the service",
                ) from None

    def _client(self) -> Any:
        """Return this thread's client for whoever asks now."""
        storage = _storage()
        from google.auth.credentials import AnonymousCredentials

        credentials = self.caller.credentials()
        made, of = getattr(self._made, "client", (None, None))
        if made is None or of is not credentials:
            # Without an address the client follows the credentials to their universe.
            address = {} if self.endpoint == _GOOGLES else {"client_options": {"api_endpoint": self.endpoint}}
            made = storage.Client(project="none", credentials=credentials or AnonymousCredentials(), **address)
            self._made.client = made, credentials
        return made

    def _domain(self) -> str:
        credentials = self.caller.credentials()
        return f".{getattr(credentials, 'universe_domain', '') or 'googleapis.com'}"

    def _payer(self, bucket: str) -> str:
        return self.caller.paying_project if bucket in self._paying else ""

    def refusal(self, answer: Any, bucket: str, name: str) -> Exception:
        """Turn an answer to the engine that is no success into an error."""
        return refusal(self.caller, answer.status_code, words(answer), bucket, name, answer)

    def _is_retryable(self, status: int, message: str, bucket: str) -> bool:
        if status == 400 and bucket not in self._paying and "requester pays" in message.lower():
            if not self.caller.paying_project and not (self.caller.anonymous and self.caller.refused()):
                return False
            self._paying.add(bucket)
            return bool(self.caller.paying_project)
        return status == 401 and self.caller.refused()


@functools.cache
def _storage() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses packages that only its other way of speaking needs
        storage = require("google.cloud.storage", extra="gcs", why="Cloud Storage is accessed through its own client")
        global_random.keep_off()
        return storage


class _AnonymousError(Exception):
    """A 401 to somebody who has no credentials, or none that are good."""

    code = 401


class _WithdrawnError(Exception):
    """The credentials that were found are not good any more."""


def _status(error: Exception) -> int:
    """Return the status code that an error of the client stands for; 0 for none."""
    code = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "code", None)
    try:
        return int(code) if code is not None else 0
    except (TypeError, ValueError):
        return 0


def connect(project: str = "", *, tries: int = PATIENT, env: Mapping[str, str] | None = None) -> Api:
    """Return the API that this environment asks for; calls with the same settings share it.

    Args:
        project: The project that pays where a bucket demands it, or "" for the environment's.
        tries: Failures in a row that are forgiven.
        env: The environment.
    """
    env = config.environment(env)
    return _connect(env.get(EMULATOR, ""), project, tries, *(env.get(name, "") for name in _SETTINGS))


@functools.lru_cache(maxsize=4)
def _connect(emulator: str, project: str, tries: int, *_settings: str) -> Api:
    endpoint = emulator.rstrip("/") if "://" in emulator or not emulator else f"http://{emulator}"
    return Api(Caller(project=project), endpoint or SERVICE, tries=tries)


def _resource(blob: Any) -> dict[str, Any]:
    """Return what the client knows of an object, as the service writes it."""
    return {
        "name": blob.name,
        "generation": blob.generation,
        "size": blob.size,
        "crc32c": blob.crc32c or "",
        "md5Hash": blob.md5_hash or "",
        "contentEncoding": blob.content_encoding or "",
        "updated": blob.updated.isoformat() if blob.updated else "",
        "mediaLink": blob.media_link or "",
    }


def read_object(value: Any, bucket: str) -> GcsObject:
    """Read an object's resource as the service describes it.

    Raises:
        TransferError: It is none.
    """
    try:
        generation = str(value["generation"])
        size = int(value["size"] or 0 if value.get("crc32c") == _EMPTY else value["size"])  # an emulator leaves out 0
        if not generation.isascii() or not generation.isdecimal() or not 0 <= size < 1 << 60:
            raise ValueError(generation)
        return GcsObject(
            bucket=bucket,
            name=str(value["name"]),
            size=size,
            generation=generation,
            crc32c=_digits(value.get("crc32c", ""), 4),
            md5=_digits(value.get("md5Hash", ""), 16),
            encoding=str(value.get("contentEncoding", "")).lower(),
            updated=_seconds(value.get("updated", "")),
            link=str(value.get("mediaLink", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise TransferError(
            f"the service describes an object of gs://{bucket} in a way that cannot be read",
            why="its name, size or generation is missing or malformed",
            hint="check that the address of the service is right",
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
