"""Kaggle on this machine: its interface, and the storage that its signed addresses lead to."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import urllib.parse
import zipfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from colabkit.testing._kaggle_uploads import Blobs, Submission
from colabkit.testing.http import Page, Request, Resource, Site, tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

USER, KEY, TOKEN = "ada", "0123456789abcdef", "KGAT_fedcba9876543210"
REFRESH = "KGRT_0011223344556677"
"""An account that every `FakeKaggle` knows."""

LICENSES = (None, "Apache 2.0", "MIT", "CC0: Public Domain", "Attribution 4.0 International (CC BY 4.0)")
"""The licenses that the double knows for a model's variation; None is what kagglehub sends for none."""

_TAKES = frozenset(
    {
        *("StartBlobUpload", "CreateDataset", "CreateDatasetVersion"),
        *("StartSubmissionUpload", "CreateSubmission", "ListSubmissions"),
        *("GetModel", "CreateModel", "CreateModelInstance", "CreateModelInstanceVersion"),
    }
)


@dataclass(kw_only=True)
class Bundle:
    """A dataset, a competition or the version of a model.

    Attributes:
        files: Its files by their paths.
        version: Its number.
        private: An account is needed.
        consent: What has to be accepted on its page first, or "".
        zipped: The single files that are kept as a zip each.
        notes: What was said about this version.
        about: What it was made with.
        earlier: The files of versions before this one, by their numbers.
    """

    files: dict[str, bytes]
    version: int = 1
    private: bool = False
    consent: str = ""
    zipped: frozenset[str] = frozenset()
    notes: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    earlier: Mapping[int, dict[str, bytes]] = field(default_factory=dict)


