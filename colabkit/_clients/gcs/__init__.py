"""Google Cloud Storage by its own client: what there is, where its bytes are, and every refusal in words."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._clients.gcs.auth import EMULATOR, PAYING_PROJECT, Caller
from colabkit._clients.gcs.calls import SERVICE, BucketCalls, status_of
from colabkit._clients.gcs.refusals import NO_BUCKET, ConditionError
from colabkit._clients.google_auth import CREDENTIALS, SECRET
from colabkit._http.service import CONNECT, PATIENT, READ
from colabkit.errors import IntegrityError, NotFoundError, TransferError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["NO_BUCKET", "Api", "ConditionError", "GcsObject", "connect", "read_object"]

_NO_RANGE = 416
_EMPTY = "AAAAAA=="
"""The checksum of no bytes."""
_FIELDS = "name,bucket,generation,size,crc32c,md5Hash,contentEncoding,contentType,updated,mediaLink"
_PAGE = 1000
_SETTINGS = (CREDENTIALS, SECRET, PAYING_PROJECT, "CLOUDSDK_CONFIG", "HOME")
_TIMEOUT = (CONNECT, READ)


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


class Api(BucketCalls):
    """What is done with the objects of a bucket; their bytes are moved by the engine, by the addresses given here."""

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
                if status_of(error) == _NO_RANGE:  # a range of an empty object cannot be had
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
