"""Google Drive's interface, for what is not public: files of the user's own, and of others who let them in."""

from __future__ import annotations

import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._clients import google_auth
from colabkit._clients.gdrive.interface import DriveInterface
from colabkit._http.json_api import ApiResponse, ask, unexpected
from colabkit._http.types import RemoteFile, RequestSpec
from colabkit._internal.disk.checksum import DIGITS, Checksum
from colabkit.errors import AccessError, BusyError, MissingDependencyError, NotFoundError, TransferError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import requests

API = "https://www.googleapis.com/drive/v3/files"
DRIVES = "https://www.googleapis.com/drive/v3/drives"
SCOPE = "https://www.googleapis.com/auth/drive.readonly"
SCOPE_TO_WRITE = "https://www.googleapis.com/auth/drive"
_SIGN_IN = (
    "in Colab run: from google.colab import auth; auth.authenticate_user() - elsewhere run: gcloud auth "
    "application-default login --scopes={},https://www.googleapis.com/auth/cloud-platform"
)
SIGN_IN = _SIGN_IN.format(SCOPE)
SIGN_IN_TO_WRITE = _SIGN_IN.format(SCOPE_TO_WRITE)
FLAGGED = "only its owner may download it: ask them to send it in another way, or to have it reviewed on its page"
FOLDER = "application/vnd.google-apps.folder"
_SHORTCUT = "application/vnd.google-apps.shortcut"
FIELDS = "id,name,mimeType,size,md5Checksum,sha256Checksum,modifiedTime,resourceKey,shortcutDetails,headRevisionId"
_BUSY = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "downloadQuotaExceeded", "sharingRateLimitExceeded"})
_WHO_ASKS = frozenset({"authorization", "x-goog-user-project"})
"""Of what google-auth sends; without a project, Drive refuses what gcloud's sign-in asks for."""
_NAMES_AT_ONCE = 20
_MOST_PAGES = 10_000
_MOST_WORDS = 1 << 16

_OFFICE = "application/vnd.openxmlformats-officedocument."
_EXPORT_TYPES = {
    "docx": f"{_OFFICE}wordprocessingml.document",
    "xlsx": f"{_OFFICE}spreadsheetml.sheet",
    "pptx": f"{_OFFICE}presentationml.presentation",
    "pdf": "application/pdf",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "application/zip",
    "png": "image/png",
    "svg": "image/svg+xml",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
}
NATIVE = {
    "application/vnd.google-apps.document": "docx",
    "application/vnd.google-apps.spreadsheet": "xlsx",
    "application/vnd.google-apps.presentation": "pptx",
    "application/vnd.google-apps.drawing": "png",
}
"""The documents of Google's own that can be exported, and as what."""


