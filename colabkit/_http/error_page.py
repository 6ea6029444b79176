"""Web pages that come where a file was expected, and what they say."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from colabkit._http import sent_secrets
from colabkit._internal import foreign

PAGE_SUFFIXES = (".html", ".htm", ".xhtml", ".shtml")

_BEGINS = re.compile(
    rb"\s*(?:<!--.{0,2000}?-->\s*|<\?xml[^>]{0,200}\?>\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_CONTAINS = re.compile(rb"<(?:html|head|body|title)\b", re.IGNORECASE)
_UNSEEN = frozenset({"script", "style", "noscript", "template", "svg"})
_ENOUGH = 300


def is_page(head: bytes, content_type: str) -> bool:
    r"""Say whether these first bytes are a web page.

    The label alone proves nothing: many servers call a CSV text/html.

    Example:
        >>> is_page(b"<!DOCTYPE html><title>Sign in</title>", "application/octet-stream")
        True
        >>> is_page(b"id,label\n", "text/html; charset=utf-8")
        False
        >>> is_page("<html>Sign in".encode("utf-16"), "text/html; charset=utf-16")
        True
    """
    head = _as_utf8(head[:4096])
    if _BEGINS.match(head):
        return True
    return content_type.partition(";")[0].strip().lower() == "text/html" and _CONTAINS.search(head) is not None


def _as_utf8(page: bytes) -> bytes:
    """Take the mark of its encoding off a page; the letters of one in UTF-16 have two bytes each."""
    if page.startswith((b"\xff\xfe", b"\xfe\xff")):
        return page.decode("utf-16", errors="ignore").encode(errors="ignore")
    return page.removeprefix(b"\xef\xbb\xbf")


def words(page: bytes) -> str:
    """Return a page's title and first words as one short line, without what this process has sent in secret.

    Example:
        >>> words(b"<html><title>Quota exceeded</title><p>Try again <b>later</b>.")
        'Quota exceeded. Try again later.'
    """
    reader = _Reader()
    # What is looked at may end within a tag, which is no word.
    foreign.feed(reader, re.sub(rb"<[^<>]*\Z", b"", _as_utf8(page[:65536])).decode("utf-8", "replace"))
    title = _line("".join(reader.title))
    text = _line("".join(reader.text))
    if title and not text.startswith(title):
        text = f"{title.rstrip('.')}. {text}" if text else title
    text = sent_secrets.scrub(text)
    return text if len(text) <= _ENOUGH else text[: _ENOUGH - 1] + "…"


def _line(text: str) -> str:
    line = re.sub(r"\s+([.,;:!?])", r"\1", " ".join(text.split()))
    return "".join(letter for letter in line if letter.isprintable())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.title: list[str] = []
        self.text: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the base class names it
        if tag in _UNSEEN or tag == "title":
            self._inside = tag
        self.text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""
        self.text.append(" ")

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title.append(data)
        elif not self._inside:
            self.text.append(data)
