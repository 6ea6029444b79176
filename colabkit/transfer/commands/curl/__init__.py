"""Pasted curl and wget commands: read into an address, headers and a place; options that mean more are refused."""

from __future__ import annotations

import base64
import contextlib
import http.cookiejar
import itertools
import math
import os
import re
import urllib.parse
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._clients.gdrive import link as gdrive_link
from colabkit._engine.source import ParsedSource, together
from colabkit._http import url as _url
from colabkit._internal.disk.paths import expand
from colabkit.errors import AddressError
from colabkit.transfer.commands.curl import cookie_jars, wget_recursive
from colabkit.transfer.commands.options import CURL, WGET, CommandSpec, parse_options, refused
from colabkit.transfer.commands.shell_lexer import split
from colabkit.transfer.sources.gdrive import DriveFile, DriveFolder
from colabkit.transfer.sources.web import WebSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DRIVE = re.compile(r"https?://(?:drive|docs|drive\.usercontent)\.google\.com(?::\d+)?/")
_GLOB = re.compile(r"\{[^}]*,[^}]*\}|\[[0-9a-zA-Z]+-[0-9a-zA-Z]+(?::\d+)?\]")
_MOST = 10_000
"""Addresses that one of a curl command may stand for."""

_PLAIN_QUERY = re.compile(
    r"(?!.*(?:key|sig|token|secret|pass|auth|cred|expires))[\w.,=&%+-]{1,60}", re.IGNORECASE | re.ASCII
)
_NO_NAME = re.compile(r"[/\x00-\x1f\x7f]")
_LONGEST_NAME = 236
"""What wget cuts a name to, in bytes."""

# What a browser adds to a copied command and what would only disturb: the engine decides on these itself.
_BROWSER_HEADERS = (
    "accept-encoding connection content-length if-match if-modified-since if-none-match if-range if-unmodified-since "
    "keep-alive proxy-connection range te trailer transfer-encoding upgrade"
)
_DROPPED = frozenset(_BROWSER_HEADERS.split())


def open_source(text: str) -> ParsedSource:
    """Read a curl or wget command.

    Raises:
        AddressError: It cannot be read, or an option means something that fetch does not do; the message names it.

    Example:
        >>> open_source("curl -sL -o data.zip 'https://example.org/x?id=1'").to
        'data.zip'
    """
    return read(split(text))


def read(words: Sequence[str]) -> ParsedSource:
    """Read the words of a curl or wget command; raises as `open_source` does."""
    if words[0] == "wget":
        return _read(list(words[1:]), WGET, "wget")
    requests: list[list[str]] = [[]]
    for word in words[1:]:  # what stands behind --next is another request, with its own options
        requests.append([]) if word in ("--next", "-:") else requests[-1].append(word)
    return together([_read(one, CURL, "curl") for one in requests])