class Storage(Site):
    """Google's storage behind signed addresses: no key, no file; a key may live for a number of requests only.

    Attributes:
        uploads: What is sent here, and what goes wrong with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.uploads = Blobs()
        self._lives: dict[str, int | None] = {}

    def keep(self, name: str, data: bytes) -> Resource:
        """Hold a file with the hash that Google's storage tells, with a 206 too by this interface, unlike its JSON one.

        The same file keeps its faults.
        """
        stored = self.resources.get(name)
        if stored is not None and stored.etag == tag(data):
            return stored
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        return self.put(name, data, headers={"x-goog-hash": f"md5={digest}", "Accept-Ranges": "bytes"})

    def grant(self, lives: int = 0) -> str:
        """Make the query of a signed address, which may be used `lives` times; 0 is for ever."""
        key = f"{len(self._lives):08x}"
        self._lives[key] = lives or None
        return f"X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Expires=345600&X-Goog-Signature={key}"

    def take(self, request: Request, blocks: Iterator[bytes]) -> Page:
        """Take a file from whoever knows the address of its upload."""
        return self.uploads.take(request, blocks)

    def answer(self, request: Request) -> Resource | Page | None:
        """Serve a file to whoever has a key that is still good."""
        path, _, query = request.path.partition("?")
        key = urllib.parse.parse_qs(query).get("X-Goog-Signature", [""])[0]
        with self.lock:
            left = self._lives.get(key, 0)
            if left:
                self._lives[key] = left - 1
        if left == 0:
            text = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>The provided token has expired."
            return Page(status=400, body=text, headers={"Content-Type": "application/xml"})
        return self.resources.get(urllib.parse.unquote(path).lstrip("/"))


@dataclass
class FakeKaggle:
    """Plays api.kaggle.com and storage.googleapis.com for `FakeWeb`.

    Attributes:
        bundles: What there is, by "datasets/OWNER/NAME", "competitions/NAME", "code/OWNER/NOTEBOOK" or
            "models/OWNER/MODEL/FRAMEWORK/VARIATION".
        submissions: What was submitted, newest last.
        calls: The calls of the interface that were answered, with what was sent.
        storage: The files that signed addresses lead to; faults go there.
        valid_for: How many requests a signed address lives; 0 is for ever.
        busy: How many calls are answered with 429 first.
        lost: How many versions and submissions are made without an answer that arrives.
        scores: What becomes of the newest submission after each listing: its status, and its score.
        models: The models that were made, by "OWNER/MODEL", with what was told about them.
        hides: What is not there is refused with 403, like what is private, instead of 404.
        address: What stands before the path of a signed address.

    Example:
        >>> kaggle = FakeKaggle()
        >>> _ = kaggle.put("datasets/ada/digits", {"digits.csv": b"7,0,0"})
        >>> sorted(kaggle.sites)
        ['api.kaggle.com', 'storage.googleapis.com', 'www.kaggle.com']
    """

    bundles: dict[str, Bundle] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    storage: Storage = field(default_factory=Storage)
    valid_for: int = 0
    busy: int = 0
    lost: int = 0
    hides: bool = False
    submissions: list[Submission] = field(default_factory=list)
    scores: list[tuple[str, str]] = field(default_factory=list)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    address: str = "https://storage.googleapis.com"

    def __post_init__(self) -> None:
        self._api = _Interface(self)

    @property
    def sites(self) -> Mapping[str, Site]:
        """What each host serves."""
        return {"api.kaggle.com": self._api, "www.kaggle.com": self._api, "storage.googleapis.com": self.storage}

    @property
    def seen(self) -> list[Any]:
        """The requests to the interface that are over."""
        return self._api.seen

    def put(self, name: str, files: dict[str, bytes], **options: Any) -> Bundle:
        """Add something to fetch.

        Args:
            name: As in `bundles`.
            files: Its files by their paths.
            options: Fields of `Bundle`.
        """
        self.bundles[name] = Bundle(files=files, **options)
        return self.bundles[name]

    def sign(self, name: str, file: str, version: int | None = None) -> str | None:
        """Put what is asked for into the storage and return its signed address; None if there is no such file."""
        bundle = self.bundles[name]
        if version not in (None, bundle.version):
            if version not in bundle.earlier:
                return None
            bundle = replace(bundle, files=bundle.earlier[version], version=version)
        if not bundle.files:
            return None
        if not file:
            data, stored = packed(bundle.files), f"kaggle-data-sets/{name}/{bundle.version}/bundle/archive.zip"
        elif file not in bundle.files:
            return None
        else:
            zipped = file in bundle.zipped
            last = file.rpartition("/")[2]
            data = packed({last: bundle.files[file]}) if zipped else bundle.files[file]
            stored = f"kaggle-data-sets/{name}/{bundle.version}/{file}" + (".zip" if zipped else "")
        self.storage.keep(stored, data)
        return f"{self.address}/{urllib.parse.quote(stored)}?{self.storage.grant(self.valid_for)}"


def packed(files: Mapping[str, bytes]) -> bytes:
    """Make a zip of files, the same bytes each time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


