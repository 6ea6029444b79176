"""Google Drive: shared links first as anybody opens them, then as the user, if an account is signed in.

Drive's public side is made for browsers: a large file hides behind a button, a refusal comes as a page with status 200,
a document has to be exported. Each is looked at with one small request before the engine begins.
"""

from __future__ import annotations

import contextlib
import importlib
import urllib.parse
from collections import deque
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._clients import gdrive
from colabkit._clients.gdrive import page as gdrive_page
from colabkit._clients.gdrive.link import EXPORTS, Link, is_bare_id, parse
from colabkit._engine.source import Entry, ParsedSource
from colabkit._engine.uploads.gdrive import DriveService
from colabkit._http.json_api import ApiResponse, ask, unexpected
from colabkit._http.types import RemoteFile, RequestSpec
from colabkit._internal.log import notify
from colabkit.errors import AccessError, AddressError, BusyError, NotFoundError, TransferError
from colabkit.runtime import restart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from colabkit._clients.gdrive import DriveAccount

AT_ONCE = 2
PAUSE = 0.5
"""Files of a folder side by side, and seconds between two: Drive refuses whoever asks too fast, for hours."""

CONNECTIONS = 4
"""For one file: nobody outside Google knows how parts count towards the quota that all who have the link share."""

_STEPS = 8
_FLAGGED = ("infected", "malware", "terms of service", "flagged", "abus", "inappropriate")
_PEEK = 256 << 10
_MOST_FILES = 100_000
_OURS = (".google.com", ".googleusercontent.com")
# The folder page is plain HTML to browsers of this age only; gdown found out which.
_FOLDER_AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/98.0.4758.102 Safari/537.36"
)
_Found = tuple[Link, Entry]
"""One thing in a folder: where it leads, and its name in `path`; of a folder nothing else counts."""

_SHARE = 'ask its owner for "Share", "Anyone with the link", or sign in with an account that may open it: '


class _OfLink:
    """What a link to Drive tells without a question.

    Attributes:
        link: Which.
    """

    link: Link

    @property
    def identity(self) -> str:
        """Its id; of a document also what it is exported as."""
        return self.link.identity

    @property
    def shown(self) -> str:
        """The address of its page."""
        return self.link.page

    @property
    def name(self) -> str:
        """Only Drive knows its name."""
        return ""

    def here(self, *, ask: bool = True) -> None:
        """A mounted Drive has paths, not ids."""


