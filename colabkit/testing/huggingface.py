"""The Hub of Hugging Face on this machine: what its own client asks, as that client's source has it (2.4 and 1.27)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colabkit.testing.http import FaultServer, Page, Request, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "hf_fake"  # noqa: S105 - it opens nothing but this double
LARGE = 1_000_000
"""Files from this size on are kept by the hash of their bytes, smaller ones as git keeps them."""

_API = re.compile(r"/api/(model|dataset|space)s/([\w.-]+(?:/[\w.-]+)?)(?:/(revision|preupload|commit|tree)/([^/?]+))?")
_BATCH = re.compile(r"/(?:(dataset|space)s/)?(.+?)\.git/info/lfs/objects/batch")
_RESOLVE = re.compile(r"/(?:(dataset|space)s/)?(.+?)/resolve/([^/]+)/(.+)$")


@dataclass(kw_only=True)
class Repo:
    """A repository.

    Attributes:
        files: Its files by their paths.
        private: Only the account sees it.
        gated: Its terms were not accepted by anybody.
        commits: How many commits there were.
        earlier: What it held at earlier commits.
        gitignored: Paths that its .gitignore names: the Hub's own client leaves them out without an error.
    """

    files: dict[str, bytes]
    private: bool = False
    gated: bool = False
    commits: int = 1
    earlier: dict[str, dict[str, bytes]] = field(default_factory=dict, repr=False)
    gitignored: set[str] = field(default_factory=set)

    def at(self, ref: str | None) -> dict[str, bytes] | None:
        """Return what it held at a commit, or None where there was none."""
        return self.files if ref in (None, "main", self.sha) else self.earlier.get(str(ref))

    @property
    def sha(self) -> str:
        """The commit that it is at."""
        return hashlib.sha1(f"{self.commits}".encode(), usedforsecurity=False).hexdigest()


class FakeHub(FaultServer):
    """Plays huggingface.co and its storage; set HF_ENDPOINT to `endpoint`.

    Attributes:
        repos: What there is, by "models/OWNER/NAME" or "datasets/OWNER/NAME".
        busy: How many calls are answered with 503 first.
        lost: How many commits are made without an answer that arrives.
        commits_left: How many commits are taken before the account has made too many (429); None counts none.
        uploaded: What came by LFS, by its hash.

    Example:
        >>> with FakeHub() as hub:
        ...     hub.add("models/ada/net", {"config.json": b"{}"}).commits
        1
    """

    def __init__(self) -> None:
        super().__init__()
        self.repos: dict[str, Repo] = {}
        self.busy = self.lost = 0
        self.commits_left: int | None = None
        self.uploaded: dict[str, bytes] = {}
        self._turn = threading.Lock()

    @property
    def endpoint(self) -> str:
        """The address of the Hub."""
        return self.url("").rstrip("/")

    def add(self, name: str, files: dict[str, bytes], **options: Any) -> Repo:
        """Add a repository.

        Args:
            name: As in `repos`.
            files: Its files.
            options: Fields of `Repo`.
        """
        self.repos[name] = Repo(files=files, **options)
        return self.repos[name]

    def answer(self, request: Request) -> Resource | Page | None:
        """Answer one request."""
        path = urllib.parse.unquote(request.path.partition("?")[0])
        if path.startswith("/cdn/"):
            return self.resources.get(path[1:])
        if self.busy > 0:
            self.busy -= 1
            return Page(status=503, body=b"busy")
        signed = request.headers.get("authorization") == f"Bearer {TOKEN}"
        if path == "/api/repos/create":
            with self._turn:
                return self._create(json.loads(request.body), signed=signed)
        if path.startswith("/lfs/"):
            return self._take(path.removeprefix("/lfs/"), request)
        if match := _BATCH.fullmatch(path):
            name = f"{match[1] or 'model'}s/{match[2]}"
            return self._refused(name, None, signed=signed) or self._batch(request, signed=signed)
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if match := _API.fullmatch(path):
            refused = self._refused(f"{match[1]}s/{match[2]}", match[4], signed=signed)
            return refused or self._about(match, request, signed=signed)
        if match := _RESOLVE.fullmatch(path):
            name = f"{match[1] or 'model'}s/{match[2]}"
            return self._refused(name, match[3], signed=signed, reads=True) or self._file(name, match[3], match[4])
        return None

    def _refused(self, name: str, ref: str | None, *, signed: bool, reads: bool = False) -> Page | None:
        repo = self.repos.get(name)
        if repo is None or (repo.private and not signed):
            # Nobody learns whether there is one: the Hub says 401 to who is nobody.
            return _error(404 if signed else 401, "RepoNotFound", "Repository not found")
        if repo.gated and reads:
            return _error(403 if signed else 401, "GatedRepo", "Access to this model is restricted")
        if repo.at(ref) is None:
            return _error(404, "RevisionNotFound", "Invalid rev id")
        return None

    def _file(self, name: str, ref: str, path: str) -> Resource | Page:
        repo = self.repos[name]
        data = (repo.at(ref) or {}).get(path)
        if data is None:
            return _error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": repo.sha})
        blob, sha256 = _hashes(data)
        if len(data) < LARGE:
            sha = ref if ref in repo.earlier else repo.sha
            return Resource(data=data, etag=f'"{blob}"', headers={"X-Repo-Commit": sha})
        if f"cdn/{sha256}" not in self.resources:
            self.put(f"cdn/{sha256}", data)
        headers = {
            # Another host, as in truth: the client follows no further, and no token may go there.
            "Location": f"http://localhost:{self.port}/cdn/{sha256}?X-Amz-Signature=secret",
            "X-Repo-Commit": repo.sha,
            "X-Linked-Etag": f'"{sha256}"',
            "X-Linked-Size": str(len(data)),
        }
        return Page(status=302, headers=headers)

    def _about(self, match: re.Match[str], request: Request, *, signed: bool) -> Page:
        name, verb = f"{match[1]}s/{match[2]}", match[3]
        repo = self.repos[name]
        if verb in (None, "revision"):
            sha = match[4] if match[4] in repo.earlier else repo.sha
            listed = [_entry(path, data) for path, data in (repo.at(match[4]) or {}).items()]
            about = {"id": match[2], "sha": sha, "private": repo.private, "siblings": listed}
            return _json({**about, "lastModified": "2026-11-30T12:00:00.000Z"})
        if verb == "tree":
            return _json([_leaf(path, data) for path, data in (repo.at(match[4]) or {}).items()])
        if not signed:
            return _error(401, "", "Invalid credentials")
        if verb == "preupload":
            files = json.loads(request.body)["files"]
            return _json({"files": [_planned(file, repo) for file in files]})
        with self._turn:
            return self._commit(name, request)

    def _batch(self, request: Request, *, signed: bool) -> Page:
        """Say where the bytes of large files go, as git-lfs has it."""
        if not signed:
            return _error(401, "", "Invalid credentials")
        objects = [
            {"oid": entry["oid"], "size": entry["size"]}
            if entry["oid"] in self.uploaded
            else {**entry, "actions": {"upload": {"href": self.url(f"lfs/{entry['oid']}")}}}
            for entry in json.loads(request.body)["objects"]
        ]
        return _json({"transfer": "basic", "objects": objects})

    def _take(self, oid: str, request: Request) -> Page:
        if hashlib.sha256(request.body).hexdigest() != oid:
            return _error(422, "", "The bytes are not those of this hash")
        self.uploaded[oid] = request.body
        return Page()

    def _commit(self, name: str, request: Request) -> Page:
        repo = self.repos[name]
        if self.commits_left is not None:
            if self.commits_left <= 0:
                message = "You have exceeded the rate limit for repository commits (128 per hour)."
                return _error(429, "", message, {"Retry-After": "1800"})
            self.commits_left -= 1
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        parent = next((line["value"].get("parentCommit") for line in lines if line["key"] == "header"), None)
        if parent not in (None, repo.sha):
            return _error(412, "", "A commit has happened since. Please refresh and try again.")
        after = dict(repo.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                after[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.uploaded:
                    return _error(400, "", "An LFS pointer points to a file that is missing")
                after[value["path"]] = self.uploaded[value["oid"]]
            elif line["key"] == "deletedFile" and after.pop(value["path"], None) is None:
                return _error(404, "EntryNotFound", "A file with this name doesn't exist")
        repo.earlier[repo.sha] = repo.files
        repo.files = after
        repo.commits += 1
        if self.lost > 0:
            self.lost -= 1
            return Page(status=504, body=b"gateway timeout")
        return _json(
            {
                "success": True,
                "commitOid": repo.sha,
                "commitUrl": f"{self.endpoint}/{name.removeprefix('models/')}/commit/{repo.sha}",
            }
        )

    def _create(self, body: Mapping[str, Any], *, signed: bool) -> Page:
        if not signed:
            return _error(401, "", "Invalid username or password.")
        owner = body.get("organization") or "ada"
        kind = body.get("type") or "model"
        if f"{kind}s/{owner}/{body['name']}" in self.repos:
            body_of_error = {"error": "You already created this repo", "url": f"{self.endpoint}/{owner}/{body['name']}"}
            return Page(
                status=409, body=json.dumps(body_of_error).encode(), headers={"Content-Type": "application/json"}
            )
        self.add(
            f"{kind}s/{owner}/{body['name']}",
            {},
            private=body.get("visibility") == "private" or body.get("private", False),
        )
        return _json({"url": f"{self.endpoint}/{owner}/{body['name']}"})


def _planned(file: Mapping[str, Any], repo: Repo) -> dict[str, Any]:
    """Say how a file of a commit travels, and the hash of the one that is there."""
    mode = "lfs" if file["size"] >= LARGE else "regular"
    planned = {"path": file["path"], "uploadMode": mode, "shouldIgnore": file["path"] in repo.gitignored}
    if (data := repo.files.get(file["path"])) is not None:
        planned["oid"] = _hashes(data)[len(data) >= LARGE]
    return planned


def _hashes(data: bytes) -> tuple[str, str]:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return blob, hashlib.sha256(data).hexdigest()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    blob, sha256 = _hashes(data)
    entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": blob}
    if len(data) >= LARGE:
        entry["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
    return entry


def _leaf(path: str, data: bytes) -> dict[str, Any]:
    """Describe a file as the listing of a folder does."""
    blob, sha256 = _hashes(data)
    leaf: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": blob}
    if len(data) >= LARGE:
        leaf["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 134}
    return leaf


def _json(value: Any) -> Page:
    return Page(body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Page:
    more = {"X-Error-Code": code} if code else {}
    body = json.dumps({"error": message}).encode()
    return Page(
        status=status,
        body=body,
        headers={"Content-Type": "application/json", "X-Error-Message": message, **more, **(headers or {})},
    )
