"""Pasted curl and wget commands: read into an address, headers and a place; options that mean more are refused."""

from __future__ import annotations

import base64
import os
import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.errors import AddressError
from colabkit.transfer import _url
from colabkit.transfer._options import CURL, WGET, Dialect, refused, walk
from colabkit.transfer._web import WebSource
from colabkit.transfer._words import split
from colabkit.transfer.base import Order

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_GLOB = re.compile(r"\{[^}]*,[^}]*\}|\[[0-9a-zA-Z]+-[0-9a-zA-Z]+(?::\d+)?\]")

# What a browser adds to a copied command and what would only disturb: the engine decides on these itself.
_BROWSER_HEADERS = (
    "accept-encoding connection content-length if-match if-modified-since if-none-match if-range if-unmodified-since "
    "keep-alive proxy-connection range te trailer transfer-encoding upgrade"
)
_DROPPED = frozenset(_BROWSER_HEADERS.split())


def open_source(text: str) -> Order:
    """Read a curl or wget command.

    Raises:
        AddressError: It cannot be read, or an option means something that fetch does not do; the message names it.

    Example:
        >>> open_source("curl -sL -o data.zip 'https://example.org/x?id=1'").to
        'data.zip'
    """
    program, *words = split(text)
    if program in ("curl", "curl.exe"):
        return _read(words, CURL, "curl")
    if program == "wget":
        return _read(words, WGET, "wget")
    raise AddressError(
        f"{program} commands cannot be fetched",
        why="the commands that can be read are curl and wget",
        do="pass the address of the file itself",
    )


@dataclass
class _Request:
    urls: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    login: dict[str, str] = field(default_factory=dict)
    method: str = ""
    in_query: bool = False
    output: str = ""
    folder: str = ""
    named: bool = False
    one_address: bool = False

    def header(self, option: str, line: str) -> None:
        name, colon, value = line.partition(":")
        if not colon and line.endswith(";"):
            name, colon, value = line[:-1], ":", ""
        elif colon and not value.strip():
            return  # curl's way to say: do not send this one
        name, value = name.strip(), value.strip()
        if not colon or not _TOKEN.fullmatch(name) or _FORBIDDEN.search(value):
            raise refused(option, "its value is no header")
        lower = name.lower()
        if lower == "host" or (lower == "range" and value.replace(" ", "") != "bytes=0-"):
            raise refused(f"{option} {name}", "it asks for another host, or for a part of the file")
        if lower == "cookie":
            self.cookies.append(value)
        elif lower not in _DROPPED:
            self.headers = {key: old for key, old in self.headers.items() if key.lower() != lower}
            self.headers[name] = value

    def cookie(self, option: str, value: str) -> None:
        if "=" not in value or _FORBIDDEN.search(value):
            raise refused(option, "it names a file of cookies")
        self.cookies.append(value.strip())

    def user(self, option: str, pair: str) -> None:
        name, colon, password = pair.partition(":")
        if not colon:
            raise refused(option, "it has no password, and there is nobody to ask")
        self.login = {"user": name, "password": password}

    def post(self, option: str, value: str) -> None:
        if value.startswith("@"):
            raise refused(option, "it sends a file")
        self.data.append(value)

    def post_encoded(self, option: str, value: str) -> None:
        name, equals, content = value.partition("=")
        if "@" in name:
            raise refused(option, "it sends a file")
        encoded = urllib.parse.quote_plus(content if equals else value)
        self.data.append(f"{name}={encoded}" if equals and name else encoded)

    def post_json(self, option: str, value: str) -> None:
        self.post(option, value)
        self.header(option, "Content-Type: application/json")
        self.header(option, "Accept: application/json")

    def go_on(self, option: str, value: str) -> None:
        if value != "-":
            raise refused(f"{option} {value}", "it asks for a part of the file")

    def source(self, program: str) -> WebSource:
        if len(self.urls) != 1:
            raise AddressError(
                f"the pasted {program} command has {len(self.urls)} addresses",
                do="paste a command with one address, or pass a list of addresses",
            )
        if not self.one_address and _GLOB.search(self.urls[0]):
            raise refused("[…] or {…} in the address", "curl makes several addresses of it; -g says that it is one")
        url = self.urls[0] if "://" in self.urls[0] else f"http://{self.urls[0]}"
        if self.in_query and self.data:
            url = urllib.parse.urldefrag(url).url
            url += ("&" if "?" in url else "?") + "&".join(self.data)
        headers, body = dict(self.headers), self._body()
        if self.login:
            pair = f"{self.login.get('user', '')}:{self.login.get('password', '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        if self.cookies:
            headers["Cookie"] = "; ".join(self.cookies)
        if body is not None and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return WebSource(address=_url.parse(url), headers=headers, body=body)

    def _body(self) -> bytes | None:
        posts = bool(self.data) and not self.in_query
        method = self.method.upper() or ("POST" if posts else "GET")
        if method not in ("GET", "POST") or (method == "GET" and posts):
            raise refused(f"-X {self.method}", "only GET, and POST with data, bring files")
        return "&".join(self.data).encode() if method == "POST" else None

    def place(self, program: str) -> str | None:
        """Return where the command puts the file: curl shows it unless told otherwise, wget takes this folder."""
        if self.output == "-":
            return None
        if self.output:
            absolute = Path(self.output).is_absolute() or not self.folder or program == "wget"
            return self.output if absolute else f"{self.folder.rstrip(os.sep)}{os.sep}{self.output}"
        if self.named or program == "wget":
            return f"{self.folder or '.'}{os.sep}"
        return None