@dataclass
class _Request:
    urls: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)
    jar: http.cookiejar.MozillaCookieJar = field(default_factory=http.cookiejar.MozillaCookieJar)
    data: list[str] = field(default_factory=list)
    login: dict[str, str] = field(default_factory=dict)
    method: str = ""
    in_query: bool = False
    outputs: list[str] = field(default_factory=list)
    folder: str = ""
    named: bool = False
    one_address: bool = False
    keeps: bool = False
    servers_name: bool = False
    unchecked: str = ""

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
            if option in ("-H", "--header") and self.written.setdefault(lower, value) != value:
                raise refused(f"{option} {name}", "it is there twice, and one of them would be sent")
            self.headers = {key: old for key, old in self.headers.items() if key.lower() != lower}
            self.headers[name] = value

    def cookie(self, option: str, value: str) -> None:
        if _FORBIDDEN.search(value):
            raise refused(option, "its value is no header")
        if "=" in value and option != "--load-cookies":
            self.cookies.append(value.strip())
            return
        try:
            self.jar.load(str(expand(value)), ignore_discard=True, ignore_expires=True)
        except (OSError, http.cookiejar.LoadError, ValueError):
            raise AddressError(
                f"the pasted command has {option}: there is no file of cookies at {_url.shown(value)}",
                why="it is not here, or is none of Netscape's, as browsers and curl -c write them",
                hint='run the line that signs in and makes it first, behind a "!"; this one works then',
            ) from None
        for cookie in self.jar:
            cookie.expires = cookie.expires or None  # 0 is a cookie of the session

    def setting(self, option: str, value: str) -> None:
        if value.replace(" ", "") != "robots=off":
            raise refused(f"{option} {value.partition('=')[0].strip()}")  # what follows may be a password

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

    def named_files(self, path: str) -> None:
        """Take the addresses of a file, as wget -i does."""
        try:
            lines = expand(path).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            raise refused(
                f"-i {_url.shown(path)}", "there is no such file here, and an address is not read for more"
            ) from None
        addresses = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not all(re.match(r"https?://", line, re.IGNORECASE) for line in addresses):
            raise refused(f"-i {_url.shown(path)}", "it holds a line that is no address")  # and may be a secret
        self.urls += addresses

    def source(self, url: str) -> WebSource | DriveFile | DriveFolder:
        url = url if "://" in url else f"http://{url}"
        if self.in_query and self.data:
            url = urllib.parse.urldefrag(url).url
            url += ("&" if "?" in url else "?") + "&".join(self.data)
        headers, body, address = dict(self.headers), self._body(), _url.parse(url)
        if self.login:
            pair = f"{self.login.get('user', '')}:{self.login.get('password', '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        if cookies := [*self.cookies, *_cookies(self.jar, address.url)]:
            headers["Cookie"] = "; ".join(cookies)
        if body is not None and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        web = WebSource(address=address, headers=headers, body=body)
        if _DRIVE.match(web.address.url) and body is None and not (self.login or cookies):
            # A browser's page stands before a large file of Drive: what is behind its button is meant.
            with contextlib.suppress(AddressError):
                link = gdrive_link.parse(web.address.url)
                return DriveFolder(link) if link.kind == "folder" else DriveFile(link)
        return web

    def _body(self) -> bytes | None:
        posts = bool(self.data) and not self.in_query
        method = self.method.upper() or ("POST" if posts else "GET")
        if method not in ("GET", "POST") or (method == "GET" and posts):
            raise refused(f"-X {self.method}", "only GET, and POST with data, bring files")
        return "&".join(self.data).encode() if method == "POST" else None

    def pairs(self, program: str) -> list[tuple[str, str]]:
        """Return each address with the place that the command gives it; "" shows it.

        Raises:
            AddressError: Several would be one file, or would be shown.
        """
        if not self.urls:
            raise AddressError(f"the pasted {program} command has no address", hint="add it, in quotes")
        if program == "wget":
            if len(self.urls) > 1 and self.outputs:
                raise refused(f"-O {self.outputs[-1]}", f"{len(self.urls)} addresses would become one file")
            return [(url, self._place(self.outputs[-1] if self.outputs else "/", program)) for url in self.urls]
        outputs = self.outputs + ["/" if self.named else ""] * (len(self.urls) - len(self.outputs))
        addresses = []
        for url, output in zip(self.urls, outputs, strict=False):
            made = [(url, [url])] if self.one_address else list(expand_globs(url))
            for one, parts in made:
                name = output
                for number, part in enumerate(parts if len(made) > 1 else []):
                    name = name.replace(f"#{number}", part) if number else name
                addresses.append((one, self._place(name, program)))
        places = [place for _, place in addresses if not place.endswith("/")]
        if len(addresses) > 1 and ("" in places or len(set(places)) < len(places)):
            raise AddressError(
                f"the pasted curl command has {len(addresses)} addresses",
                why="curl would show one on the screen, or write one over the other",
                hint="give each its own -O or -o NAME (or --remote-name-all), or pass a list of addresses",
            )
        return addresses

    def _place(self, output: str, program: str) -> str:
        """Return where the command puts a file: "/" stands for its own name, "" and "-" for the screen."""
        if output in ("", "-"):
            return ""
        if output == "/dev/null":
            raise refused("-o /dev/null", "it keeps nothing of what comes")
        if output == "/":
            return f"{self.folder or '.'}{os.sep}"
        absolute = Path(output).is_absolute() or not self.folder or program == "wget"
        return output if absolute else f"{self.folder.rstrip(os.sep)}{os.sep}{output}"


