"""The requests that the emulator of Google Cloud Storage answers: routes, listings, media."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from colabkit.testing._gcs.requests import RefusedError, ResetError, etag
from colabkit.testing._gcs.uploads import Uploads

if TYPE_CHECKING:
    from colabkit.testing.gcs import FakeGCS, StoredObject

_ROUTE = re.compile(r"/(upload/|download/)?storage/v1/b(?:/([^/]+)(?:/(o)(?:/(.+))?)?)?")
_MEDIA = 64 << 10
_RANGE = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)
_LAST = re.compile(r"bytes=-(\d+)", re.ASCII)
_GLOB = re.compile(r"\*\*/|\*+|\?|\[!?[^]]*\]|\{[^}]*\}|.", re.DOTALL)


def handler_for(server: FakeGCS) -> type[Routes]:
    """Make the handler's class for one server."""

    class Handler(Routes):
        gcs = server

    return Handler


class Routes(Uploads):
    """Finds out what a request asks for."""

    def _answer(self, path: str) -> None:
        if path == "/token":
            self._begin("token", "")
            self._read_all()
            self._json({"access_token": next(iter(self.gcs.tokens)), "expires_in": 3600, "token_type": "Bearer"})
            return
        match = _ROUTE.fullmatch(path)
        if match is None and {"uploads", "uploadId"} & self._query.keys():
            self._in_parts(path)
            return
        if match is None:
            self._read_all()
            raise RefusedError(404, "Not Found", "notFound")
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
                stored = self._object(bucket, name)
                self._check(stored, self._query)
                del self.gcs.buckets[bucket].objects[stored.name]
            self._send(204, {}, b"")
        elif self._query.get("alt") == "media":
            self._begin("download", name, early=False)
            self._download(bucket, name)
        else:
            self._begin("metadata", name)
            stored = self._object(bucket, name)
            self._check(stored, self._query)
            self._json(self._resource(bucket, stored))

    def _on_bucket(self, name: str) -> None:
        self._begin("bucket", name)
        if self.command == "POST":
            name = json.loads(self._read_all())["name"]
            if name in self.gcs.buckets:
                raise RefusedError(409, "Your previous request to create the named bucket succeeded.", "conflict")
            self.gcs.bucket(name)
        elif self.command == "DELETE":
            if self._bucket(name, write=True).objects:
                raise RefusedError(409, "The bucket you tried to delete is not empty.", "conflict")
            del self.gcs.buckets[name]
            self._send(204, {}, b"")
            return
        bucket = self._bucket(name)
        value = {"kind": "storage#bucket", "id": name, "name": name, "location": "US", "metageneration": "1"}
        self._json({**value, "billing": {"requesterPays": bucket.requester_pays}})

    def _list(self, name: str) -> None:
        with self.gcs.lock:
            objects = dict(self._bucket(name).objects)
        prefix, delimiter = self._query.get("prefix", ""), self._query.get("delimiter", "")
        after = base64.urlsafe_b64decode(self._query.get("pageToken", "")).decode()
        most = min(int(self._query.get("maxResults", self.gcs.page_size)), self.gcs.page_size)
        if most <= 0:
            raise RefusedError(400, "Invalid value for maxResults.", "invalid")
        begin, end = self._query.get("startOffset", ""), self._query.get("endOffset", "\U0010ffff")
        fits = _glob(self._query["matchGlob"]).fullmatch if "matchGlob" in self._query else bool
        names: dict[str, None] = {}
        for object_name in sorted(objects):
            if object_name.startswith(prefix) and begin <= object_name < end and fits(object_name):
                head, cut, _ = object_name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
                names[prefix + head + cut if cut else object_name] = None
        rest = [object_name for object_name in names if object_name > after]
        page = rest[:most]
        value: dict[str, Any] = {"kind": "storage#objects"}
        folders = [
            object_name
            for object_name in page
            if object_name not in objects or (delimiter and object_name.endswith(delimiter))
        ]
        folders = [object_name for object_name in folders if object_name != prefix]
        items = [self._resource(name, objects[object_name]) for object_name in page if object_name not in folders]
        value |= {"prefixes": folders} if folders else {}
        value |= {"items": items} if items else {}
        if len(rest) > most:
            value["nextPageToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
        self._json(value)

    def _download(self, bucket: str, name: str) -> None:
        stored = self._object(bucket, name)
        self._check(stored, self._query)
        data, headers, span = stored.data, self._headers_of(stored), None
        takes_gzip = "gzip" in self.headers.get("Accept-Encoding", "")
        if stored.content_encoding == "gzip" and not takes_gzip:
            data = gzip.decompress(data)
            headers["Warning"] = "214 UploadServer gunzipped"
        else:
            if stored.content_encoding:
                headers["Content-Encoding"] = stored.content_encoding
            if match := _RANGE.fullmatch(self.headers.get("Range", "")):
                span = int(match[1]), min(len(data), int(match[2]) + 1 if match[2] else len(data))
            elif match := _LAST.fullmatch(self.headers.get("Range", "")):
                span = max(0, len(data) - int(match[1])), len(data)
        start, stop = span or (0, len(data))
        if span is not None and start >= len(data):
            self._send(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
            return
        self._strike(start, stop)
        if "hash" in self._faults:
            headers["x-goog-hash"] = "crc32c=AAAAAA=="
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            del headers[
                "x-goog-hash"
            ]  # as the real service, by googleapis/python-storage#787: only a whole one has them
        body = data[start:stop]
        if fault := self._faults.get("flip"):
            at = fault.at - start
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        self._head(206 if span is not None else 200, {**headers, "Content-Length": str(len(body))})
        self._media(body, start)

    def _media(self, body: bytes, start: int) -> None:
        stops = sorted(
            fault.at - start for kind, fault in self._faults.items() if kind in ("reset", "truncate", "stall")
        )
        at, begun = 0, time.monotonic()
        while True:
            if (fault := self._faults.get("stall")) and fault.at - start == at:
                time.sleep(fault.seconds)
            if (fault := self._faults.get("reset")) and fault.at - start == at:
                raise ResetError
            if (fault := self._faults.get("truncate")) and fault.at - start == at:
                self.close_connection = True
                return
            if at >= len(body):
                return
            until = min([at + _MEDIA, len(body), *(stop for stop in stops if stop > at)])
            self._seen.sent += until - at
            self.wfile.write(body[at:until])
            at = until
            if self.gcs.rate:
                time.sleep(max(0.0, begun + at / self.gcs.rate - time.monotonic()))

    def _headers_of(self, stored: StoredObject) -> dict[str, str]:
        hashes = [f"crc32c={stored.crc32c}", *([f"md5={stored.md5}"] if stored.md5 else [])]
        return {
            "Content-Type": stored.content_type,
            "ETag": etag(stored),  # without quotes, as the real service sends it
            "x-goog-generation": str(stored.generation),
            "x-goog-metageneration": "1",
            "x-goog-hash": ",".join(hashes),
            "x-goog-storage-class": "STANDARD",
            "x-goog-stored-content-encoding": stored.content_encoding or "identity",
            "x-goog-stored-content-length": str(len(stored.data)),
        }


def _glob(pattern: str) -> re.Pattern[str]:
    """Read a matchGlob: a `*` and a `?` stay in one folder, a `**` does not, and a class or a choice may be in it."""

    def part(match: re.Match[str]) -> str:
        token = match[0]
        if token.startswith("["):
            return f"[{'^' if token[1] == '!' else ''}{re.escape(token[1:-1].lstrip('!')).replace(chr(92) + '-', '-')}]"
        if token.startswith("{"):
            return f"(?:{'|'.join(_glob(choice).pattern for choice in token[1:-1].split(','))})"
        return {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(token) or re.escape(token)

    return re.compile(_GLOB.sub(part, pattern), re.DOTALL)
