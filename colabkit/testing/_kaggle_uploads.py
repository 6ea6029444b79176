"""What the double of Kaggle takes in: files by resumable uploads, versions of datasets, submissions."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import io
import json
import re
import time
import urllib.parse
import uuid
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colabkit.testing.http import Fault, Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit.testing.http import Request

_UNIT = 256 << 10
_SENT = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII)


@dataclass(kw_only=True)
class Blob:
    """A file that is uploaded.

    Attributes:
        name: Its name.
        size: The bytes that were announced.
        data: What has arrived.
        done: It is complete.
    """

    name: str
    size: int
    data: bytearray = field(default_factory=bytearray)
    done: bool = False


class Blobs:
    """The uploads.

    Attributes:
        blobs: Them by their tokens.
        faults: What goes wrong with the requests that send bytes: `reset` at a byte of the file, `status`, `flip`.
        received: The bytes that were sent here.
        rate: Bytes a second for each connection; 0 is as fast as it goes.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, Blob] = {}
        self.faults: list[Fault] = []
        self.received = 0
        self.rate = 0.0

    def begin(self, body: Mapping[str, Any], address: str) -> dict[str, str]:
        """Hand out an address and a token."""
        name = str(body.get("name") or body.get("fileName") or "")
        token = uuid.uuid4().hex
        self.blobs[token] = Blob(name=name, size=int(body.get("contentLength") or 0))
        return {"token": token, "createUrl": f"{address}/kaggle-uploads/{name}?upload_id={token}"}

    def take(self, request: Request, blocks: Iterator[bytes]) -> Page:
        """Answer one request of an upload."""
        query = urllib.parse.parse_qs(request.path.partition("?")[2])
        blob = self.blobs.get(query.get("upload_id", [""])[0])
        if blob is None:
            return Page(status=404)
        match = _SENT.fullmatch(request.headers.get("content-range", ""))
        asks = match is not None and match[1] is None and blob.size > 0
        if fault := self._due("status", 0):
            return Page(status=fault.status)
        if not asks and not blob.done:
            self._keep(blob, int(match[1]) if match is not None and match[1] else 0, blocks)
        if len(blob.data) == blob.size:
            blob.done = True
        if not blob.done:
            kept = {"Range": f"bytes=0-{len(blob.data) - 1}"} if blob.data else {}
            return Page(status=308, headers=kept)
        digest = base64.b64encode(hashlib.md5(blob.data, usedforsecurity=False).digest()).decode()
        value = {"name": blob.name, "size": str(blob.size), "md5Hash": digest}
        return Page(body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})

    def _keep(self, blob: Blob, start: int, blocks: Iterator[bytes]) -> None:
        del blob.data[start:]
        begun = time.monotonic()
        try:
            for block in blocks:
                self.received += len(block)
                at = len(blob.data)
                blob.data += block
                if fault := self._due("flip", at, at + len(block)):
                    blob.data[fault.at] ^= 1
                if self._due("reset", at, at + len(block)):
                    raise ConnectionResetError
                if self.rate:
                    time.sleep(max(0.0, begun + (len(blob.data) - start) / self.rate - time.monotonic()))
        except ConnectionError:
            if len(blob.data) < blob.size:
                del blob.data[len(blob.data) // _UNIT * _UNIT :]  # only whole units outlive a break
            raise

    def _due(self, kind: str, start: int, stop: int | None = None) -> Fault | None:
        for fault in self.faults:
            if fault.kind == kind and fault.times > 0 and (stop is None or start <= fault.at < stop):
                fault.times -= 1
                return fault
        return None

    def files(self, body: Mapping[str, Any]) -> dict[str, bytes] | str:
        """Return the files that a new version names by their paths, or what is wrong with them."""
        contents: dict[str, bytes] = {}
        todo = [("", body)]
        while todo:
            before, folder = todo.pop()
            for entry in folder.get("files") or []:
                blob = self.blobs.get(str(entry.get("token")))
                if blob is None or not blob.done:
                    return "A file token is not valid, or its upload is not complete"
                contents[before + blob.name] = bytes(blob.data)
            todo += [(f"{before}{subfolder.get('name')}/", subfolder) for subfolder in folder.get("directories") or []]
        if not contents:
            return "At least one file is required"
        return _unpacked(contents)


def _unpacked(files: dict[str, bytes]) -> dict[str, bytes]:
    """Take archives apart, as Kaggle does: an only one becomes the dataset, one among others a folder of its name."""
    made: dict[str, bytes] = {}
    for path, data in files.items():
        if not path.endswith(".zip"):
            made[path] = data
            continue
        below = "" if len(files) == 1 else f"{path.removesuffix('.zip')}/"
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            made |= {below + name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    return made


@dataclass(kw_only=True)
class Submission:
    """What was submitted to a competition.

    Attributes:
        competition: The competition.
        name: The file's name.
        message: What was said about it.
        data: The file.
        date: When, in ISO form.
        status: As Kaggle lists it: PENDING, COMPLETE or ERROR.
        score: The public score.
        error: Why it could not be scored.
    """

    competition: str
    name: str
    message: str
    data: bytes = field(repr=False)
    date: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).isoformat())
    status: str = "PENDING"
    score: str = ""
    error: str = ""
