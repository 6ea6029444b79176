"""What Google Drive's pages hold: the button that downloads a large file, a refusal, the files of a folder."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field
from html.parser import HTMLParser

from colabkit._http import sent_secrets
from colabkit._internal import foreign

_MOST = 8 << 20


@dataclass
class Row:
    """One entry of a folder's page.

    Attributes:
        href: The link.
        title: The name.
        modified: When it was changed, as the page writes it.
    """

    href: str
    title: str = ""
    modified: str = ""


@dataclass
class DrivePage:
    """What is of use on a page of Drive.

    Attributes:
        title: Its title.
        form: The address that the download button sends to, with all that it sends, or "".
        error: The words of a refusal, or "".
        rows: The entries, where it is a folder's page.
    """

    title: str = ""
    form: str = ""
    error: str = ""
    rows: list[Row] = field(default_factory=list)


def read(html: bytes) -> DrivePage:
    """Read a page; whatever is not on it stays empty.

    Example:
        >>> read(b'<form id="download-form" action="https://x/d"><input type="hidden" name="id" value="1"></form>').form
        'https://x/d?id=1'
    """
    reader = _Reader()
    foreign.feed(reader, html[:_MOST].decode("utf-8", "replace"))
    page = reader.page
    page.title = sent_secrets.scrub(_line(page.title))
    page.error = sent_secrets.scrub(_line(page.error))
    for row in page.rows:
        row.title, row.modified = _line(row.title), _line(row.modified)
    if reader.action:
        page.form = _with_query(reader.action, reader.hidden)
    return page


def _line(text: str) -> str:
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def _with_query(action: str, hidden: dict[str, str]) -> str:
    try:
        parts = urllib.parse.urlsplit(action)
    except ValueError:
        return ""
    query = dict(urllib.parse.parse_qsl(parts.query)) | hidden
    return urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = DrivePage()
        self.action = ""
        self.hidden: dict[str, str] = {}
        self._in_form = False
        self._inside = ""  # what the text that follows belongs to
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        classes = values.get("class", "").split()
        if self._inside and tag in ("div", "p", "span"):
            self._depth += 1
        elif tag == "title":
            self._inside = "title"
        elif tag == "form" and values.get("id") == "download-form":
            self.action, self._in_form = values.get("action", ""), True
        elif tag == "input" and self._in_form and values.get("type") == "hidden":
            self.hidden[values.get("name", "")] = values.get("value", "")
        elif tag == "a" and values.get("href", "").startswith("https://"):
            self.page.rows.append(Row(href=values["href"]))
        elif "uc-error-subcaption" in classes:
            self._inside = "error"
        elif "flip-entry-title" in classes and self.page.rows:
            self._inside = "entry"
        elif "flip-entry-last-modified" in classes and self.page.rows:
            self._inside = "modified"

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._in_form = False
        if self._inside == "title" and tag == "title":
            self._inside = ""
        elif self._inside and tag in ("div", "p", "span"):
            if self._depth == 0:
                self._inside = ""
            else:
                self._depth -= 1

    def handle_data(self, data: str) -> None:
        page = self.page
        if self._inside == "title":
            page.title += data
        elif self._inside == "error":
            page.error += data
        elif self._inside == "entry":
            page.rows[-1].title += data
        elif self._inside == "modified":
            page.rows[-1].modified += data