class DriveAccount:
    """The user's Google account, as google-auth finds it.

    Args:
        credentials: What google-auth has found.
        sign_in: How to sign in where they are refused.
    """

    def __init__(self, credentials: Any, *, sign_in: str = SIGN_IN) -> None:
        self._credentials = credentials
        self._sign_in = sign_in
        self._interface = DriveInterface(credentials, sign_in=sign_in)

    def headers(self) -> dict[str, str]:
        """Return the headers that say who asks, with a token that is still good: the engine moves the bytes.

        Raises:
            AccessError: The sign-in is no longer valid.
            OfflineError: It cannot be renewed without a network.
        """
        headers: dict[str, str] = {}
        with google_auth.translated(self._sign_in):
            self._credentials.before_request(google_auth.transport(), "GET", API, headers)
        return {name.title(): value for name, value in headers.items() if name.lower() in _WHO_ASKS}

    def send(
        self, method: str, url: str, headers: Mapping[str, str], data: Any, shown: str, *, read: float
    ) -> requests.Response:
        """Send one request to the interface; a token that is refused is renewed, once.

        Raises:
            TransientError: No answer came.
            TransferError: It cannot be sent.
        """
        return self._interface.request(method, url, headers, data, shown, read=read)

    def about(self, file: str, resource_key: str = "") -> dict[str, Any]:
        """Ask for what is known of a file; a shortcut stands for what it leads to.

        Raises:
            NotFoundError: There is none that this account may see.
            AccessError: It is refused.
            BusyError: Drive limits the account.
        """
        return self.followed(self._about(file, resource_key))

    def followed(self, about: dict[str, Any]) -> dict[str, Any]:
        """Return what a shortcut leads to, with the key that opens it; what is no shortcut comes back as it is."""
        details = about.get("shortcutDetails")
        target = details.get("targetId") if isinstance(details, dict) else None
        if about.get("mimeType") != _SHORTCUT or not isinstance(details, dict) or not target:
            return about
        return self._about(str(target), str(details.get("targetResourceKey", "")))  # Drive has none to a shortcut

    def _about(self, file: str, resource_key: str) -> dict[str, Any]:
        query = {"fields": FIELDS, "supportsAllDrives": "true"}
        value = self._ask(f"{API}/{_quoted(file)}", query, file, resource_key)
        return {"resourceKey": resource_key, **value} if resource_key else value

    def children(self, folder: str, resource_key: str = "", *, names: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """Ask for what lies in a folder, page by page; raises as `about` does.

        Args:
            folder: The folder.
            resource_key: As in `about`.
            names: Ask for what has one of these names only.
        """
        for start in range(0, len(names), _NAMES_AT_ONCE) if names else (0,):
            some = names[start : start + _NAMES_AT_ONCE]
            yield from self._children(folder, resource_key, " or ".join(f"name = {_text(name)}" for name in some))

    def _children(self, folder: str, resource_key: str, condition: str) -> Iterator[dict[str, Any]]:
        query = {
            "q": f"'{folder}' in parents and trashed = false" + (f" and ({condition})" if condition else ""),
            "fields": f"nextPageToken,files({FIELDS})",
            "pageSize": "1000",
            "supportsAllDrives": "true",
            "includeItemsFromAllDrives": "true",
            "orderBy": "name",
        }
        for _ in range(_MOST_PAGES):
            value = self._ask(API, query, folder, resource_key)
            files = value.get("files")
            yield from (file for file in files if isinstance(file, dict)) if isinstance(files, list) else ()
            token = value.get("nextPageToken")
            if not isinstance(token, str) or not token:
                return
            query["pageToken"] = token

    def shared_drives(self) -> Iterator[dict[str, Any]]:
        """Ask for the shared drives that the account sees, each as the folder that it is; raises as `about` does."""
        query = {"fields": "nextPageToken,drives(id,name)", "pageSize": "100"}
        for _ in range(_MOST_PAGES):
            value = self._ask(DRIVES, query, "the shared drives", "")
            drives = value.get("drives")
            for drive in drives if isinstance(drives, list) else ():
                if isinstance(drive, dict) and drive.get("id"):
                    yield {"id": str(drive["id"]), "name": str(drive.get("name", "")), "mimeType": FOLDER}
            token = value.get("nextPageToken")
            if not isinstance(token, str) or not token:
                return
            query["pageToken"] = token

    def child(self, folder: str, name: str, resource_key: str = "") -> dict[str, Any]:
        """Ask for what has a name in a folder, {} if nothing has; of several the one that was changed last.

        Args:
            folder: The folder.
            name: The name.
            resource_key: The folder's, as in `about`.
        """
        query = {
            "q": f"'{folder}' in parents and name = {_text(name)} and trashed = false",
            "fields": f"files({FIELDS})",
            "orderBy": "modifiedTime desc",
            "pageSize": "1",
            "supportsAllDrives": "true",  # a shortcut may lead to a folder of a shared drive
            "includeItemsFromAllDrives": "true",
        }
        files = self._ask(API, query, folder, resource_key).get("files")
        return self.followed(files[0] if isinstance(files, list) and files and isinstance(files[0], dict) else {})

    def remote(self, about: Mapping[str, Any], export_format: str, display: str) -> RemoteFile:
        """Return where a file can be had, with the hash that Drive knows; a document is exported.

        Args:
            about: What `about` or `child` gave; the key that opens it is in it.
            export_format: The format for a document, or "".
            display: What it is called in messages.
        """
        file, name = str(about.get("id", "")), str(about.get("name", "")).replace("/", "_")  # an ordinary letter there
        key = _key_header(file, str(about.get("resourceKey", "")))
        native = NATIVE.get(str(about.get("mimeType", "")))
        if native is not None:
            ending = export_format or native
            kind = urllib.parse.quote(_EXPORT_TYPES.get(ending, "application/pdf"), safe="")
            url = f"{API}/{_quoted(file)}/export?mimeType={kind}"
            headers = {**self.headers(), **key}
            return RemoteFile(target=RequestSpec(url=url, headers=headers), shown=display, name=f"{name}.{ending}")
        url = f"{API}/{_quoted(file)}?alt=media&supportsAllDrives=true"
        what = f"cannot fetch {display}"
        asked = {**key, "Range": "bytes=0-0"}
        reply = ask(url, what=what, headers=asked, most=_MOST_WORDS, client=self._interface)
        if reply.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise refusal(reply, what)
        return RemoteFile(
            target=RequestSpec(url=url, headers={**self.headers(), **key}),  # with the token that was good just now
            shown=display,
            name=name,
            page_expected=True,
            checksum=_hash(about),
        )

    def _ask(self, address: str, query: Mapping[str, str], file: str, resource_key: str) -> dict[str, Any]:
        what = f"cannot ask Google Drive about {file}"
        url = f"{address}?{urllib.parse.urlencode(query)}"
        reply = ask(url, what=what, headers=_key_header(file, resource_key), client=self._interface)
        if reply.status == HTTPStatus.OK:
            return reply.value()
        raise refusal(reply, what)


def refusal(reply: ApiResponse, what: str) -> TransferError:
    """Turn a refusal of Drive's interface into words."""
    error = reply.value().get("error")
    reasons = error.get("errors", []) if isinstance(error, dict) else []
    reason = (
        reasons[0].get("reason", "") if isinstance(reasons, list) and reasons and isinstance(reasons[0], dict) else ""
    )
    if reason in _BUSY or reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return BusyError(what, why=reply.words() or reason, hint="wait a while, at most a day, then run it again")
    if reply.status == HTTPStatus.NOT_FOUND:
        return NotFoundError(
            "Google Drive has no such file for this account",
            why=reply.words() or "it does not exist, or is not shared with the account that is signed in",
            hint="check the link, and the account",
        )
    if reason == "cannotDownloadAbusiveFile":
        return AccessError("Google Drive has flagged this file", why=reply.words() or reason, hint=FLAGGED)
    if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AccessError("Google Drive refuses this account", why=reply.words(), hint=SIGN_IN)
    return unexpected(what, reply)


def account(env: Mapping[str, str] | None = None, *, write: bool = False) -> DriveAccount | None:
    """Find the account that is signed in on this machine; None where there is none, or google-auth is missing.

    Args:
        env: The environment.
        write: Ask for the right to change files, too.
    """
    env = config.environment(env)
    sign_in = SIGN_IN_TO_WRITE if write else SIGN_IN
    try:
        credentials = google_auth.find(SCOPE_TO_WRITE if write else SCOPE, env, extra="drive", do=sign_in)
    except MissingDependencyError:
        return None
    return None if credentials is None else DriveAccount(credentials, sign_in=sign_in)


def _hash(about: Mapping[str, Any]) -> Checksum | None:
    for key, algorithm in (("sha256Checksum", "sha256"), ("md5Checksum", "md5")):
        digits = about.get(key)
        if isinstance(digits, str) and len(digits) == DIGITS[algorithm] and digits.isalnum():
            return Checksum(algorithm=algorithm, digits=digits.lower())
    return None


def _key_header(file: str, key: str) -> dict[str, str]:
    return {"X-Goog-Drive-Resource-Keys": f"{file}/{key}"} if key else {}


def _text(name: str) -> str:
    r"""Write a name as Drive's queries have it.

    Example:
        >>> print(_text("it's"))
        'it\'s'
    """
    quoted = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{quoted}'"


def _quoted(file: str) -> str:
    return urllib.parse.quote(file, safe="")
