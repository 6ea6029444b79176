"""The page by which a web server lists a folder: Apache's, nginx's and their like, each byte of it hostile."""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from dataclasses import dataclass
from html.parser import HTMLParser

from colabkit._internal import foreign
from colabkit.errors import TransferError

_HEADING = re.compile(r"\s*(?:index of|directory listing|directory of|listing of|contents of)\b", re.IGNORECASE)
_LONGEST = 400


@dataclass(frozen=True, kw_only=True)
class ListedLink:
    """One row of a listing.

    Attributes:
        name: The plain name of what it leads to.
        url: Its address; a folder's ends with "/".
        version: What changes when the file does: a hash of the date and the size that stand beside it, or "".
    """

    name: str
    url: str
    version: str

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.url.endswith("/")


def read(page: bytes, url: str) -> list[ListedLink] | None:
    """Read a listing; None where the page is another one.

    Links to other hosts, to folders above or beside, and those that only sort the listing are left out.

    Args:
        page: Its bytes.
        url: Its address, which ends with "/".

    Raises:
        TransferError: A name in it would leave its folder.

    Example:
        >>> page = b'<title>Index of /d/</title><a href="../">../</a><a href="a.csv">a.csv</a> 2-Dec 18'
        >>> [link.name for link in read(page, "https://example.org/d/")]
        ['a.csv']
    """
    reader = _Reader()
    foreign.feed(reader, page.decode("utf-8", "replace"))
    if not any(_HEADING.match(heading) for heading in reader.headings):
        return None
    links: dict[str, ListedLink] = {}
    for href, beside in reader.links:
        address = _child(href, url)
        if address and address not in links:
            name = urllib.parse.unquote(address[len(url) :].rstrip("/"), errors="replace")
            if name in ("", ".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", name):
                raise TransferError(
                    f"the listing at {_for_message(url)} holds the name {name[:100]!r}, which is refused",
                    why="it would leave its folder, or has control characters",
                    hint="do not trust this server; fetch the files that you need by their addresses",
                )
            text = " ".join(beside.split())
            version = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16] if text else ""
            links[address] = ListedLink(name=name, url=address, version=version)
    return list(links.values())


def _child(href: str, url: str) -> str:
    """Return the address of what lies right in the folder of a listing; "" for all else."""
    try:
        address = urllib.parse.urldefrag(urllib.parse.urljoin(url, href.strip())).url
        parts = urllib.parse.urlsplit(address)
    except ValueError:
        return ""
    rest = address[len(url) :]
    if parts.query or address.endswith("?") or not address.startswith(url) or not rest or len(rest) > _LONGEST * 3:
        return ""
    if "/" in rest.rstrip("/") or rest.startswith("/"):
        return ""
    safe = "".join(letter if "!" <= letter <= "~" else urllib.parse.quote(letter, errors="replace") for letter in rest)
    return url + safe


def _for_message(url: str) -> str:
    return foreign.printable(url.partition("?")[0])


class _Reader(HTMLParser):
    """Collects headings, and links with the text that follows each."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.links: list[tuple[str, str]] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("title", "h1", "h2"):
            self._inside = tag
            self.headings.append("")
        elif tag == "a":
            self._inside = tag
            href = next((value for name, value in attrs if name == "href" and value), "")
            self.links.append((href, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("title", "h1", "h2"):
            self.headings[-1] = (self.headings[-1] + data)[:_LONGEST]
        elif not self._inside and self.links and len(self.links[-1][1]) < _LONGEST:
            href, beside = self.links[-1]
            self.links[-1] = href, (beside + data)[:_LONGEST]