class DriveFile(_OfLink):
    """A file or a document on Drive.

    Args:
        link: Which.
        account: The account that is known to be needed; otherwise it is looked for when the public way fails.
        find: Looks for an account.
    """

    def __init__(
        self,
        link: Link,
        account: DriveAccount | None = None,
        find: Callable[[], DriveAccount | None] = gdrive.account,
    ) -> None:
        self.link = link
        self._account = account
        self._find = find
        self._copy = ""

    def remote(self) -> RemoteFile:
        """Find out where it can be had.

        Raises:
            AccessError: It is not shared with us.
            BusyError: Drive limits its downloads.
            NotFoundError: There is none.
        """
        if self._copy and self._account is not None:
            return self._account.remote(self._account.about(self._copy), self.link.format, self.shown)
        if self._account is None:
            try:
                return self._public(self.link)
            except (AccessError, BusyError, NotFoundError) as error:
                self._account = self._find()
                if self._account is None:
                    raise
                notify("%s; trying the account that is signed in", error.what)
        if self.link.part or self.link.sheet:
            # Drive's interface exports all of it or the first sheet; the same address takes the account's token.
            return self._as_user(self._account, self.link)
        about = self._account.about(self.link.id, self.link.resource_key)
        if about.get("mimeType") == gdrive.FOLDER:
            raise _is_folder(self.link)
        return self._account.remote(about, self.link.format, self.shown)

    @contextlib.contextmanager
    def own_copy(self) -> Iterator[bool]:
        """Copy it to the user's own Drive, where no quota of others counts, and delete the copy at the end.

        The user is asked before; without somebody to ask, or an account that may write, nothing is copied.

        Yields:
            Whether it is fetched from a copy now.
        """
        account = gdrive.account(write=True) if restart.can_ask() else None
        question = (
            f"Google Drive does not give {self.shown} out. Copy it to your own Drive, fetch that, delete it? [y/N] "
        )
        if account is None or input(question).strip().lower() not in ("y", "yes"):
            yield False
            return
        service = DriveService(account)
        name = f"copied by colabkit from {self.link.id}"
        left = account.child("root", name).get("id")  # by a process that was killed
        self._copy = str(left or service.copy(self.link.id, name, self.shown, resource_key=self.link.resource_key))
        self._account = account
        try:
            yield True
        finally:
            service.delete(self._copy, self.shown)
            self._copy = ""

    def _as_user(self, account: DriveAccount, link: Link) -> RemoteFile:
        url, headers = _start(link), account.headers()
        reply = ask(url, what=f"cannot fetch {link.page}", headers={**headers, "Range": "bytes=0-0"}, most=_PEEK)
        while reply.location and (url := _next(url, reply.location, link)):
            reply = ask(url, what=f"cannot fetch {link.page}", headers={"Range": "bytes=0-0"}, most=_PEEK)
            headers = {}
        if not _is_file(reply):
            _button(reply, link)
        return RemoteFile(target=RequestSpec(url=url, headers=headers), shown=self.shown)

    def _public(self, link: Link) -> RemoteFile:
        url, reply = _start(link), None
        for _ in range(_STEPS):
            reply = _first_byte(url, link)
            if link.kind == "file" and _is_document(reply):
                return self._public(_resolved(link))
            if reply.location:
                url = _next(url, reply.location, link)
            elif _is_file(reply):
                target = RequestSpec(url=reply.url, headers={})
                html = reply.headers.get("Content-Type", "").startswith("text/html")
                return RemoteFile(
                    target=target, shown=self.shown, page_expected=html, connections=CONNECTIONS, in_parts=True
                )
            else:
                url = _button(reply, link)
        raise unexpected(f"cannot fetch {self.shown}", reply or ApiResponse(status=0, headers={}, body=b"", url=url))


def _start(link: Link) -> str:
    if link.part:
        return link.part
    key = {"resourcekey": link.resource_key} if link.resource_key else {}
    if link.kind == "file":
        query = urllib.parse.urlencode({"id": link.id, "export": "download", **key})
        return f"https://drive.google.com/uc?{query}"
    sheet = {"gid": link.sheet} if link.sheet else {}
    query = urllib.parse.urlencode({"format": link.format, **sheet, **key})
    path = f"export/{link.format}?{query}" if link.kind == "drawings" else f"export?{query}"
    return f"https://docs.google.com/{link.kind}/d/{link.id}/{path}"


def _first_byte(url: str, link: Link) -> ApiResponse:
    """Ask for the first byte: enough of a file to know it by, while a page comes whole."""
    headers = {"Range": "bytes=0-0"}
    final = frozenset({HTTPStatus.INTERNAL_SERVER_ERROR.value}) if url == _start(link) else frozenset()
    return ask(url, what=f"cannot fetch {link.page}", headers=headers, most=_PEEK, final=final)


def _is_document(reply: ApiResponse) -> bool:
    # Drive says 500 when a document is asked for as a file.
    return reply.status == HTTPStatus.INTERNAL_SERVER_ERROR or (
        bool(reply.location) and "/export" not in reply.location and _kind_of(reply.location) in EXPORTS
    )


def _kind_of(address: str) -> str:
    try:
        return parse(address).kind
    except AddressError:
        return ""


def _resolved(link: Link) -> Link:
    """Ask Drive what an id is that is not a file: opening it leads to the page of its kind."""
    query = urllib.parse.urlencode({"id": link.id})
    reply = ask(f"https://drive.google.com/open?{query}", what=f"cannot fetch {link.page}", most=_PEEK)
    kind = _kind_of(reply.location)
    if kind == "folder":
        raise _is_folder(link)
    if kind not in EXPORTS:
        raise unexpected(f"cannot fetch {link.page}", reply)
    return replace(parse(reply.location), resource_key=link.resource_key)


