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

from colabkit.testing.http import Page, Request, Resource, Site

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
        refusal: What a page says instead of giving it out, or "".
        old_page: The page before a large file is of an older make, as gdown's reader has it.
        quota: Too many people have, so that nobody may for a day, except by an account.
        account_quota: Accounts neither.
        resource_key: What the link needs beside the id, or "".
        target: The id that a shortcut leads to.
        shared_drive: The id of the shared drive that it lies in, as its folder does, or ""; a shared drive's own id.
        revision: Tells this content from all others that the file had.
        modified: When the content came, in seconds since 1970.
    """

    name: str
    data: bytes = b""
    mime: str = "application/octet-stream"
    parent: str = ""
    public: bool = True
    refusal: str = ""
    old_page: bool = False
    quota: bool = False
    account_quota: bool = False
    resource_key: str = ""
    target: str = ""
    shared_drive: str = ""
    revision: str = "rev-0"
    modified: float = _SHARED_AT


@dataclass
class FakeDrive:
    """Plays the hosts of Google Drive for `FakeWeb`.

    Attributes:
        items: What there is, by id.
        files: The bytes that are served, by id; faults go there.
        limited: How many calls of the interface are answered with "rate limit exceeded" first.
        confirmed: How many times the button of a large file was pressed.
        quota: The bytes that all files and old revisions together may have.
        trash: The ids of files that were put there instead of being deleted.
        revisions: The old contents that still count, by the file's id and their revision.
        cuts: For the next requests that send bytes: how many of them arrive before a 503; None lets one through.
        lost: How many answers to complete uploads get lost on the way, as a 503.
        token: The one that opens it; `expire` takes it back.

    Example:
        >>> drive = FakeDrive()
        >>> drive.put("digits.csv", b"7,0,0") == drive.ids("digits.csv")
        True
    """

    items: dict[str, Item] = field(default_factory=dict)
    files: dict[str, Resource] = field(default_factory=dict)
    limited: int = 0
    confirmed: int = 0
    quota: float = 15e9
    trash: set[str] = field(default_factory=set)
    revisions: dict[tuple[str, str], bytes] = field(default_factory=dict)
    cuts: list[int | None] = field(default_factory=list)
    lost: int = 0
    token: str = TOKEN

    def __post_init__(self) -> None:
        from colabkit.testing._google_drive.api import Interface

        self.front, self.storage, self.documents = _Front(self), _Content(self), _Documents(self)
        self.interface = Interface(self)

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

    @property
    def used(self) -> int:
        """The bytes that count against the quota."""
        return sum(len(item.data) for item in self.items.values()) + sum(map(len, self.revisions.values()))

    def expire(self) -> None:
        """Take the token back before its time, as a sign-out does; whoever asks for one gets another."""
        self.token = f"{TOKEN}-{hashlib.sha256(self.token.encode()).hexdigest()[:8]}"

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
        if (above := self.items.get(options.get("parent", ""))) is not None:
            options.setdefault("shared_drive", above.shared_drive)
        self.items[identity] = Item(name=name, data=data, **options)
        quoted, plain = urllib.parse.quote(name), name.encode("ascii", "replace").decode().replace('"', "'")
        self.files[identity] = Resource(
            data=data,
            etag=None,  # Drive sends none, only a date
            modified=_SHARED_AT,
            headers={"Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quoted}"},
        )
        return identity

    def folder(self, name: str, **options: Any) -> str:
        """Add a folder and return its id."""
        return self.put(name, mime=FOLDER, **options)

    def item(self, identity: str) -> Item | None:
        """Return what has an id."""
        return self.items.get(identity)

    def children(self, identity: str) -> dict[str, Item]:
        """Return what lies in a folder."""
        return {key: item for key, item in self.items.items() if item.parent == identity}

    def opened(self, query: Mapping[str, str]) -> tuple[str, Item | None]:
        """Find what a link leads to for anybody; None if it may not be opened so."""
        identity = query.get("id", "")
        item = self.items.get(identity)
        allowed = item is not None and item.public and query.get("resourcekey", "") == item.resource_key
        return identity, item if allowed else None


def read_query(request: Request) -> tuple[str, dict[str, str]]:
    """Take the path and the query of a request apart."""
    parts = urllib.parse.urlsplit(request.path)
    return parts.path, dict(urllib.parse.parse_qsl(parts.query))


def _page(title: str, body: str, status: int = 200) -> Page:
    text = f"<!DOCTYPE html><html><head><title>{html.escape(title)}</title></head><body>{body}</body></html>"
    return Page(status=status, body=text.encode(), headers={"Content-Type": "text/html; charset=utf-8"})


def _moved(location: str, status: int = 303) -> Page:
    return Page(status=status, headers={"Location": location, "Content-Type": "text/html; charset=utf-8"})


_SIGN_IN = "https://accounts.google.com/ServiceLogin?continue=https://drive.google.com"
_NOT_FOUND = _page("Error 404 (Not Found)!!1", "<p>The requested URL was not found on this server.</p>", 404)


class DriveSite(Site):
    """One host of Drive."""

    def __init__(self, drive: FakeDrive) -> None:
        super().__init__()
        self.drive = drive


class _Front(DriveSite):
    def answer(self, request: Request) -> Page:
        path, query = read_query(request)
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


class _Content(DriveSite):
    def answer(self, request: Request) -> Resource | Page:
        _, query = read_query(request)
        identity, item = self.drive.opened(query)
        if item is None:
            return _moved(_SIGN_IN, 302)
        if item.quota:
            message = (
                "Sorry, you can't view or download this file at this time. Too many users have viewed it recently."
            )
            return _page("Google Drive - Quota exceeded", f'<p class="uc-error-caption">{message}</p>')
        if item.refusal:
            return _page(
                "Google Drive - Access denied", f'<p class="uc-error-subcaption">{html.escape(item.refusal)}</p>'
            )
        if item.old_page and query.get("confirm") != "t":
            address = f"https://drive.usercontent.google.com/download?id={identity}&confirm=t"
            script = json.dumps({"downloadUrl": address}, separators=(",", ":"))
            return _page("Google Drive", f"<script>{script}</script>")
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


class _Documents(DriveSite):
    owner = ""
    """The header that opens what is not public, as it does for the export links of Drive's interface."""

    def answer(self, request: Request) -> Resource | Page:
        path, query = read_query(request)
        match = re.fullmatch(r"/(\w+)/d/(?:e/)?([-\w]+)/(export|edit|gviz/tq|pub)", path)
        if match is None:
            return _NOT_FOUND
        identity, item = self.drive.opened({**query, "id": match[2]})
        if item is None and self.owner and request.headers.get("authorization") == self.owner:
            item = self.drive.items.get(match[2])
        if item is None or item.mime not in _KINDS:
            return _moved(_SIGN_IN, 302) if identity in self.drive.items else _NOT_FOUND
        if match[3] == "edit":
            return _page(f"{item.name} - Google Docs", "<div>an editor</div>")
        export_format = query.get("tqx", "").partition("out:")[2] or query.get("output", "")
        return exported(item, query.get("format", export_format or "docx"))


def exported(item: Item, ending: str) -> Resource:
    """Return what a document is exported as."""
    data = item.data + f" as {ending}".encode()
    return Resource(
        data=data, modified=None, headers={"Content-Disposition": f'attachment; filename="{item.name}.{ending}"'}
    )