def _cookies(jar: http.cookiejar.CookieJar, url: str) -> list[str]:
    """Return the cookies of a file that belong to an address."""
    request = urllib.request.Request(url)  # noqa: S310 - it is never opened
    jar.add_cookie_header(request)
    return [line] if (line := request.get_header("Cookie") or "") else []


def written_name(program: str, url: str) -> str:
    """Return the name that curl -O or wget gives a file: that at the end of the address, whatever the server calls it.

    Wget takes the query for a part of it; one that may hold a key is left out, as a name is shown.

    Example:
        >>> [written_name("wget", f"https://e.org/{end}") for end in ("a%20b.csv?raw=true", "", "v1/a.zip?token=x")]
        ['a b.csv?raw=true', 'index.html', 'a.zip']
        >>> written_name("curl", "https://e.org/a%20b.csv?raw=true")
        'a%20b.csv'
    """
    path, _, query = url.partition("://")[2].partition("#")[0].partition("?")
    name = path.partition("/")[2].rpartition("/")[2]
    if program == "curl":
        return name
    name = urllib.parse.unquote(name, errors="replace") or "index.html"
    if query and _PLAIN_QUERY.fullmatch(query):
        name += f"?{urllib.parse.unquote(query, errors='replace')}"
    name = _NO_NAME.sub(lambda match: f"%{ord(match[0]):02X}", name)
    name = name.replace(".", "%2E") if name in (".", "..") else name
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore")


