"""Readers for the HTTP headers that a transfer relies on; each takes hostile text and returns a value or nothing."""

from __future__ import annotations

import email.utils
import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes\s+\*/(\d{1,18})", re.ASCII | re.IGNORECASE)
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,512}"')
_PARAMETER = re.compile(r';\s*(filename\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]+)', re.IGNORECASE)
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')

_LONGEST_NAME = 180
_SETTLED = 2.0
"""A date is a safe validator only when the file had been left alone this many seconds (RFC 9110, 8.8.2.2)."""


@dataclass(frozen=True, kw_only=True)
class ContentRange:
    """Which part of a file an answer holds: bytes `start` to `stop`, without the latter, of `total`."""

    start: int
    stop: int
    total: int | None


@dataclass(frozen=True, kw_only=True)
class Validator:
    """What tells one version of a remote file from another; empty when the server gives nothing to trust.

    Attributes:
        etag: A strong entity tag with its quotes.
        modified: A Last-Modified date that is old enough to be trusted.
        version: The number that Google's storage gives each version of an object.
    """

    etag: str = ""
    modified: str = ""
    version: str = ""

    @property
    def if_range(self) -> str:
        """The value of an If-Range header."""
        return self.etag or self.modified

    @property
    def trusted(self) -> bool:
        """Whether it can tell versions apart."""
        return bool(self.etag or self.modified or self.version)

    def contradicts(self, other: Validator) -> bool:
        """Say whether the two cannot belong to one version."""
        if self.version and other.version:
            return self.version != other.version
        if self.etag and other.etag:
            return self.etag != other.etag
        return bool(self.modified and other.modified and self.modified != other.modified)


def content_range(text: str | None) -> ContentRange | None:
    """Read a Content-Range of a 206.

    Example:
        >>> content_range("bytes 0-99/1234")
        ContentRange(start=0, stop=100, total=1234)
        >>> content_range("bytes 5-4/3") is None
        True
    """
    match = _RANGE.fullmatch((text or "").strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(start=first, stop=last + 1, total=total)


def unsatisfied_total(text: str | None) -> int | None:
    """Read the size that a 416 tells.

    Example:
        >>> unsatisfied_total("bytes */0")
        0
    """
    match = _UNSATISFIED.fullmatch((text or "").strip())
    return int(match[1]) if match else None


def content_length(text: str | None) -> int | None:
    """Read a Content-Length; a list of equal numbers counts once, anything else is nothing.

    Example:
        >>> content_length("42"), content_length("42, 42"), content_length("42, 43"), content_length("-1")
        (42, 42, None, None)
    """
    numbers = {part.strip() for part in (text or "").split(",")}
    if len(numbers) != 1:
        return None
    match = _LENGTH.fullmatch(numbers.pop())
    return int(match[0]) if match else None


def validator(headers: Mapping[str, str]) -> Validator:
    """Collect what these headers say about the version of the file; weak tags are never trusted."""
    etag = (headers.get("ETag") or "").strip()
    modified = (headers.get("Last-Modified") or "").strip()
    generation = (headers.get("x-goog-generation") or "").strip()
    changed, now = _date(modified), _date(headers.get("Date"))
    settled = changed is not None and now is not None and now - changed >= _SETTLED
    return Validator(
        etag=etag if _STRONG_ETAG.fullmatch(etag) else "",
        modified=modified if settled else "",
        version=generation if _LENGTH.fullmatch(generation) else "",
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds a server asks us to wait.

    A date is compared with the server's own clock: ours may be wrong.

    Example:
        >>> retry_after({"Retry-After": "7"})
        7.0
    """
    text = (headers.get("Retry-After") or "").strip()
    if _LENGTH.fullmatch(text):
        return float(text)
    until, now = _date(text), _date(headers.get("Date"))
    if until is None or now is None:
        return None
    return max(0.0, until - now)


def _date(text: str | None) -> float | None:
    if not text or len(text) > 64:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def disposition_name(text: str | None) -> str:
    r"""Read the file name of a Content-Disposition, or return "".

    Example:
        >>> disposition_name('attachment; filename="plain.csv"; filename*=UTF-8\'\'caf%C3%A9.csv')
        'café.csv'
        >>> disposition_name('attachment; filename="../../etc/passwd"')
        'passwd'
    """
    found: dict[str, str] = {}
    for key, raw in _PARAMETER.findall((text or "")[:4096]):
        value = re.sub(r"\\(.)", r"\1", raw[1:-1]) if raw.startswith('"') else raw
        found.setdefault(key.lower(), value)
    if encoded := found.get("filename*"):
        charset, quote, rest = encoded.partition("'")
        if quote and charset.lower() in ("utf-8", "iso-8859-1"):
            name = urllib.parse.unquote(rest.partition("'")[2], encoding=charset, errors="replace")
            if safe := safe_name(name):
                return safe
    return safe_name(found.get("filename", ""))


def url_name(url: str) -> str:
    """Read the file name at the end of an address, or return "".

    Example:
        >>> url_name("https://example.org/a/my%20data.csv?x=1")
        'my data.csv'
    """
    path = urllib.parse.urlsplit(url).path
    return safe_name(urllib.parse.unquote(path.rpartition("/")[2], errors="replace"))


def safe_name(name: str) -> str:
    r"""Make a plain file name of untrusted text: no folder, no control character, no hidden file, not too long.

    Example:
        >>> safe_name("..\\up/..hidden\x00.csv"), safe_name("..")
        ('hidden_.csv', '')
    """
    last = re.split(r"[/\\]", name)[-1]
    clean = _FORBIDDEN.sub("_", last).strip().lstrip(". ").rstrip(". ")
    if len(clean.encode(errors="replace")) <= _LONGEST_NAME:
        return clean
    stem, dot, suffix = clean.rpartition(".")
    tail = (dot + suffix).encode(errors="replace")[:32] if stem else b""
    head = (stem or clean).encode(errors="replace")[: _LONGEST_NAME - len(tail)]
    return (head + tail).decode(errors="ignore").rstrip(". ")
