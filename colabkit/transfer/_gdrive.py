"""Google Drive: shared links first as anybody opens them, then as the user, if an account is signed in.

Drive's public side is made for browsers: a large file hides behind a button, a refusal comes as a page with status 200,
a document has to be exported. Each is looked at with one small request before the engine begins.
"""

from __future__ import annotations

import urllib.parse
from collections import deque
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._tools.log import say
from colabkit.errors import AccessError, AddressError, BusyError, NotFoundError, TransferError
from colabkit.transfer import _gdrive_api, _gdrive_page
from colabkit.transfer._api import Reply, ask, unexpected
from colabkit.transfer._gdrive_link import EXPORTS, Link, is_bare_id, parse
from colabkit.transfer.base import Entry, Order, Remote, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colabkit.transfer._gdrive_api import DriveAccount

AT_ONCE = 2
PAUSE = 0.5
"""Files of a folder side by side, and seconds between two: Drive refuses whoever asks too fast, for hours."""

CONNECTIONS = 4
"""For one file: nobody outside Google knows how parts count towards the quota that all who have the link share."""

_STEPS = 8
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


class DriveFile:
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
        find: Callable[[], DriveAccount | None] = _gdrive_api.account,
    ) -> None:
        self.link = link
        self._account = account
        self._find = find

    @property
    def identity(self) -> str:
        """Its id, and what it is exported as."""
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

    def remote(self) -> Remote:
        """Find out where it can be had.

        Raises:
            AccessError: It is not shared with us.
            BusyError: Drive limits its downloads.
            NotFoundError: There is none.
        """
        if self._account is None:
            try:
                return self._public(self.link)
            except (AccessError, BusyError, NotFoundError) as error:
                self._account = self._find()
                if self._account is None:
                    raise
                say("%s; trying the account that is signed in", error.what)
        about = self._account.about(self.link.id, self.link.resource_key)
        if about.get("mimeType") == _gdrive_api.FOLDER:
            raise _is_folder(self.link)
        return self._account.remote(about, self.link.format, self.shown)

    def _public(self, link: Link) -> Remote:
        url, reply = _start(link), None
        for _ in range(_STEPS):
            reply = _look(url, link)
            if link.kind == "file" and _is_document(reply):
                return self._public(_resolved(link))
            if reply.location:
                url = _next(url, reply.location, link)
            elif _is_file(reply):
                target = Target(url=reply.url, headers={})
                html = reply.headers.get("Content-Type", "").startswith("text/html")
                return Remote(target=target, shown=self.shown, page_expected=html, connections=CONNECTIONS)
            else:
                url = _button(reply, link)
        raise unexpected(f"cannot fetch {self.shown}", reply or Reply(status=0, headers={}, body=b"", url=url))


def _start(link: Link) -> str:
    key = {"resourcekey": link.resource_key} if link.resource_key else {}
    if link.kind == "file":
        query = urllib.parse.urlencode({"id": link.id, "export": "download", **key})
        return f"https://drive.google.com/uc?{query}"
    sheet = {"gid": link.sheet} if link.sheet else {}
    query = urllib.parse.urlencode({"format": link.format, **sheet, **key})
    path = f"export/{link.format}?{query}" if link.kind == "drawings" else f"export?{query}"
    return f"https://docs.google.com/{link.kind}/d/{link.id}/{path}"


def _look(url: str, link: Link) -> Reply:
    """Ask for the first byte: enough of a file to know it by, while a page comes whole."""
    headers = {"Range": "bytes=0-0"}
    final = frozenset({HTTPStatus.INTERNAL_SERVER_ERROR.value}) if url == _start(link) else frozenset()
    return ask(url, what=f"cannot fetch {link.page}", headers=headers, most=_PEEK, final=final)


def _is_document(reply: Reply) -> bool:
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
    """Ask Drive what an id is that is no file: opening it leads to the page of its kind."""
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
    return AddressError(f"{link.page} is a folder", why="its link says file", do=f"fetch {page}")


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
            f"{link.page} leads away from Google", why=f"to {host[:100] or 'no web address'}", do="open it in a browser"
        )
    return target


def _is_file(reply: Reply) -> bool:
    if reply.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        return False
    html = reply.headers.get("Content-Type", "").lower().startswith("text/html")
    return "Content-Disposition" in reply.headers or not html


