"""What all requests to the emulator of Google Cloud Storage share: faults, conditions, answers."""

from __future__ import annotations

import base64
import datetime as dt
import http
import json
import re
import socket
import struct
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.testing.gcs import Bucket, FakeGCS, GcsFault, StoredObject

BLOCK = 256 << 10
"""What is written at once; also the unit in which a resumable upload keeps what arrived."""
_FIELD = re.compile(r"(\w+)(?:\(([^)]*)\))?")


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason


class ResetError(Exception):
    """The connection is to break instead of an answer."""


class Requests(BaseHTTPRequestHandler):
    """Reads requests and writes answers; `_answer` is left to those who know what they mean."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 1 << 20
    gcs: FakeGCS

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Stay silent."""

    def _handle(self) -> None:
        from colabkit.testing.gcs import GcsSeen

        parts = urllib.parse.urlsplit(self.path)
        self._query = {key: values[0] for key, values in urllib.parse.parse_qs(parts.query, True).items()}
        self._left = int(self.headers.get("Content-Length", 0))
        self._faults: dict[str, GcsFault] = {}
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._seen = GcsSeen(headers=headers, query=self._query)
        with self.gcs.lock:
            self.gcs.seen.append(self._seen)
        try:
            self._answer(parts.path)
        except RefusedError as refused:
            self._refuse(refused)
        except ResetError:
            # With a zero linger time the kernel answers with RST instead of a clean end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the base class names them

    def _answer(self, path: str) -> None:
        raise NotImplementedError

    def _begin(self, operation: str, name: str, *, early: bool = True) -> None:
        """Note what this request is, and let the faults strike that need no more than that."""
        self._seen.on, self._seen.name = operation, name
        if early:
            self._strike(0, 1 << 62)

    def _due(self, start: int, stop: int, *, others: bool = False) -> None:
        """Pick the faults that strike this request, one of each kind, and count them down."""
        placed = ("reset", "truncate", "stall", "flip")
        with self.gcs.lock:
            for fault in self.gcs.faults:
                if fault.on != self._seen.on or fault.times <= 0 or fault.kind in self._faults:
                    continue
                if fault.name not in ("", self._seen.name) or (fault.kind in placed and not start <= fault.at < stop):
                    continue
                if (fault.kind in ("replace", "vanish")) != others:
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                self._faults[fault.kind] = fault

    def _let_others_write(self, bucket: str, name: str) -> None:
        """Let another writer put its own object in place, if that is due now."""
        self._due(0, 0, others=True)
        if fault := self._faults.pop("replace", None):
            self.gcs.put(bucket, name, fault.data)
        if self._faults.pop("vanish", None):
            self.gcs.bucket(bucket).objects.pop(name, None)

    def _strike(self, start: int, stop: int) -> None:
        self._due(start, stop)
        if refuses := self._faults.get("status"):
            self._read_all()
            raise RefusedError(refuses.status, "A fault on request.", "backendError")
        if self._seen.on in ("download", "upload", "insert"):
            return
        if stalls := self._faults.get("stall"):
            time.sleep(stalls.seconds)
        if "reset" in self._faults:
            raise ResetError

    def _bucket(self, name: str, *, write: bool = False) -> Bucket:
        bucket = self.gcs.buckets.get(name)
        if bucket is None:
            raise RefusedError(404, "The specified bucket does not exist.", "notFound")
        _, _, token = self.headers.get("Authorization", "").partition(" ")
        deed = f"storage.objects.{'create' if write else 'get'}"
        lacks = f"does not have {deed} access to the Google Cloud Storage object. Permission '{deed}' denied"
        if not bucket.public and not token:
            raise RefusedError(401, f"Anonymous caller {lacks}", "required")
        if token and token not in self.gcs.tokens:
            raise RefusedError(401, "Invalid Credentials", "authError")
        if bucket.forbidden:
            raise RefusedError(403, f"{self.gcs.tokens.get(token, 'Anonymous caller')} {lacks}", "forbidden")
        if bucket.requester_pays and not self._query.get("userProject"):
            raise RefusedError(400, "Bucket is a requester pays bucket but no user project provided.", "required")
        return bucket

    def _object(self, bucket: str, name: str) -> StoredObject:
        with self.gcs.lock:
            self._let_others_write(bucket, name)
            stored = self._bucket(bucket).objects.get(name)
        generation = self._query.get("generation")
        if stored is None or (generation is not None and str(stored.generation) != generation):
            raise RefusedError(404, f"No such object: {bucket}/{name}", "notFound")
        return stored

    def _check(self, stored: StoredObject | None, conditions: Mapping[str, str]) -> None:
        for what, is_now in (
            ("Generation", "0" if stored is None else str(stored.generation)),
            ("Metageneration", "1"),
        ):
            same, other = conditions.get(f"if{what}Match", is_now), conditions.get(f"if{what}NotMatch", "")
            if self.command == "GET" and other == is_now:
                raise RefusedError(304, "")
            if same != is_now or other == is_now:
                message = "At least one of the pre-conditions you specified did not hold."
                raise RefusedError(412, message, "conditionNotMet")

    def _read_all(self) -> bytes:
        body = b""
        if self._left:
            body = self.rfile.read(self._left)
        self._left = 0
        return body

    def _resource(self, bucket: str, stored: StoredObject) -> dict[str, Any]:
        path = f"b/{urllib.parse.quote(bucket)}/o/{urllib.parse.quote(stored.name, safe='')}"
        media = f"{self.gcs.endpoint}/download/storage/v1/{path}?generation={stored.generation}&alt=media"
        updated = dt.datetime.fromtimestamp(stored.updated, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        value: dict[str, Any] = {
            "kind": "storage#object",
            "id": f"{bucket}/{stored.name}/{stored.generation}",
            "selfLink": f"{self.gcs.endpoint}/storage/v1/{path}",
            "mediaLink": media,
            "name": stored.name,
            "bucket": bucket,
            "generation": str(stored.generation),
            "metageneration": "1",
            "contentType": stored.content_type,
            "storageClass": "STANDARD",
            "size": str(len(stored.data)),
            "crc32c": "AAAAAA==" if "hash" in self._faults else stored.crc32c,
            "etag": etag(stored),
            "timeCreated": updated,
            "updated": updated,
        }
        for key, extra in (
            ("md5Hash", stored.md5),
            ("contentEncoding", stored.content_encoding),
            ("metadata", dict(stored.metadata)),
        ):
            value |= {key: extra} if extra else {}
        if not self.gcs.links:
            del value["mediaLink"]
        return value

    def _refuse(self, refused: RefusedError) -> None:
        self._read_all()
        fault = self._faults.get("status")
        if refused.status == 304:
            self._head(304, {})
            return
        if self._seen.on == "download":
            headers = {"Content-Type": "text/html; charset=UTF-8"}
            body = refused.message.encode()
        else:
            headers = {"Content-Type": "application/json; charset=UTF-8"}
            error = {"message": refused.message, "domain": "global", "reason": refused.reason}
            body = json.dumps(
                {"error": {"code": refused.status, "message": refused.message, "errors": [error]}}
            ).encode()
        self._send(refused.status, {**headers, **(fault.headers if fault else {})}, body)

    def _json(self, value: Mapping[str, Any]) -> None:
        value = _chosen(value, self._query.get("fields", ""))
        self._send(200, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(value).encode())

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self._seen.status = status
        try:
            phrase = http.HTTPStatus(status).phrase
        except ValueError:
            phrase = ""
        self.send_response(status, phrase)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def etag(stored: StoredObject) -> str:
    """Return the tag that changes with each generation."""
    return base64.b64encode(b"\x08" + stored.generation.to_bytes(8, "big") + b"\x10\x01").decode()


def _chosen(value: Mapping[str, Any], fields: str) -> Mapping[str, Any]:
    """Leave what a partial response is to hold, as `name,items(name,size)` says it."""
    subfields = {match[1]: match[2] for match in _FIELD.finditer(fields)}
    if not subfields or "*" in fields:
        return value
    return {
        key: [_chosen(item, subfields[key]) for item in part] if subfields[key] else part
        for key, part in value.items()
        if key in subfields
    }
