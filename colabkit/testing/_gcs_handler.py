"""The requests that the emulator of Google Cloud Storage answers: routes, listings, media."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from colabkit.testing._gcs_requests import RefusedError, ResetError, etag
from colabkit.testing._gcs_uploads import Uploads

if TYPE_CHECKING:
    from colabkit.testing.gcs import FakeGCS, StoredObject

_ROUTE = re.compile(r"/(upload/|download/)?storage/v1/b(?:/([^/]+)(?:/(o)(?:/(.+))?)?)?")
_MEDIA = 64 << 10
_RANGE = re.compile(r"bytes=(\d+)-(\d*)", re.ASCII)


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

    def _on_bucket(self, name: str) -> None:
        self._begin("bucket", name)
        if self.command == "POST":
            name = json.loads(self._read_all())["name"]
            self.gcs.bucket(name)
        bucket = self._bucket(name)
        value = {"kind": "storage#bucket", "id": name, "name": name, "location": "US", "metageneration": "1"}
        self._json({**value, "billing": {"requesterPays": bucket.requester_pays}})

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

    def _headers_of(self, found: StoredObject) -> dict[str, str]:
        hashes = [f"crc32c={found.crc32c}", *([f"md5={found.md5}"] if found.md5 else [])]
        return {
            "Content-Type": found.content_type,
            "ETag": etag(found),  # without quotes, as the real service sends it
            "x-goog-generation": str(found.generation),
            "x-goog-metageneration": "1",
            "x-goog-hash": ",".join(hashes),
            "x-goog-storage-class": "STANDARD",
            "x-goog-stored-content-encoding": found.content_encoding or "identity",
            "x-goog-stored-content-length": str(len(found.data)),
        }
