"""Google Drive on this machine: the public pages that browsers see, and the interface behind them."""

from __future__ import annotations

import email.utils
import hashlib
import html
import json
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colabkit.testing.http import Page, Request, Resource, Site, tag

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "ya29.fake-token"  # noqa: S105 - it opens nothing but this double
CREDENTIALS = {
    "type": "authorized_user",
    "client_id": "tests",
    "client_secret": "none",
    "refresh_token": "1//refresh",
    "token_uri": "https://oauth2.googleapis.com/token",
}
"""What a credentials file holds that this Drive accepts."""

FOLDER = "application/vnd.google-apps.folder"
_KINDS = {
    "application/vnd.google-apps.document": ("document", "docx"),
    "application/vnd.google-apps.spreadsheet": ("spreadsheets", "xlsx"),
    "application/vnd.google-apps.presentation": ("presentation", "pptx"),
    "application/vnd.google-apps.form": ("forms", ""),
}
_LARGE = 100_000
_SHARED_AT = 1_700_000_000.0


@dataclass(kw_only=True)
class Item:
    """A file, a folder or a document.

    Attributes:
        name: Its name.
        data: Its bytes; of a document, what it is exported as.
        mime: Its type.
        parent: The id of the folder that it lies in, or "".
        public: Anyone with the link may open it.
        quota: Too many people have, so that nobody may for a day, except by an account.
        account_quota: Accounts neither.
        resource_key: What the link needs beside the id, or "".
        target: The id that a shortcut leads to.
    """

    name: str
    data: bytes = b""
    mime: str = "application/octet-stream"
    parent: str = ""
    public: bool = True
    quota: bool = False
    account_quota: bool = False
    resource_key: str = ""
    target: str = ""


@dataclass
class FakeDrive:
    """Plays the hosts of Google Drive for `FakeWeb`.

    Attributes:
        items: What there is, by id.
        files: The bytes that are served, by id; faults go there.
        limited: How many calls of the interface are answered with "rate limit exceeded" first.
        confirmed: How many times the button of a large file was pressed.

    Example:
        >>> drive = FakeDrive()
        >>> drive.put("digits.csv", b"7,0,0") == drive.ids("digits.csv")
        True
    """

    items: dict[str, Item] = field(default_factory=dict)
    files: dict[str, Resource] = field(default_factory=dict)
    limited: int = 0
    confirmed: int = 0

    def __post_init__(self) -> None:
        self.front, self.storage, self.documents = _Front(self), _Content(self), _Documents(self)
        self.interface = _Interface(self)

    @property
    def sites(self) -> Mapping[str, Site]:
        """What each host serves."""
        return {
            "drive.google.com": self.front,
            "accounts.google.com": self.front,
            "drive.usercontent.google.com": self.storage,
            "docs.google.com": self.documents,
            "www.googleapis.com": self.interface,
            "oauth2.googleapis.com": self.interface,
        }

    def ids(self, name: str) -> str:
        """Return the id that an item of this name gets: as long and as odd as real ones."""
        return "1" + hashlib.sha256(name.encode()).hexdigest()[:31] + "_"

    def put(self, name: str, data: bytes = b"", **options: Any) -> str:
        """Add an item and return its id.

        Args:
            name: The name; the id is made of it, unless `id` is given.
            data: The bytes.
            options: Fields of `Item`, and `id`.
        """
        identity: str = options.pop("id", "") or self.ids(name)
        self.items[identity] = Item(name=name, data=data, **options)
        quoted = urllib.parse.quote(name)
        self.files[identity] = Resource(
            data=data,
            etag=None,  # Drive sends none, only a date
            modified=_SHARED_AT,
            headers={"Content-Disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{quoted}"},
        )
        return identity

    def folder(self, name: str, **options: Any) -> str:
        """Add a folder and return its id."""
        return self.put(name, mime=FOLDER, **options)

    def children(self, identity: str) -> dict[str, Item]:
        """Return what lies in a folder."""
        return {key: item for key, item in self.items.items() if item.parent == identity}

    def opened(self, query: Mapping[str, str]) -> tuple[str, Item | None]:
        """Find what a link leads to for anybody; None if it may not be opened so."""
        identity = query.get("id", "")
        item = self.items.get(identity)
        allowed = item is not None and item.public and query.get("resourcekey", "") == item.resource_key
        return identity, item if allowed else None


