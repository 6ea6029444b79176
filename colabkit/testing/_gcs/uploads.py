"""Uploads to the emulator of Google Cloud Storage: in one request, and in resumable sessions."""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import json
import re
import time
import urllib.parse
import uuid
from typing import TYPE_CHECKING, Any

from colabkit.testing._gcs.requests import BLOCK, RefusedError, Requests, ResetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit.testing.gcs import Session, StoredObject

_XML = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_SENT = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII)


class Uploads(Requests):
    """Takes objects in."""

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
            resource = json.loads(first.get_content())
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
            raise ResetError
        if (fault := self._faults.get("flip")) and media:
            media = media[: fault.at] + bytes([media[fault.at] ^ 1]) + media[fault.at + 1 :]
        self._bucket(bucket, write=True)
        made = self._store(bucket, resource, media, content_type, self._query)
        if "lose" in self._faults:
            raise ResetError
        self._json(self._resource(bucket, made))

    def _in_parts(self, path: str) -> None:
        """Take an object in parts, as the XML API does for transfer_manager.upload_chunks_concurrently."""
        bucket, _, name = urllib.parse.unquote(path).lstrip("/").partition("/")
        number = self._query.get("uploadId") or uuid.uuid4().hex
        if "uploads" in self._query:
            self._begin("start", name)
            self._bucket(bucket, write=True)
            self.gcs.parts[number] = {}
            made = (
                f"<InitiateMultipartUploadResult {_XML}><UploadId>{number}</UploadId></InitiateMultipartUploadResult>"
            )
            self._send(200, {"Content-Type": "application/xml"}, made.encode())
            return
        body, parts = self._read_all(), self.gcs.parts.get(number)
        if parts is None:
            raise RefusedError(404, "The upload is gone.", "notFound")
        if self.command == "PUT":
            from colabkit.testing.gcs import crc32c

            self._seen.on, self._seen.name, self._seen.received = "upload", name, len(body)
            parts[int(self._query["partNumber"])] = body
            self._send(200, {"ETag": f'"{number}"', "x-goog-hash": f"crc32c={crc32c(body)}"}, b"")
            return
        del self.gcs.parts[number]
        if self.command == "DELETE":
            self._send(204, {}, b"")
            return
        self._store(bucket, {"name": name}, b"".join(parts[at] for at in sorted(parts)), "", {})
        made = f"<CompleteMultipartUploadResult {_XML}></CompleteMultipartUploadResult>"
        self._send(200, {"Content-Type": "application/xml"}, made.encode())

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
            raise RefusedError(fault.status if fault else 404, "The upload session is gone.", "notFound")
        if self.command == "DELETE":
            del self.gcs.sessions[number]
            self._send(499, {}, b"")
            return
        total = None if match is None or match[3] == "*" else int(match[3])
        if match is None:
            total = self._left
        with self.gcs.lock:
            session.turn += 1
            turn = session.turn
        if session.finished is None and not asks:
            self._take(session, start, turn)
        if session.finished is None and total is not None and len(session.data) >= total:
            self._finish(session)
        if "lose" in self._faults:
            raise ResetError
        if session.finished is not None:
            self._json(self._resource(session.bucket, session.finished))
            return
        kept = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
        self._send(308, {**kept, "X-GUploader-UploadID": number}, b"")

    def _take(self, session: Session, start: int, turn: int) -> None:
        """Keep what arrives, unit by unit, until a newer request for this session takes over."""
        with self.gcs.lock:
            if start > len(session.data):
                self._read_all()
                raise RefusedError(503, "The bytes in between are missing.", "backendError")
            del session.data[start:]
        for block in self._blocks(start):
            with self.gcs.lock:
                if session.turn != turn:
                    raise ResetError
                session.data += block

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
            raise RefusedError(400, "Provided CRC32C does not match the calculated one.", "invalid")
        if resource.get("md5Hash") not in (None, _md5(data)):
            raise RefusedError(400, "Provided MD5 hash does not match the calculated one.", "invalid")
        name = str(resource.get("name") or "")
        if not name:
            raise RefusedError(400, "Required", "required")
        if len(name.encode()) > 1024 or "\r" in name or "\n" in name or name in (".", ".."):
            raise RefusedError(400, f"Disallowed object name: {name!r}", "invalid")
        with self.gcs.lock:
            self._let_others_write(bucket, name)
            # Whoever knows the address of a session may write: only its beginning asks who it is.
            self._check(self.gcs.buckets[bucket].objects.get(name), conditions)
            return self.gcs.put(
                bucket,
                name,
                data,
                content_type=resource.get("contentType") or content_type or "application/octet-stream",
                content_encoding=resource.get("contentEncoding", ""),
                metadata=resource.get("metadata", {}),
                updated=time.time(),
            )

    def _blocks(self, start: int) -> Iterator[bytes]:
        """Read what is uploaded, with the faults that strike on the way; what is no whole unit is lost at a break."""
        at, stop, begun = start, start + self._left, time.monotonic()
        reset, stall, flip = (self._faults.get(kind) for kind in ("reset", "stall", "flip"))
        while at < stop:
            if stall is not None and at >= stall.at:
                time.sleep(stall.seconds)
                stall = None
            if reset is not None and at >= reset.at:
                raise ResetError
            block = self.rfile.read(min(BLOCK, stop - at))
            self._left -= len(block)
            self._seen.received += len(block)
            if len(block) < min(BLOCK, stop - at):
                raise ResetError
            if flip is not None and at <= flip.at < at + len(block):
                block = block[: flip.at - at] + bytes([block[flip.at - at] ^ 1]) + block[flip.at - at + 1 :]
            yield block
            at += len(block)
            if self.gcs.rate:
                time.sleep(max(0.0, begun + (at - start) / self.gcs.rate - time.monotonic()))


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