def _is_folder(link: Link) -> AddressError:
    page = replace(link, kind="folder").page
    return AddressError(f"{link.page} is a folder", why="its link says file", hint=f"fetch {page}")


def _next(url: str, location: str, link: Link) -> str:
    target = urllib.parse.urljoin(url, location)
    try:
        parts = urllib.parse.urlsplit(target)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if host == "accounts.google.com":
        raise _not_shared(link, "Drive asks to sign in")
    if not host.endswith(_OURS) or parts.scheme != "https":
        raise TransferError(
            f"{link.page} leads away from Google",
            why=f"to {host[:100] or 'no web address'}",
            hint="open it in a browser",
        )
    return target


def _is_file(reply: ApiResponse) -> bool:
    if reply.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return False
    html = reply.headers.get("Content-Type", "").lower().startswith("text/html")
    return "Content-Disposition" in reply.headers or not html


def _button(reply: ApiResponse, link: Link) -> str:
    """Return where the download button of a page leads, or raise what the page says."""
    page = gdrive_page.read(reply.body)
    if reply.status == HTTPStatus.OK and page.form:
        return _next(reply.url, page.form, link)
    message = ". ".join(filter(None, (page.title, page.error))) or reply.words()
    lower = message.lower()
    if "quota" in lower or "automated queries" in lower or "too many users" in lower:
        raise BusyError(
            f"Google Drive is not serving {link.page} at the moment",
            why=message,
            hint="wait, at most a day, then run it again; or make a copy on your own Drive and fetch that one",
        )
    if any(word in lower for word in _FLAGGED):
        raise AccessError(f"Google Drive has flagged {link.page}", why=message, hint=gdrive.FLAGGED)
    if reply.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise NotFoundError(f"there is nothing at {link.page}", why=message, hint="check the link in a browser")
    if reply.status == HTTPStatus.OK and not page.error and (form := _second_opinion(reply)):
        notify("our reader finds no download on the page of %s, gdown's does", link.page)
        return _next(reply.url, form, link)
    raise _not_shared(link, message or f"Drive answered {reply.status}")


def _second_opinion(reply: ApiResponse) -> str:
    """Return what gdown finds on a page that ours cannot read: it follows what Drive changes; "" for nothing."""
    try:
        reader = importlib.import_module("gdown.download")  # as an attribute of gdown it is a function
        return str(reader.get_url_from_gdrive_confirmation(reply.body.decode("utf-8", "replace")))
    except Exception:  # noqa: BLE001 - it is asked for its opinion, and its errors are its own business
        return ""


def _not_shared(link: Link, why: str) -> AccessError:
    return AccessError(f"{link.page} is not public", why=why, hint=_SHARE + gdrive.SIGN_IN)