def _query(request: Request) -> tuple[str, dict[str, str]]:
    parts = urllib.parse.urlsplit(request.path)
    return parts.path, dict(urllib.parse.parse_qsl(parts.query))


def _page(title: str, body: str, status: int = 200) -> Page:
    text = f"<!DOCTYPE html><html><head><title>{html.escape(title)}</title></head><body>{body}</body></html>"
    return Page(status=status, body=text.encode(), headers={"Content-Type": "text/html; charset=utf-8"})


def _moved(location: str, status: int = 303) -> Page:
    return Page(status=status, headers={"Location": location, "Content-Type": "text/html; charset=utf-8"})


_SIGN_IN = "https://accounts.google.com/ServiceLogin?continue=https://drive.google.com"
_NOT_FOUND = _page("Error 404 (Not Found)!!1", "<p>The requested URL was not found on this server.</p>", 404)


class _Site(Site):
    def __init__(self, drive: FakeDrive) -> None:
        super().__init__()
        self.drive = drive


class _Front(_Site):
    def answer(self, request: Request) -> Page:
        path, query = _query(request)
        if path == "/ServiceLogin":
            return _page("Sign in - Google Accounts", "<h1>Sign in</h1> to continue to Google Drive")
        identity, item = self.drive.opened(query)
        if item is None:
            return _moved(_SIGN_IN, 302) if identity in self.drive.items else _NOT_FOUND
        if path == "/uc":
            if item.mime in _KINDS or item.mime == FOLDER:
                return _page("Error 500", "<p>Sorry, an error has occurred.</p>", 500)
            key = f"&resourcekey={item.resource_key}" if item.resource_key else ""
            return _moved(f"https://drive.usercontent.google.com/download?id={identity}&export=download{key}")
        if path == "/open":
            return _moved(_address(identity, item), 302)
        if path == "/embeddedfolderview":
            return self._listing(identity, item)
        return _NOT_FOUND

    def _listing(self, identity: str, item: Item) -> Page:
        entries = "".join(
            f'<div class="flip-entry" id="entry-{key}"><div class="flip-entry-info">'
            f'<a href="{html.escape(_address(key, child))}" target="_blank"><div class="flip-entry-visual"></div>'
            f'<div class="flip-entry-title">{html.escape(child.name)}</div></a></div>'
            f'<div class="flip-entry-last-modified"><div>{email.utils.formatdate(_SHARED_AT)[5:16]}</div></div></div>'
            for key, child in self.drive.children(identity).items()
        )
        return _page(item.name, f'<div class="flip-entries">{entries}</div>')


def _address(identity: str, item: Item) -> str:
    key = f"&resourcekey={item.resource_key}" if item.resource_key else ""
    if item.mime == FOLDER:
        return f"https://drive.google.com/drive/folders/{identity}?usp=drive_link{key}"
    if item.mime in _KINDS:
        return f"https://docs.google.com/{_KINDS[item.mime][0]}/d/{identity}/edit?usp=drive_web{key}"
    return f"https://drive.google.com/file/d/{identity}/view?usp=drive_web{key}"


class _Content(_Site):
    def answer(self, request: Request) -> Resource | Page:
        _, query = _query(request)
        identity, item = self.drive.opened(query)
        if item is None:
            return _moved(_SIGN_IN, 302)
        if item.quota:
            said = "Sorry, you can't view or download this file at this time. Too many users have viewed it recently."
            return _page("Google Drive - Quota exceeded", f'<p class="uc-error-caption">{said}</p>')
        if len(item.data) <= _LARGE or query.get("confirm") == "t":
            self.drive.confirmed += "confirm" in query
            return self.drive.files[identity]
        hidden = {**query, "confirm": "t", "uuid": "0b5ba4a2-fake"}
        inputs = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in hidden.items()
        )
        return _page(
            "Google Drive - Virus scan warning",
            '<p>Google Drive can\'t scan this file for viruses.</p><form id="download-form" '
            f'action="https://drive.usercontent.google.com/download" method="get">{inputs}'
            '<input type="submit" id="uc-download-link" value="Download anyway"></form>',
        )


