"""The part of the Drive API that lists files, answered from a folder: what a `DriveFolder`'s cloud has."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

_FOLDER = "application/vnd.google-apps.folder"
_QUERY = re.compile(
    r"'(?P<parent>(?:[^'\\]|\\.)*)' in parents and trashed = false(?: and \((?P<names>.*)\))?", re.DOTALL
)
_NAME = re.compile(r"name = '((?:[^'\\]|\\.)*)'", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class DriveApiServer:
    """Serves `files` of the Drive API v3 on 127.0.0.1 from a folder, for a `with` statement.

    Set `COLABKIT_DRIVE_API` to its `url`. A file or folder whose name ends with `~2` is shown under the name without
    it: Drive allows one name twice in a folder, and Linux does not.

    Attributes:
        folder: What stands for My Drive.
        status: The answer to all requests; change it to refuse them.
        requests: The queries that were asked.
        page_size: How many entries a page holds at most.

    Args:
        folder: The folder, for example `DriveFolder.cloud`.
    """

    def __init__(self, folder: Path, *, page_size: int = 100) -> None:
        self.folder, self.status, self.page_size = Path(folder), 200, page_size
        self.requests: list[str] = []
        outer = self

        class Handler(_Handler):
            api = outer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, params: dict[str, str]) -> dict[str, Any]:
        """Answer one query, a page of it."""
        query = params["q"]
        self.requests.append(query)
        match = _QUERY.fullmatch(query)
        if match is None:
            raise ValueError(f"this query is not known to the double: {query}")
        parent = self._place(_plain(match["parent"]))
        names = None if match["names"] is None else {_plain(name) for name in _NAME.findall(match["names"])}
        entries = sorted(parent.iterdir()) if parent.is_dir() else []
        found = [entry for entry in entries if names is None or _shown(entry) in names]
        start = int(params.get("pageToken", 0))
        page = found[start : start + min(self.page_size, int(params.get("pageSize", 100)))]
        more = {"nextPageToken": str(start + len(page))} if start + len(page) < len(found) else {}
        return {"files": [self._entry(entry) for entry in page], **more}

    def _place(self, identity: str) -> Path:
        return self.folder if identity == "root" else self.folder / identity.removeprefix("id:")

    def _entry(self, path: Path) -> dict[str, str]:
        found = {"id": f"id:{path.relative_to(self.folder)}", "name": _shown(path)}
        if path.is_dir():
            return {**found, "mimeType": _FOLDER}
        data = path.read_bytes()
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return {**found, "mimeType": "application/octet-stream", "md5Checksum": md5, "size": str(len(data))}


class _Handler(BaseHTTPRequestHandler):
    api: DriveApiServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Stay silent."""

    def do_GET(self) -> None:
        split = urllib.parse.urlsplit(self.path)
        params = dict(urllib.parse.parse_qsl(split.query))
        status = self.api.status if split.path == "/files" else 404
        value = self.api.answer(params) if status == 200 else {"error": {"message": f"refused with {status}"}}
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _shown(path: Path) -> str:
    return path.name.removesuffix("~2")