def _button(reply: Reply, link: Link) -> str:
    """Return where the download button of a page leads, or raise what the page says."""
    page = _gdrive_page.read(reply.body)
    if reply.status == HTTPStatus.OK and page.form:
        return _next(reply.url, page.form, link)
    said = ". ".join(filter(None, (page.title, page.error))) or reply.words()
    lower = said.lower()
    if "quota" in lower or "automated queries" in lower or "too many users" in lower:
        raise BusyError(
            f"Google Drive does not give {link.page} out at the moment",
            why=said,
            do="wait, at most a day, then run the same again; or make a copy on your own Drive and fetch that one",
        )
    if reply.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise NotFoundError(f"there is nothing at {link.page}", why=said, do="check the link in a browser")
    raise _not_shared(link, said or f"Drive answered {reply.status}")


def _not_shared(link: Link, why: str) -> AccessError:
    return AccessError(f"{link.page} is not public", why=why, do=_SHARE + _gdrive_api.SIGN_IN)


class DriveFolder:
    """A folder on Drive, with all folders inside it.

    Args:
        link: Which.
        find: Looks for an account when the public way fails.
    """

    def __init__(self, link: Link, find: Callable[[], DriveAccount | None] = _gdrive_api.account) -> None:
        self.link = link
        self.at_once = AT_ONCE
        self.pause = PAUSE
        self._find = find

    @property
    def identity(self) -> str:
        """Its id."""
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
            say("%s; trying the account that is signed in", error.what)
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
        page = _gdrive_page.read(reply.body)
        if reply.status != HTTPStatus.OK or not page.title or page.error:
            _button(reply, link)
        found: list[_Found] = []
        for row in page.rows:
            try:
                inside = parse(row.href)
            except AddressError:
                if row.title:
                    say("%s is left out: Drive cannot export its kind", row.title)
                continue
            name = _file_name(row.title, inside.format)
            source = DriveFile(inside, find=self._find)
            found.append((inside, Entry(path=name, source=source, version=row.modified)))
        return page.title, found

    def _private(self, account: DriveAccount, link: Link) -> tuple[str, list[_Found]]:
        top = account.about(link.id, link.resource_key)
        found: list[_Found] = []
        for about in account.children(str(top.get("id", link.id)), str(top.get("resourceKey", ""))):
            entry = self._private_entry(account, account.followed(about))
            if entry is not None:
                found.append(entry)
        return str(top.get("name", "")), found

    def _private_entry(self, account: DriveAccount, about: dict[str, Any]) -> _Found | None:
        kind, title = str(about.get("mimeType", "")), str(about.get("name", ""))
        link = Link(
            kind="folder" if kind == _gdrive_api.FOLDER else "file",
            id=str(about.get("id", "")),
            resource_key=str(about.get("resourceKey", "")),
            format=_gdrive_api.NATIVE.get(kind, ""),
        )
        if kind.startswith("application/vnd.google-apps.") and link.kind == "file" and not link.format:
            say("%s is left out: Drive cannot export its kind", title)
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
    known = {top.id}
    todo = deque([("", top)])
    title = ""
    while todo:
        path, link = todo.popleft()
        name, found = listed(link)
        title = title or name
        for inside, entry in found:
            if inside.kind != "folder":
                entries.append(replace(entry, path=f"{path}{entry.path}"))
            elif inside.id not in known:
                known.add(inside.id)
                todo.append((f"{path}{entry.path}/", inside))
        if len(entries) + len(todo) > _MOST_FILES:
            raise TransferError(f"{top.page} has more than {_MOST_FILES:,} files", do="fetch the folders inside it")
    return title, entries


def _file_name(title: str, ending: str) -> str:
    name = title.replace("/", "_").strip() or "_"  # a slash is an ordinary letter on Drive
    return name if not ending or name.lower().endswith(f".{ending}") else f"{name}.{ending}"


def open_source(text: str) -> Order:
    """Read a link or a bare id.

    Raises:
        AddressError: It leads to nothing that can be fetched.

    Example:
        >>> open_source("https://drive.google.com/drive/folders/1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2").source.shown
        'https://drive.google.com/drive/folders/1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2'
    """
    if is_bare_id(text) and Path(text.strip()).exists():
        return Order(source=Path(text.strip()))
    link = parse(text)
    return Order(source=DriveFolder(link) if link.kind == "folder" else DriveFile(link))