def expand_globs(url: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the addresses that curl makes of one, each with what stands for #0, #1 and so on.

    Raises:
        AddressError: They are too many.

    Example:
        >>> [one for one, _ in expand_globs("https://e.org/{a,b}[08-10].csv")][:4]
        ['https://e.org/a08.csv', 'https://e.org/a09.csv', 'https://e.org/a10.csv', 'https://e.org/b08.csv']
    """
    choices: list[list[str]] = []
    fixed = []
    at = 0
    for match in _GLOB.finditer(url):
        fixed.append(url[at : match.start()])
        choices.append(_choices(match[0]))
        at = match.end()
    if math.prod(len(choice) for choice in choices) > _MOST:
        raise refused(_url.shown(url), f"it stands for more than {_MOST:,} addresses")
    for parts in itertools.product(*choices):
        made = "".join(before + part for before, part in zip(fixed, parts, strict=True)) + url[at:]
        yield made, [made, *parts]


def _choices(text: str) -> list[str]:
    if text.startswith("{"):
        return text[1:-1].split(",")
    span, _, step = text[1:-1].partition(":")
    first, _, last = span.partition("-")
    by = int(step or 1)
    if first.isdecimal() and last.isdecimal():
        width = len(first) if first.startswith("0") else 0
        return [f"{number:0{width}}" for number in range(int(first), min(int(last), int(first) + _MOST * by) + 1, by)]
    if len(first) == len(last) == 1:
        return [chr(number) for number in range(ord(first), ord(last) + 1, by)]
    raise refused(text, "it is no span that curl knows")


def _ask_password(request: _Request, option: str, _: str) -> None:
    name = request.login.get("user", "NAME")
    raise AddressError(
        f"the pasted command has {option}, and there is nobody to ask",
        why="a line that is read has no terminal",
        hint="put the password into a secret, and write an f-string: "
        f"--user {name} --password {{ck.secret('PASSWORD')}}; or put it into ~/.netrc",
    )


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
    "output": lambda request, _, value: request.outputs.append(value),
    "output-dir": lambda request, _, value: setattr(request, "folder", value),
    "remote-name": lambda request, *_: request.outputs.append("/"),
    "globoff": lambda request, *_: setattr(request, "one_address", True),
    "remote-name-all": lambda request, *_: setattr(request, "named", True),
    "insecure": lambda request, option, _: setattr(request, "unchecked", option),
    "remote-header-name": lambda request, *_: setattr(request, "servers_name", True),
    "no-clobber": lambda request, *_: setattr(request, "keeps", True),
    "skip-existing": lambda request, *_: setattr(request, "keeps", True),
}
_OBEYED_BY_WGET = {
    "url": _OBEYED["url"],
    "header": _OBEYED["header"],
    "user-agent": _OBEYED["user-agent"],
    "referer": _OBEYED["referer"],
    "post-data": _OBEYED["data-raw"],
    "body-data": _OBEYED["data-raw"],
    "method": _OBEYED["request"],
    "load-cookies": _Request.cookie,
    "execute": _Request.setting,
    "ask-password": _ask_password,
    "output-document": _OBEYED["output"],
    "directory-prefix": _OBEYED["output-dir"],
    "input-file": lambda request, _, value: request.named_files(value),
    "no-clobber": lambda request, *_: setattr(request, "keeps", True),
    "no-check-certificate": _OBEYED["insecure"],
    "content-disposition": _OBEYED["remote-header-name"],
    "trust-server-names": _OBEYED["remote-header-name"],
    "user": lambda request, _, value: request.login.update(user=value),
    "http-user": lambda request, _, value: request.login.update(user=value),
    "password": lambda request, _, value: request.login.update(password=value),
    "http-password": lambda request, _, value: request.login.update(password=value),
}


def _read(words: list[str], spec: CommandSpec, program: str) -> ParsedSource:
    request = _Request(one_address=program == "wget")
    obeyed = _OBEYED if program == "curl" else _OBEYED_BY_WGET
    recursion = []
    options = list(parse_options(words, spec))
    jar_notes = cookie_jars.check(program, options)
    for option, name, value in cookie_jars.without_own(options):
        if name in obeyed:
            obeyed[name](request, option, value)
        if name in wget_recursive.OPTIONS or name == "execute":
            recursion.append((option, name, value))
    notes = [f"{request.unchecked} is ignored: the certificate of the server is checked"] if request.unchecked else []
    notes += jar_notes
    if program == "wget" and wget_recursive.is_recursive(recursion):
        return _recursive(request, recursion, notes)
    orders = []
    for url, place in request.pairs(program):
        source = request.source(url)
        if place.endswith(os.sep) and isinstance(source, WebSource) and not request.servers_name:
            place += written_name(program, url)  # noqa: PLW2901 - it is what the program would write
            if program == "wget" and "?" in url and "?" not in place:
                notes.append(f"the file is {place}: what follows ? in its address may hold a key, and names are shown")
        orders.append(
            ParsedSource(
                source=source,
                to=place or None,
                placing="as named" if not place else "folder" if place.endswith(os.sep) else "file",
                # A command that names the place means the file as it is, as curl and wget do.
                unpack=False if place else None,
                existing="keep" if request.keeps else "refuse",
                note="; ".join(notes),
            )
        )
        notes = []
    return together(orders)


def _recursive(request: _Request, options: list[wget_recursive.Option], notes: list[str]) -> ParsedSource:
    """Read wget -r, which takes what is listed below each address."""
    if request.outputs:
        raise refused(f"-O {request.outputs[-1]}", "with -r all files would become one")
    orders = []
    for url, _ in request.pairs("wget"):
        start = request.source(url)
        if not isinstance(start, WebSource) or start.body is not None:
            raise refused("-r", "it follows the listings of a web server; pass the link alone")
        order = wget_recursive.source_below(
            start,
            options,
            to=request.folder,
            existing="keep" if request.keeps else "refuse",
            robots=not any(name == "execute" for _, name, _ in options),  # which takes robots=off alone
        )
        orders.append(replace(order, note="; ".join([*notes, *([order.note] if order.note else [])])))
        notes = []
    return together(orders)