class DriveFolder(_OfLink):
    """A folder on Drive, with all folders inside it.

    Args:
        link: Which.
        find: Looks for an account when the public way fails.
    """

    def __init__(self, link: Link, find: Callable[[], DriveAccount | None] = gdrive.account) -> None:
        self.link = link
        self.at_once = AT_ONCE
        self.pause = PAUSE
        self._find = find

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """List the folder and those inside it.

        Raises:
            AccessError: It is not shared with us.
            NotFoundError: There is none.
        """
        try:
            return _walk(self.link, self._public)
        except (AccessError, BusyError, NotFoundError) as error:
            account = self._find()
            if account is None:
                raise
            notify("%s; trying the account that is signed in", error.what)
        return self.own_entries(account)

    def own_entries(self, account: DriveAccount) -> tuple[str, Sequence[Entry]]:
        """List them through an account."""
        return _walk(self.link, lambda link: self._private(account, link))

    def _public(self, link: Link) -> tuple[str, list[_Found]]:
        key = {"resourcekey": link.resource_key} if link.resource_key else {}
        url = f"https://drive.google.com/embeddedfolderview?{urllib.parse.urlencode({'id': link.id, **key})}"
        reply = ask(url, what=f"cannot list {link.page}", headers={"User-Agent": _FOLDER_AGENT})
        if reply.location:
            _next(url, reply.location, link)
            raise _not_shared(link, "Drive leads to another page")
        page = gdrive_page.read(reply.body)
        if reply.status != HTTPStatus.OK or not page.title or page.error:
            _button(reply, link)
        entries: list[_Found] = []
        for row in page.rows:
            try:
                inside = parse(row.href)
            except AddressError:
                if row.title:
                    notify("%s is left out: Drive cannot export its kind", row.title)
                continue
            name = _file_name(row.title, inside.format)
            source = DriveFile(inside, find=self._find)
            entries.append((inside, Entry(path=name, source=source, version=row.modified)))
        return page.title, entries

    def _private(self, account: DriveAccount, link: Link) -> tuple[str, list[_Found]]:
        top = account.about(link.id, link.resource_key)
        entries: list[_Found] = []
        for about in account.children(str(top.get("id", link.id)), str(top.get("resourceKey", ""))):
            entry = self._private_entry(account, account.followed(about))
            if entry is not None:
                entries.append(entry)
        return str(top.get("name", "")), entries

    def _private_entry(self, account: DriveAccount, about: dict[str, Any]) -> _Found | None:
        kind, title = str(about.get("mimeType", "")), str(about.get("name", ""))
        link = Link(
            kind="folder" if kind == gdrive.FOLDER else "file",
            id=str(about.get("id", "")),
            resource_key=str(about.get("resourceKey", "")),
            format=gdrive.NATIVE.get(kind, ""),
        )
        if kind.startswith("application/vnd.google-apps.") and link.kind == "file" and not link.format:
            notify("%s is left out: Drive cannot export its kind", title)
            return None
        name = _file_name(title, link.format)
        size = str(about.get("size", ""))
        version = str(about.get("md5Checksum") or about.get("modifiedTime", ""))
        entry = Entry(
            path=name,
            source=DriveFile(link, account, self._find),
            version=version,
            size=int(size) if size.isdecimal() and not link.format else None,
        )
        return link, entry


def _walk(top: Link, listed: Callable[[Link], tuple[str, list[_Found]]]) -> tuple[str, list[Entry]]:
    """List a folder and those inside it, each once: shortcuts may lead in a circle."""
    entries: list[Entry] = []
    visited = {top.id}
    todo = deque([("", top)])
    title = ""
    while todo:
        path, link = todo.popleft()
        name, pairs = listed(link)
        title = title or name
        for inside, entry in pairs:
            if inside.kind != "folder":
                entries.append(replace(entry, path=f"{path}{entry.path}"))
            elif inside.id not in visited:
                visited.add(inside.id)
                todo.append((f"{path}{entry.path}/", inside))
        if len(entries) + len(todo) > _MOST_FILES:
            raise TransferError(f"{top.page} has more than {_MOST_FILES:,} files", hint="fetch the folders inside it")
    return title, entries


def _file_name(title: str, ending: str) -> str:
    name = title.replace("/", "_").strip() or "_"  # a slash is an ordinary letter on Drive
    return name if not ending or name.lower().endswith(f".{ending}") else f"{name}.{ending}"


def open_source(text: str) -> ParsedSource:
    """Read a link or a bare id.

    Raises:
        AddressError: It leads to nothing that can be fetched.

    Example:
        >>> open_source("https://drive.google.com/drive/folders/1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2").source.shown
        'https://drive.google.com/drive/folders/1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2'
    """
    if is_bare_id(text) and Path(text.strip()).exists():
        return ParsedSource(source=Path(text.strip()))
    link = parse(text)
    return ParsedSource(source=DriveFolder(link) if link.kind == "folder" else DriveFile(link))