class _Documents(_Site):
    def answer(self, request: Request) -> Resource | Page:
        path, query = _query(request)
        match = re.fullmatch(r"/(\w+)/d/([-\w]+)/(export|edit)", path)
        if match is None:
            return _NOT_FOUND
        identity, item = self.drive.opened({**query, "id": match[2]})
        if item is None or item.mime not in _KINDS:
            return _moved(_SIGN_IN, 302) if identity in self.drive.items else _NOT_FOUND
        if match[3] == "edit":
            return _page(f"{item.name} - Google Docs", "<div>an editor</div>")
        return _exported(item, query.get("format", "docx"))


def _exported(item: Item, ending: str) -> Resource:
    data = item.data + f" as {ending}".encode()
    return Resource(
        data=data, modified=None, headers={"Content-Disposition": f'attachment; filename="{item.name}.{ending}"'}
    )


class _Interface(_Site):
    """Drive API v3, as far as fetching needs it, and the token that a credentials file is good for."""

    def answer(self, request: Request) -> Resource | Page:
        path, query = _query(request)
        if path == "/token":
            return _json({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _refused(401, "authError", "Invalid Credentials")
        if self.drive.limited > 0:
            self.drive.limited -= 1
            return _refused(403, "userRateLimitExceeded", "User Rate Limit Exceeded")
        keys = request.headers.get("x-goog-drive-resource-keys", "")
        if path == "/drive/v3/files":
            return self._list(query, keys)
        match = re.fullmatch(r"/drive/v3/files/([-\w]+)(/export)?", path)
        item = self.drive.items.get(match[1]) if match else None
        if match is None or item is None or (item.resource_key and f"{match[1]}/{item.resource_key}" not in keys):
            return _refused(404, "notFound", "File not found.")
        if match[2]:
            return _exported(item, query.get("mimeType", ""))
        if query.get("alt") != "media":
            return _json(self._about(match[1], item))
        if item.account_quota:
            return _refused(403, "downloadQuotaExceeded", "The download quota for this file has been exceeded.")
        served = self.drive.files[match[1]]
        served.etag = tag(served.data)
        return served

    def _list(self, query: Mapping[str, str], keys: str) -> Page:
        match = re.match(r"'([-\w]+)' in parents", query.get("q", ""))
        folder = match[1] if match and match[1] != "root" else ""
        parent = self.drive.items.get(folder)
        if parent is not None and parent.resource_key and f"{folder}/{parent.resource_key}" not in keys:
            return _refused(404, "notFound", "File not found: .")
        quoted = re.findall(r"name = '((?:[^'\\]|\\.)*)'", query.get("q", ""), re.DOTALL)
        names = {re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL) for name in quoted}
        children = [(key, item) for key, item in self.drive.children(folder).items() if not names or item.name in names]
        at, size = int(query.get("pageToken", "0")), 40
        value: dict[str, Any] = {"files": [self._about(key, item) for key, item in children[at : at + size]]}
        if at + size < len(children):
            value["nextPageToken"] = str(at + size)
        return _json(value)

    def _about(self, identity: str, item: Item) -> dict[str, Any]:
        about: dict[str, Any] = {
            "id": identity,
            "name": item.name,
            "mimeType": "application/vnd.google-apps.shortcut" if item.target else item.mime,
            "modifiedTime": "2023-11-14T22:13:20.000Z",
        }
        if item.resource_key:
            about["resourceKey"] = item.resource_key
        if item.target:
            target = self.drive.items.get(item.target, Item(name=""))
            key = {"targetResourceKey": target.resource_key} if target.resource_key else {}
            about["shortcutDetails"] = {"targetId": item.target, "targetMimeType": target.mime, **key}
        elif not item.mime.startswith("application/vnd.google-apps."):
            about["size"] = str(len(item.data))
            about["md5Checksum"] = hashlib.md5(item.data, usedforsecurity=False).hexdigest()
        return about


def _json(value: Mapping[str, Any], status: int = 200) -> Page:
    return Page(status=status, body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def _refused(status: int, reason: str, message: str) -> Page:
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return _json({"error": error}, status)