class _Interface(Site):
    """What Kaggle's own programs call: POST SERVICE/METHOD with a piece of JSON."""

    def __init__(self, kaggle: FakeKaggle) -> None:
        super().__init__()
        self._kaggle = kaggle

    def answer(self, request: Request) -> Page:
        """Answer one call."""
        method = request.path.rpartition("/v1/")[2]
        try:
            body = json.loads(request.body or b"{}")
        except ValueError:
            return _message_page(400, "no JSON")
        self._kaggle.calls.append((method, body))
        if self._kaggle.busy > 0:
            self._kaggle.busy -= 1
            return _message_page(429, "Too many requests", {"Retry-After": "1"})
        account = _account(request.headers.get("authorization", ""))
        if account is None:
            return _message_page(401, "Unauthenticated")
        if method == "users.AccountService/GenerateAccessToken":
            if body.get("refreshToken") != REFRESH:
                return _message_page(401, "Invalid refresh token")
            return _json({"token": TOKEN, "expiresIn": 43200})
        if method == "security.OAuthService/IntrospectToken":
            return _json({"active": body.get("token") == TOKEN, "username": USER})
        call = method.rpartition("/")[2]
        if call in _TAKES:
            return self._take(call, body) if account else _message_page(401, "Unauthenticated")
        name, file = _name_and_file(body)
        bundle = self._kaggle.bundles.get(name)
        if bundle is None:
            return (
                _message_page(403, "Permission was denied") if self._kaggle.hides else _message_page(404, "Not found")
            )
        if (bundle.private or name.startswith("competitions/")) and not account:
            return _message_page(401, "Unauthenticated")
        return self._about(bundle, name, file, call, body)

    def _take(self, call: str, body: Mapping[str, Any]) -> Page:
        kaggle, uploads = self._kaggle, self._kaggle.storage.uploads
        if call == "StartBlobUpload":
            return _json(uploads.begin(body, kaggle.address))
        if "competitionName" in body:
            return self._submit(call, body)
        if "Model" in call:
            return self._take_model(call, body)
        owner, slug = str(body.get("ownerSlug")), str(body.get("datasetSlug") or body.get("slug"))
        if owner != USER:
            return _message_page(403, "Permission 'datasets.update' was denied")
        name, content = f"datasets/{owner}/{slug}", body if call == "CreateDataset" else body.get("body") or {}
        old = kaggle.bundles.get(name)
        if call == "CreateDataset" and old is not None:
            return _json({"status": "error", "error": f'The requested title "{slug}" is already in use by a dataset.'})
        if call == "CreateDatasetVersion" and old is None:
            return _message_page(404, "Dataset not found")
        files = uploads.files(content)
        if isinstance(files, str):
            return _json({"status": "error", "error": files})
        about = {key: value for key, value in content.items() if key not in ("files", "directories")}
        version = 1 if old is None else old.version + 1
        notes = str(content.get("versionNotes", ""))
        private = bool(content.get("isPrivate")) if old is None else old.private
        kaggle.put(name, files, version=version, private=private, notes=notes, about=about)
        return self._done({"status": "ok", "ref": f"{owner}/{slug}", "url": f"https://www.kaggle.com/{owner}/{slug}"})

    def _take_model(self, call: str, body: Mapping[str, Any]) -> Page:
        kaggle, owner = self._kaggle, str(body.get("ownerSlug"))
        slug = str(body.get("slug") or body.get("modelSlug"))
        model = f"{owner}/{slug}"
        known = model in kaggle.models or any(name.startswith(f"models/{model}/") for name in kaggle.bundles)
        if call == "GetModel":
            if not known:
                return _message_page(403, "Permission was denied") if kaggle.hides else _message_page(404, "Not found")
            return _json({"ref": model, "slug": slug})
        if owner != USER:
            return _message_page(403, "Permission 'models.update' was denied")
        if call == "CreateModel":
            if known:
                return _json({"error": f'The slug "{slug}" is already in use.', "errorCode": 409})
            kaggle.models[model] = dict(body)
            return self._done({"ref": model, "url": f"https://www.kaggle.com/models/{model}"})
        if not known:
            return _message_page(404, "Model not found")
        content = body.get("body") or {}
        name, _ = _name_and_file({**content, **body})
        old = kaggle.bundles.get(name)
        if call == "CreateModelInstance":
            if old is not None:
                return _json({"error": "Already exists", "errorCode": 409})
            if content.get("licenseName") not in LICENSES:
                return _json({"error": f"The license '{content.get('licenseName')}' is not valid", "errorCode": 400})
        elif old is None:
            return _message_page(404, "Model instance not found")
        files = kaggle.storage.uploads.files(content)
        if isinstance(files, str):
            return _json({"error": files, "errorCode": 400})
        about = {key: value for key, value in content.items() if key not in ("files", "directories")}
        version, notes = 1 if old is None else old.version + 1, str(content.get("versionNotes", ""))
        kaggle.put(name, files, version=version, private=True, notes=notes, about=about)
        return self._done({"ref": name.removeprefix("models/"), "url": f"https://www.kaggle.com/{name}"})

    def _submit(self, call: str, body: Mapping[str, Any]) -> Page:
        kaggle, uploads, name = self._kaggle, self._kaggle.storage.uploads, str(body["competitionName"])
        bundle = kaggle.bundles.get(f"competitions/{name}")
        if bundle is None:
            return _message_page(404, "Not found")
        if bundle.consent:
            return _message_page(403, bundle.consent)
        if call == "StartSubmissionUpload":
            return _json(uploads.begin(body, kaggle.address))
        if call == "ListSubmissions":
            mine = [submission for submission in reversed(kaggle.submissions) if submission.competition == name]
            listed = [
                {
                    "fileName": submission.name,
                    "description": submission.message,
                    "date": submission.date,
                    "status": submission.status,
                    "publicScore": submission.score,
                    "errorDescription": submission.error,
                }
                for submission in mine
            ]
            for submission, (status, score) in zip(mine[:1], kaggle.scores[:1], strict=False):
                submission.status, submission.score = status, score
                del kaggle.scores[0]
            return _json({"submissions": listed, "nextPageToken": ""})
        blob = uploads.blobs.get(str(body.get("blobFileTokens")))
        if blob is None or not blob.done:
            return _message_page(400, "The file token is not valid")
        message = str(body.get("submissionDescription", ""))
        kaggle.submissions.append(Submission(competition=name, name=blob.name, message=message, data=bytes(blob.data)))
        return self._done({"message": f"Successfully submitted to {name}", "ref": len(kaggle.submissions)})

    def _done(self, value: Mapping[str, Any]) -> Page:
        if self._kaggle.lost > 0:
            self._kaggle.lost -= 1
            raise ConnectionResetError
        return _json(value)

    def _about(self, bundle: Bundle, name: str, file: str, method: str, body: Mapping[str, Any]) -> Page:
        if method in ("GetDataset", "GetModelInstance"):
            return _json({"currentVersionNumber": bundle.version, "versionNumber": bundle.version})
        if method == "GetKernel":
            return _json({"metadata": {"currentVersionNumber": bundle.version}})
        if method == "GetDatasetStatus":
            return _json({"status": "ready"})
        if method == "GetDatasetMetadata":
            return _json({"info": {"licenses": []}})
        if method in ("ListDatasetFiles", "ListModelInstanceVersionFiles"):
            listed = [{"name": path, "totalBytes": len(data)} for path, data in bundle.files.items()]
            return _json({"datasetFiles": listed, "files": listed, "nextPageToken": ""})
        if bundle.consent:
            return _message_page(403, bundle.consent)
        requested = body.get("datasetVersionNumber", body.get("versionNumber", bundle.version))
        location = self._kaggle.sign(name, file, requested)
        if location is None:
            return _message_page(404, "Not found")
        return Page(status=302, headers={"Location": location})


