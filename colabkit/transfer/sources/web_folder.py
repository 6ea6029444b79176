"""A folder on the web whose server lists what is in it: the source behind wget -r."""

from __future__ import annotations

import fnmatch
import functools
import re
import urllib.parse
import urllib.robotparser
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from colabkit._engine.parallel import AT_ONCE
from colabkit._engine.source import Entry
from colabkit._http.headers import safe_name
from colabkit._http.json_api import ask, unexpected
from colabkit._http.url import parse
from colabkit._internal import foreign
from colabkit.errors import AccessError, AddressError, NotFoundError, TransferError
from colabkit.transfer.sources import web_listing as listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colabkit._http.json_api import ApiResponse
    from colabkit.transfer.sources.web import WebSource

MOST_FILES = 200_000
MOST_FOLDERS = 5_000
DEEPEST = 100
LONGEST_LISTING = 64 << 20
_REDIRECTS = 5
_LONGEST_RULES = 512 << 10
_PAGE = "index.html"


@dataclass(frozen=True, kw_only=True)
class RecursiveSpec:
    """What a recursive fetch takes, and where it puts it, in wget's words.

    Attributes:
        level: How many links lie between the first listing and a file; 0 sets no limit.
        accepted: Endings or patterns of names; with any, only what fits one is kept.
        rejected: Endings or patterns of names that are not kept.
        excluded: Folders that are not entered, as paths on the server.
        host: Paths begin with a folder of the host's name.
        cut: How many folders of the path on the server are left away.
        flat: No folders are made.
        later_wins: Of two files that get one name the later one is kept; else it gets a number.
        robots: What robots.txt forbids is not fetched.
    """

    level: int = 5
    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    host: bool = True
    cut: int = 0
    flat: bool = False
    later_wins: bool = False
    robots: bool = True

    def keeps(self, name: str) -> bool:
        """Say whether a file is kept.

        Example:
            >>> spec = RecursiveSpec(accepted=("csv", "a.*"), rejected=("b*",))
            >>> [spec.keeps(name) for name in ("x.csv", "a.txt", "b.csv", "c.txt")]
            [True, True, False, False]
        """
        return (not self.accepted or _fits(name, self.accepted)) and not _fits(name, self.rejected)

    def enters(self, path: str) -> bool:
        """Say whether a folder of the server is entered."""
        plain = path.strip("/")
        folders = [folder.strip("/") for folder in self.excluded]
        return not any(fnmatch.fnmatchcase(plain, folder) or plain.startswith(f"{folder}/") for folder in folders)

    def place(self, netloc: str, folder: str) -> str:
        """Return the folder on this machine for a folder of the server: "" or with "/" at its end.

        Example:
            >>> RecursiveSpec(cut=1).place("example.org", "/files/db/")
            'example.org/db/'
        """
        if self.flat:
            return ""
        parts = [urllib.parse.unquote(part, errors="replace") for part in folder.split("/") if part][self.cut :]
        return "".join(f"{part}/" for part in ([netloc] if self.host else []) + parts)


