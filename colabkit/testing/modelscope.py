"""ModelScope on this machine: what its own client asks, as the source of modelscope_hub 0.5.1 has it."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from colabkit.testing.http import FaultServer, Page, Request, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "ms-fake"  # noqa: S105 - it opens nothing but this double
_API = re.compile(r"/api/v1/(model|dataset)s/([\w.-]+/[\w.-]+)/repo(?:/(files|tree))?")


class FakeScope(FaultServer):
    """Plays modelscope.cn and its storage; set MODELSCOPE_ENDPOINT to `endpoint`.

    Attributes:
        repos: The files by "models/OWNER/NAME" or "datasets/OWNER/NAME".
        private: The names of those that only the account sees.
        most: Entries of one listing of a model; more are left out without a word, as in truth (there it is 3000).
        busy: How many calls are answered with 503 first.

    Example:
        >>> with FakeScope() as scope:
        ...     scope.repos["models/ada/net"] = {"config.json": b"{}"}
        ...     scope.endpoint.startswith("http://127.0.0.1:")
        True
    """

    def __init__(self) -> None:
        super().__init__()
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.most = 3000
        self.busy = 0

    @property
    def endpoint(self) -> str:
        """The address of ModelScope."""
        return self.url("").rstrip("/")

    def answer(self, request: Request) -> Resource | Page | None:
        """Answer one request."""
        path, _, query = request.path.partition("?")
        if path.startswith("/oss/"):
            return self.resources.get(path[1:])
        if self.busy > 0:
            self.busy -= 1
            return Page(status=503, body=b"busy")
        match = _API.fullmatch(urllib.parse.unquote(path))
        if match is None:
            return None
        name, parameters = f"{match[1]}s/{match[2]}", dict(urllib.parse.parse_qsl(query))
        signed = request.headers.get("authorization") == f"Bearer {TOKEN}"
        if name not in self.repos or (name in self.private and not signed):
            return _json({"Code": 10010205001, "Message": "record not found", "Success": False}, 404)
        if parameters.get("Revision") != "master":
            return _json({"Code": 10010205001, "Message": "revision not found", "Success": False}, 404)
        if match[3]:
            return _json({"Code": 200, "Data": {"Files": self._listed(name, match[3], parameters)}, "Success": True})
        data = self.repos[name].get(parameters.get("FilePath", ""))
        if data is None:
            return _json({"Code": 10010205001, "Message": "file not found", "Success": False}, 404)
        sha256 = hashlib.sha256(data).hexdigest()
        if f"oss/{sha256}" not in self.resources:
            self.put(f"oss/{sha256}", data)
        # Another host, as in truth: no token may go there.
        return Page(status=302, headers={"Location": f"http://localhost:{self.port}/oss/{sha256}?Signature=secret"})

    def _listed(self, name: str, verb: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        root = f"{query['Root'].strip('/')}/" if query.get("Root", "").strip("/") else ""
        deep, by_path = query.get("Recursive") == "True", {}
        for path, data in self.repos[name].items():
            parts = path.removeprefix(root).split("/") if path.startswith(root) else []
            for end in range(1, len(parts) if deep else min(len(parts), 2)):
                folder = root + "/".join(parts[:end])
                by_path[folder] = {"Path": folder, "Type": "tree", "Size": 0, "Sha256": "", "Revision": "1"}
            if parts and (deep or len(parts) == 1):
                sha256 = hashlib.sha256(data).hexdigest()
                by_path[path] = {"Path": path, "Type": "blob", "Size": len(data), "Sha256": sha256, "Revision": "1"}
        entries = list(by_path.values())
        if verb == "files":
            return entries[: self.most]
        size, number = int(query.get("PageSize", 200)), int(query.get("PageNumber", 1))
        return entries[(number - 1) * size : number * size]


def _json(value: Any, status: int = 200) -> Page:
    return Page(status=status, body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})
