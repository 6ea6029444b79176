"""The requests that the emulator of Google Cloud Storage answers: routes, conditions, media, faults."""

from __future__ import annotations

import base64
import datetime as dt
import email.parser
import email.policy
import gzip
import http
import json
import re
import socket
import struct
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.testing.gcs import Bucket, FakeGCS, GcsFault, Session, StoredObject

_ROUTE = re.compile(r"/(upload/|download/)?storage/v1/b(?:/([^/]+)(?:/(o)(?:/(.+))?)?)?")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)
_SENT = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII)
_BLOCK = 256 << 10
"""What is written at once; also the unit in which a resumable upload keeps what arrived."""


class _Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason


class _Reset(Exception):
    """The connection is to break instead of an answer."""


def handler_for(server: FakeGCS) -> type[_Handler]:
    """Make the handler's class for one server."""

    class Handler(_Handler):
        gcs = server

    return Handler


class _Handler(BaseHTTPRequestHandler):
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
        except _Refused as refused:
            self._refuse(refused)
        except _Reset:
            # With a zero linger time the kernel answers with RST instead of a clean end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the base class names them

    def _answer(self, path: str) -> None:
        if path == "/token":
            self._begin("token", "")
            self._read_all()
            self._json({"access_token": next(iter(self.gcs.tokens)), "expires_in": 3600, "token_type": "Bearer"})
            return
        match = _ROUTE.fullmatch(path)
        if match is None:
            self._read_all()
            raise _Refused(404, "Not Found", "notFound")
        side, bucket, objects, name = match[1] or "", *(urllib.parse.unquote(match[part] or "") for part in (2, 3, 4))
        if side == "upload/":
            self._upload(bucket)
        elif not objects:
            self._on_bucket(bucket)
        elif not name:
            self._begin("list", self._query.get("prefix", ""))
            self._list(bucket)
        elif self.command == "DELETE":
            self._begin("delete", name)
            with self.gcs.lock:
                found = self._object(bucket, name)
                self._check(found, self._query)
                del self.gcs.buckets[bucket].objects[found.name]
            self._send(204, {}, b"")
        elif self._query.get("alt") == "media":
            self._begin("download", name, early=False)
            self._download(bucket, name)
        else:
            self._begin("metadata", name)
            found = self._object(bucket, name)
            self._check(found, self._query)
            self._json(self._resource(bucket, found))

    def _begin(self, operation: str, name: str, *, early: bool = True) -> None:
        """Note what this request is, and let the faults strike that need no more than that."""
        self._seen.on, self._seen.name = operation, name
        if early:
            self._strike(0, 1 << 62)

    def _strike(self, start: int, stop: int) -> None:
        placed = ("reset", "truncate", "stall", "flip")
        with self.gcs.lock:
            for fault in self.gcs.faults:
                if fault.on != self._seen.on or fault.times <= 0 or fault.kind in self._faults:
                    continue
                if fault.name not in ("", self._seen.name) or (fault.kind in placed and not start <= fault.at < stop):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.times -= 1
                self._faults[fault.kind] = fault
        if fault := self._faults.get("status"):
            self._read_all()
            raise _Refused(fault.status, "A fault on request.", "backendError")
        if self._seen.on in ("download", "upload", "insert"):
            return
        if fault := self._faults.get("stall"):
            time.sleep(fault.seconds)
        if "reset" in self._faults:
            raise _Reset

    def _on_bucket(self, name: str) -> None:
        self._begin("bucket", name)
        if self.command == "POST":
            name = json.loads(self._read_all())["name"]
            self.gcs.bucket(name)
        bucket = self._bucket(name)
        value = {"kind": "storage#bucket", "id": name, "name": name, "location": "US", "metageneration": "1"}
        self._json({**value, "billing": {"requesterPays": bucket.requester_pays}})

    def _bucket(self, name: str, *, write: bool = False) -> Bucket:
        bucket = self.gcs.buckets.get(name)
        if bucket is None:
            raise _Refused(404, "The specified bucket does not exist.", "notFound")
        _, _, token = self.headers.get("Authorization", "").partition(" ")
        if not bucket.public and token not in self.gcs.tokens:
            deed = "create" if write else "get"
            if not token:
                who = f"Anonymous caller does not have storage.objects.{deed} access to the Google Cloud Storage object."
                raise _Refused(401, f"{who} Permission 'storage.objects.{deed}' denied on resource", "required")
            if token.startswith("expired"):
                raise _Refused(401, "Invalid Credentials", "authError")
            who = f"eve@example.org does not have storage.objects.{deed} access to the Google Cloud Storage object."
            raise _Refused(403, f"{who} Permission 'storage.objects.{deed}' denied on resource", "forbidden")
        if bucket.requester_pays and not self._query.get("userProject"):
            raise _Refused(400, "Bucket is a requester pays bucket but no user project provided.", "required")
        return bucket

    def _object(self, bucket: str, name: str) -> StoredObject:
        with self.gcs.lock:
            if (fault := self._faults.pop("replace", None)) is not None:
                self.gcs.put(bucket, name, fault.data)
            found = self._bucket(bucket).objects.get(name)
        wanted = self._query.get("generation")
        if found is None or (wanted is not None and str(found.generation) != wanted):
            raise _Refused(404, f"No such object: {bucket}/{name}", "notFound")
        return found

    def _check(self, found: StoredObject | None, conditions: Mapping[str, str]) -> None:
        generation = "0" if found is None else str(found.generation)
        if conditions.get("ifGenerationMatch", generation) != generation:
            raise _Refused(412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")

    def _list(self, name: str) -> None:
        with self.gcs.lock:
            objects = dict(self._bucket(name).objects)
        prefix, delimiter = self._query.get("prefix", ""), self._query.get("delimiter", "")
        after = base64.urlsafe_b64decode(self._query.get("pageToken", "")).decode()
        most = min(int(self._query.get("maxResults", self.gcs.page_size)), self.gcs.page_size)
        names: dict[str, None] = {}
        for found in sorted(objects):
            if found.startswith(prefix):
                head, cut, _ = found[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
                names[prefix + head + cut if cut else found] = None
        rest = [found for found in names if found > after]
        page = rest[:most]
        value: dict[str, Any] = {"kind": "storage#objects"}
        folders = [found for found in page if found not in objects or (delimiter and found.endswith(delimiter))]
        folders = [found for found in folders if found != prefix]
        items = [self._resource(name, objects[found]) for found in page if found not in folders]
        value |= {"prefixes": folders} if folders else {}
        value |= {"items": items} if items else {}
        if len(rest) > most:
            value["nextPageToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
        self._json(value)

    def _download(self, bucket: str, name: str) -> None:
        self._strike_replacement()
        found = self._object(bucket, name)
        self._check(found, self._query)
        data, headers, span = found.data, self._headers_of(found), None
        takes_gzip = "gzip" in self.headers.get("Accept-Encoding", "")
        if found.content_encoding == "gzip" and not takes_gzip:
            data = gzip.decompress(data)
            headers["Warning"] = "214 UploadServer gunzipped"
        else:
            if found.content_encoding:
                headers["Content-Encoding"] = found.content_encoding
            if match := _RANGE.fullmatch(self.headers.get("Range", "")):
                span = int(match[1]), min(len(data), int(match[2]) + 1 if match[2] else len(data))
        start, stop = span or (0, len(data))
        if span is not None and start >= len(data):
            self._send(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
            return
        self._strike(start, stop)
        if "hash" in self._faults:
            headers["x-goog-hash"] = "crc32c=AAAAAA=="
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            del headers["x-goog-hash"]  # as the real service: only a whole object comes with its hashes
        body = data[start:stop]
        if fault := self._faults.get("flip"):
            at = fault.at - start
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        self._head(206 if span is not None else 200, {**headers, "Content-Length": str(len(body))})
        self._media(body, start)

    def _strike_replacement(self) -> None:
        """Let another writer in before the object is looked up."""
        with self.gcs.lock:
            for fault in self.gcs.faults:
                if (fault.on, fault.kind) == ("download", "replace") and fault.times > 0:
                    if fault.after > 0:
                        fault.after -= 1
                    else:
                        fault.times -= 1
                        self._faults["replace"] = fault

    def _media(self, body: bytes, start: int) -> None:
        stops = sorted(fault.at - start for kind, fault in self._faults.items() if kind in ("reset", "truncate", "stall"))
        at, begun = 0, time.monotonic()
        while True:
            if (fault := self._faults.get("stall")) and fault.at - start == at:
                time.sleep(fault.seconds)
            if (fault := self._faults.get("reset")) and fault.at - start == at:
                raise _Reset
            if (fault := self._faults.get("truncate")) and fault.at - start == at:
                self.close_connection = True
                return
            if at >= len(body):
                return
            until = min([at + _BLOCK, len(body), *(stop for stop in stops if stop > at)])
            self._seen.sent += until - at
            self.wfile.write(body[at:until])
            at = until
            if self.gcs.rate:
                time.sleep(max(0.0, begun + at / self.gcs.rate - time.monotonic()))

    def _headers_of(self, found: StoredObject) -> dict[str, str]:
        hashes = [f"crc32c={found.crc32c}", *([f"md5={found.md5}"] if found.md5 else [])]
        return {
            "Content-Type": found.content_type,
            "ETag": _etag(found),  # without quotes, as the real service sends it
            "x-goog-generation": str(found.generation),
            "x-goog-metageneration": "1",
            "x-goog-hash": ",".join(hashes),
            "x-goog-storage-class": "STANDARD",
            "x-goog-stored-content-encoding": found.content_encoding or "identity",
            "x-goog-stored-content-length": str(len(found.data)),
        }

    def _upload(self, bucket: str) -> None:
        if self.command in ("PUT", "DELETE"):
            self._continue(self._query.get("upload_id", ""))
            return
        kind = self._query.get("uploadType")
        if kind == "resumable":
            resource = json.loads(self._read_all() or b"{}")
            name = resource.get("name") or self._query.get("name", "")
            self._begin("start", name)
            self._begin_session(bucket, {**resource, "name": name})
            return
        self._seen.on, self._seen.name = "insert", self._query.get("name", "")
        if kind == "multipart":
            body = self._read_all()
            kind_line = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(kind_line + body)
            first, second = message.iter_parts()
            resource = json.loads(first.get_payload(decode=True))
            content_type = str(second["Content-Type"])
            # What the parser makes of line ends would change the bytes: the media is cut out by its boundary.
            boundary = b"--" + (message.get_boundary() or "").encode()
            media = body.split(boundary, 2)[2].partition(b"\r\n\r\n")[2].rpartition(b"\r\n" + boundary + b"--")[0]
            self._seen.name = resource.get("name") or self._seen.name
        else:
            resource, media = {"name": self._seen.name}, self._read_all()
            content_type = self.headers.get("Content-Type", "")
        self._seen.received = len(media)
        self._strike(0, len(media) or 1)
        if fault := self._faults.get("stall"):
            time.sleep(fault.seconds)
        if "reset" in self._faults:
            raise _Reset
        if (fault := self._faults.get("flip")) and media:
            media = media[: fault.at] + bytes([media[fault.at] ^ 1]) + media[fault.at + 1 :]
        made = self._store(bucket, resource, media, content_type, self._query)
        if "lose" in self._faults:
            raise _Reset
        self._json(self._resource(bucket, made))

    def _begin_session(self, bucket: str, resource: Mapping[str, Any]) -> None:
        from colabkit.testing.gcs import Session

        live = self._bucket(bucket, write=True).objects.get(resource["name"])
        self._check(live, self._query)
        number = uuid.uuid4().hex
        self.gcs.sessions[number] = Session(
            bucket=bucket,
            resource=resource,
            preconditions=self._query,
            content_type=self.headers.get("X-Upload-Content-Type", ""),
        )
        where = f"{self.gcs.endpoint}/upload/storage/v1/b/{urllib.parse.quote(bucket)}/o"
        self._send(200, {"Location": f"{where}?uploadType=resumable&upload_id={number}"}, b"")

    def _continue(self, number: str) -> None:
        session = self.gcs.sessions.get(number)
        match = _SENT.fullmatch(self.headers.get("Content-Range", ""))
        asks = match is not None and match[1] is None and self._left == 0
        self._seen.on = "query" if asks else "upload"
        self._seen.name = "" if session is None else session.resource["name"]
        start = int(match[1]) if match is not None and match[1] else 0
        self._strike(start, start + max(self._left, 1))
        if (fault := self._faults.get("expire")) is not None:
            self.gcs.sessions.pop(number, None)
            session = None
        if session is None:
            self._read_all()
            raise _Refused(fault.status if fault else 404, "The upload session is gone.", "notFound")
        if self.command == "DELETE":
            del self.gcs.sessions[number]
            self._send(499, {}, b"")
            return
        total = None if match is None or match[3] == "*" else int(match[3])
        if match is None:
            total = self._left
        if session.finished is None and not asks:
            self._take(session, start)
        if session.finished is None and total is not None and len(session.data) >= total:
            self._finish(session)
        if "lose" in self._faults:
            raise _Reset
        if session.finished is not None:
            self._json(self._resource(session.bucket, session.finished))
            return
        kept = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
        self._send(308, {**kept, "X-GUploader-UploadID": number}, b"")

    def _take(self, session: Session, start: int) -> None:
        if start > len(session.data):
            self._read_all()
            raise _Refused(503, "The bytes in between are missing.", "backendError")
        try:
            data = self._read_body(start)
        except _Reset:
            whole = (start + len(self._partial)) // _BLOCK * _BLOCK
            session.data[start:] = self._partial[: max(0, whole - start)]
            raise
        session.data[start:] = data

    def _finish(self, session: Session) -> None:
        data = bytes(session.data)
        promised = dict(part.strip().partition("=")[::2] for part in self.headers.get("x-goog-hash", "").split(","))
        resource = {**session.resource, **({"crc32c": promised["crc32c"]} if "crc32c" in promised else {})}
        session.finished = self._store(session.bucket, resource, data, session.content_type, session.preconditions)
        session.data.clear()

    def _store(
        self, bucket: str, resource: Mapping[str, Any], data: bytes, content_type: str, conditions: Mapping[str, str]
    ) -> StoredObject:
        from colabkit.testing.gcs import crc32c

        if resource.get("crc32c") not in (None, crc32c(data)):
            raise _Refused(400, "Provided CRC32C does not match the calculated one.", "invalid")
        name = resource["name"]
        if not name or len(name.encode()) > 1024 or "\r" in name or "\n" in name or name in (".", ".."):
            raise _Refused(400, f"Disallowed object name: {name!r}", "invalid")
        with self.gcs.lock:
            live = self._bucket(bucket, write=True).objects.get(name)
            if (fault := self._faults.pop("replace", None)) is not None:
                live = self.gcs.put(bucket, name, fault.data)
            self._check(live, conditions)
            return self.gcs.put(
                bucket,
                name,
                data,
                content_type=resource.get("contentType") or content_type or "application/octet-stream",
                content_encoding=resource.get("contentEncoding", ""),
                metadata=resource.get("metadata", {}),
                updated=time.time(),
            )

    def _read_body(self, start: int) -> bytes:
        """Read what is uploaded, with the faults that strike on the way."""
        self._partial = bytearray()
        size = self._left
        reset = self._faults.get("reset")
        stall = self._faults.get("stall")
        begun = time.monotonic()
        while len(self._partial) < size:
            if stall is not None and start + len(self._partial) >= stall.at:
                time.sleep(stall.seconds)
                stall = None
            if reset is not None and start + len(self._partial) >= reset.at:
                raise _Reset
            block = self.rfile.read(min(_BLOCK, size - len(self._partial)))
            if not block:
                raise _Reset
            self._partial += block
            self._left -= len(block)
            self._seen.received += len(block)
            if self.gcs.rate:
                time.sleep(max(0.0, begun + len(self._partial) / self.gcs.rate - time.monotonic()))
        if (fault := self._faults.get("flip")) and size:
            self._partial[min(fault.at - start, size - 1)] ^= 1
        return bytes(self._partial)

    def _read_all(self) -> bytes:
        body = b""
        if self._left:
            body = self.rfile.read(self._left)
        self._left = 0
        return body

    def _resource(self, bucket: str, found: StoredObject) -> dict[str, Any]:
        path = f"b/{urllib.parse.quote(bucket)}/o/{urllib.parse.quote(found.name, safe='')}"
        media = f"{self.gcs.endpoint}/download/storage/v1/{path}?generation={found.generation}&alt=media"
        updated = dt.datetime.fromtimestamp(found.updated, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        value = {
            "kind": "storage#object",
            "id": f"{bucket}/{found.name}/{found.generation}",
            "selfLink": f"{self.gcs.endpoint}/storage/v1/{path}",
            "mediaLink": media,
            "name": found.name,
            "bucket": bucket,
            "generation": str(found.generation),
            "metageneration": "1",
            "contentType": found.content_type,
            "storageClass": "STANDARD",
            "size": str(len(found.data)),
            "crc32c": "AAAAAA==" if "hash" in self._faults else found.crc32c,
            "etag": _etag(found),
            "timeCreated": updated,
            "updated": updated,
        }
        for key, extra in (
            ("md5Hash", found.md5),
            ("contentEncoding", found.content_encoding),
            ("metadata", dict(found.metadata)),
        ):
            value |= {key: extra} if extra else {}
        return value

    def _refuse(self, refused: _Refused) -> None:
        self._read_all()
        fault = self._faults.get("status")
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


def _etag(found: StoredObject) -> str:
    return base64.b64encode(b"\x08" + found.generation.to_bytes(8, "big") + b"\x10\x01").decode()