# What each option does to the request; those of the dialects that are not here change nothing.
_OBEYED: dict[str, Callable[[_Request, str, str], None]] = {
    "url": lambda request, _, value: request.urls.append(value),
    "header": _Request.header,
    "cookie": _Request.cookie,
    "user": _Request.user,
    "oauth2-bearer": lambda request, option, value: request.header(option, f"Authorization: Bearer {value}"),
    "user-agent": lambda request, option, value: request.header(option, f"User-Agent: {value}"),
    "referer": lambda request, option, value: request.header(option, f"Referer: {value}"),
    "data": _Request.post,
    "data-ascii": _Request.post,
    "data-binary": _Request.post,
    "data-raw": lambda request, _, value: request.data.append(value),
    "data-urlencode": _Request.post_encoded,
    "json": _Request.post_json,
    "get": lambda request, *_: setattr(request, "in_query", True),
    "request": lambda request, _, value: setattr(request, "method", value),
    "continue-at": _Request.go_on,
    "output": lambda request, _, value: setattr(request, "output", value),
    "output-dir": lambda request, _, value: setattr(request, "folder", value),
    "remote-name": lambda request, *_: setattr(request, "named", True),
    "globoff": lambda request, *_: setattr(request, "one_address", True),
}
_OBEYED_BY_WGET = {
    "url": _OBEYED["url"],
    "header": _OBEYED["header"],
    "user-agent": _OBEYED["user-agent"],
    "referer": _OBEYED["referer"],
    "post-data": _OBEYED["data-raw"],
    "output-document": _OBEYED["output"],
    "directory-prefix": _OBEYED["output-dir"],
    "user": lambda request, _, value: request.login.update(user=value),
    "http-user": lambda request, _, value: request.login.update(user=value),
    "password": lambda request, _, value: request.login.update(password=value),
    "http-password": lambda request, _, value: request.login.update(password=value),
}


def _read(words: list[str], dialect: Dialect, program: str) -> Order:
    request = _Request(one_address=program == "wget")
    obeyed = _OBEYED if program == "curl" else _OBEYED_BY_WGET
    for option, name, value in walk(words, dialect):
        if name in obeyed:
            obeyed[name](request, option, value)
    place = request.place(program)
    # A command that names the place means the file as it is, as curl and wget do.
    return Order(source=request.source(program), to=place, unpack=False if place is not None else None)