@dataclass(frozen=True, kw_only=True)
class WebFolderSource:
    """All files below a folder that its server lists.

    Attributes:
        start: The first listing.
        spec: What is taken, and where it goes.
        at_once: How many files come side by side.
        pause: Seconds between two files.
        exact_names: Names stay as they are, as wget keeps a colon in the folder of a host.
    """

    start: WebSource
    spec: RecursiveSpec
    at_once: int = AT_ONCE
    pause: float = 0.0
    exact_names: bool = True

    @property
    def identity(self) -> str:
        """The address with all that changes the answer, and what is taken of it."""
        return f"{self.start.identity}\0recursive\0{self.spec}"

    @property
    def shown(self) -> str:
        """The address of the first listing."""
        return self.start.shown

    @property
    def name(self) -> str:
        """The last folder of the address."""
        path = urllib.parse.urlsplit(self.start.address.url)
        return safe_name(urllib.parse.unquote(path.path.rstrip("/").rpartition("/")[2])) or safe_name(path.netloc)

    @property
    def place(self) -> str:
        """The folder on this machine that the first listing becomes."""
        parts = urllib.parse.urlsplit(self.start.address.url)
        return self.spec.place(parts.netloc, f"{parts.path.rpartition('/')[0]}/")

    def here(self, *, ask: bool = True) -> None:
        """Nothing else on this machine keeps it."""

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """Read the listings, one after the other, those of the first folders first.

        Raises:
            AddressError: The page is no listing, or two files would have one name.
            AccessError: It may not be read, or robots.txt forbids it.
            NotFoundError: It is not there, or no file is wanted.
            TransferError: It is too large, or hostile.
        """
        entries: dict[str, Entry] = {}
        for path, entry in self._walk():
            name = path
            if name in entries and self.spec.flat and not self.spec.later_wins:
                numbers = (f"{path}.{number}" for number in range(1, MOST_FILES))
                name = next(numbered for numbered in numbers if numbered not in entries)
                if not self.spec.keeps(name):
                    raise self._twice(path)  # wget would throw it away
            elif name in entries and not name.endswith(_PAGE):
                raise self._twice(path)
            entries[name] = replace(entry, path=name)
            if len(entries) > MOST_FILES:
                raise self._too_much(f"there are more than {MOST_FILES:,} files")
        if not entries:
            raise NotFoundError(
                f"there is no file to fetch below {self.shown}",
                why="no name fits what -A and -R ask for, or the folder is empty",
                hint="look at the page in a browser, and compare the names",
            )
        return self.name, list(entries.values())

    def _walk(self) -> Iterator[tuple[str, Entry]]:
        self._may(self.start.address.url)
        waiting: deque[tuple[str, int]] = deque([(self.start.address.url, 0)])
        seen = {self.start.address.url}
        while waiting:
            url, depth = waiting.popleft()
            address, page = self._page(url, first=depth == 0)
            folder = urllib.parse.urlsplit(address)
            links = listing.read(page.body, address) if address.endswith("/") else None
            if links is None and not depth and not page.headers.get("Content-Type", "").startswith("text/html"):
                name = urllib.parse.unquote(folder.path.rpartition("/")[2], errors="replace")
                yield self._entry(self.spec.place(folder.netloc, folder.path.rpartition("/")[0]), name, address, "")
                return
            if links is None:
                raise self._no_listing(address, first=depth == 0)
            place = self.spec.place(folder.netloc, folder.path)
            if self.spec.keeps(_PAGE):
                yield self._entry(place, _PAGE, address, "")
            if self.spec.level and depth >= self.spec.level:
                continue
            for link in links:
                if not link.is_folder:
                    if self.spec.keeps(link.name) and self._may(link.url):
                        yield self._entry(place, link.name, link.url, link.version)
                elif link.url not in seen and self.spec.enters(urllib.parse.urlsplit(link.url).path):
                    seen.add(link.url)
                    waiting.append((link.url, depth + 1))
            if len(seen) > MOST_FOLDERS or depth > DEEPEST:
                raise self._too_much(f"it has more than {MOST_FOLDERS:,} folders, or lies more than {DEEPEST} deep")

    def _entry(self, place: str, name: str, url: str, version: str) -> tuple[str, Entry]:
        source = replace(self.start, address=replace(parse(url), authorization=self.start.address.authorization))
        if name == _PAGE or name.lower().endswith((".html", ".htm")):
            source = replace(source, page_expected=True)
        return f"{place}{name}", Entry(path=f"{place}{name}", source=source, version=version)

    def _page(self, url: str, *, first: bool) -> tuple[str, ApiResponse]:
        """Ask for a listing; a redirect counts as long as it stays in the folder."""
        what = f"cannot list {parse(url).shown}"
        headers = self.start.remote().target.headers
        for _ in range(_REDIRECTS):
            reply = ask(url, what=what, headers=headers, most=LONGEST_LISTING)
            if not reply.location:
                break
            target = urllib.parse.urldefrag(urllib.parse.urljoin(url, reply.location)).url
            inside = self.start.address.url if first else f"{self.start.address.url.rpartition('/')[0]}/"
            if not target.startswith(inside):
                raise TransferError(
                    what,
                    why="it leads to another place, and -r stays in its folder",
                    hint=f"write the address that it leads to: {foreign.printable(target.partition('?')[0])}",
                )
            url = target
        if reply.status in (401, 403):
            raise AccessError(
                what,
                why=f"the server answered {reply.status}",
                hint="add --user NAME --password, or put the login into ~/.netrc; some data need a signed agreement",
            )
        if reply.status in (404, 410):
            raise NotFoundError(what, why=f"the server answered {reply.status}", hint="check the address in a browser")
        if reply.status != 200:
            raise unexpected(what, reply)
        if len(reply.body) >= LONGEST_LISTING:  # it was cut, and files would be missing in silence
            raise self._too_much(f"a listing has more than {LONGEST_LISTING >> 20} MiB")
        return url, reply

    @functools.cached_property
    def _rules(self) -> urllib.robotparser.RobotFileParser:
        rules, lines = urllib.robotparser.RobotFileParser(), []
        if self.spec.robots:
            address = urllib.parse.urljoin(self.start.address.url, "/robots.txt")
            reply = ask(address, what=f"cannot ask for {parse(address).shown}", most=_LONGEST_RULES)
            lines = reply.body.decode("utf-8", "replace").splitlines() if reply.status == 200 else []
        with foreign.reading(lambda why: TransferError("robots.txt cannot be read", why=why)):
            rules.parse(lines)
        return rules

    def _may(self, url: str) -> bool:
        if not self._rules.can_fetch("Wget", url):
            raise AccessError(
                f"robots.txt of the server forbids programs to fetch {parse(url).shown}",
                why="wget would leave it out without a word",
                hint="if its owner lets you, add -e robots=off to the line",
            )
        return True

    def _no_listing(self, url: str, *, first: bool) -> AddressError:
        address = parse(url).shown
        if first:
            return AddressError(
                f"{address} is a web page, and no listing of a folder",
                why="-r follows the listings of Apache, nginx and their like; whole web sites are not fetched",
                hint="pass the addresses of the files themselves; a list comes side by side",
            )
        return AddressError(
            f"{address} shows a page of its own, so that its files are not listed",
            why="files might be left out in silence",
            hint=f"leave it out: -X {urllib.parse.urlsplit(url).path.rstrip('/')}",
        )

    def _twice(self, path: str) -> AddressError:
        return AddressError(
            f"two files would become {foreign.printable(path)}",
            why="without their folders they have the same name, and one would be lost",
            hint="leave out -nd, or lower --cut-dirs",
        )

    def _too_much(self, why: str) -> TransferError:
        return TransferError(
            f"{self.shown} is too large to be fetched as one folder", why=why, hint="fetch the folders in it one by one"
        )


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(name, pattern) if re.search(r"[*?\[\]]", pattern) else name.endswith(pattern)
        for pattern in patterns
    )