def _account(authorization: str) -> str | None:
    """Return who asks: "" for nobody, None for somebody whose credentials are wrong."""
    if not authorization:
        return ""
    basic = "Basic " + base64.b64encode(f"{USER}:{KEY}".encode()).decode()
    return USER if authorization in (basic, f"Bearer {TOKEN}") else None


def _name_and_file(body: Mapping[str, Any]) -> tuple[str, str]:
    file = str(body.get("fileName") or body.get("path") or body.get("filePath") or "")
    if "kernelSlug" in body:
        return f"code/{body.get('ownerSlug') or body.get('userName')}/{body['kernelSlug']}", file
    if "competitionName" in body:
        return f"competitions/{body['competitionName']}", file
    if "datasetSlug" in body:
        return f"datasets/{body.get('ownerSlug')}/{body['datasetSlug']}", file
    framework = str(body.get("framework", "")).removeprefix("MODEL_FRAMEWORK_").lower()
    parts = (body.get("ownerSlug"), body.get("modelSlug"), framework, body.get("instanceSlug"))
    return "models/" + "/".join(map(str, parts)), file


def _json(value: Mapping[str, Any]) -> Page:
    return Page(body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def _message_page(status: int, message: str, headers: Mapping[str, str] | None = None) -> Page:
    body = json.dumps({"code": status, "message": message}).encode()
    return Page(status=status, body=body, headers={"Content-Type": "application/json", **(headers or {})})
