"""Readers for the HTTP headers that a transfer relies on; each takes hostile text and returns a value or nothing."""

from __future__ import annotations

import contextlib
import email.errors
import email.header
import email.utils
import functools
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
_PARAMETER = re.compile(
    r'(?:;|^)\s*(filename(?:\*\d{0,2})?\*?)\s*=\s*("(?:[^"\\]|\\.)*"|\'[^\';]*\'(?=\s*(?:;|$))|[^;]+)', re.IGNORECASE
)
_WINDOWS_PATH = re.compile(r'"(?:[A-Za-z]:|\\)\\')
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


@functools.lru_cache(maxsize=64)
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
        >>> disposition_name('attachment; filename="../../etc/passwd"'), disposition_name("filename='a.csv'")
        ('passwd', 'a.csv')
    """
    parameters: dict[str, str] = {}
    for key, raw in _PARAMETER.findall((text or "")[:8192]):
        value = raw.strip()
        if value.startswith('"') and value.find('"', 1) < 0:
            value = value[1:]  # it is never closed
        elif value.startswith("'") and value.endswith("'") and not key.endswith("*"):
            value = value.strip("'")
        elif value.startswith('"'):
            value = value[1:-1] if _WINDOWS_PATH.match(value) else re.sub(r"\\(.)", r"\1", value[1:-1])
        parameters.setdefault(key.lower(), value)
    names = [_extended(parameters), _mime_words(parameters.get("filename", ""))]
    return next((safe for name in names if (safe := safe_name(name))), "")


def as_sent(text: str | None) -> str:
    """Read a header whose bytes were UTF-8, or GBK where two Chinese letters follow one another, else Latin-1.

    Example:
        >>> as_sent("filename=caf\u00c3\u00a9.csv"), as_sent("filename=caf\u00e9.csv")
        ('filename=café.csv', 'filename=café.csv')
        >>> as_sent("训练.csv".encode("gbk").decode("latin-1")), as_sent("Größe.csv")
        ('训练.csv', 'Größe.csv')
    """
    with contextlib.suppress(UnicodeError):
        sent = (text or "").encode("latin-1")
        with contextlib.suppress(UnicodeError):
            return sent.decode()
        if _GBK.fullmatch(sent):
            return sent.decode("gbk")
    return text or ""


_GBK = re.compile(
    rb"(?:[\x00-\x7f]|[\xa1-\xf7][\xa1-\xfe])*(?:[\xb0-\xf7][\xa1-\xfe]){2}(?:[\x00-\x7f]|[\xa1-\xf7][\xa1-\xfe])*"
)
"""Pairs of high bytes; one pair alone may be two letters of Latin-1, as in Größe, but never two pairs."""


def _extended(parameters: Mapping[str, str]) -> str:
    """Read filename* in whole or in numbered parts (RFC 5987, RFC 2231)."""
    pieces, charset = [], "utf-8"
    names = ["filename*"] if "filename*" in parameters else []
    for number in range(100):
        name = next((name for name in (f"filename*{number}*", f"filename*{number}") if name in parameters), "")
        if names == ["filename*"] or not name:
            break
        names.append(name)
    for place, name in enumerate(names):
        value = parameters[name]
        if name.endswith("*"):
            if not place and value.count("'") >= 2:
                charset, _, value = value.split("'", 2)
                charset = charset or "utf-8"
            pieces.append(urllib.parse.unquote_to_bytes(value))
        else:
            pieces.append(value.encode(errors="replace"))
    try:
        return b"".join(pieces).decode(charset, "replace")
    except (LookupError, ValueError):  # no charset of that name, or no name at all
        return ""


def _mime_words(text: str) -> str:
    """Read a name that is encoded as mail does it (RFC 2047), or as addresses do; both are common, if wrong."""
    if "=?" in text:
        with contextlib.suppress(email.errors.HeaderParseError, LookupError, UnicodeError, ValueError):
            return str(email.header.make_header(email.header.decode_header(text)))
    if "%" in text:
        with contextlib.suppress(UnicodeDecodeError):
            return urllib.parse.unquote_to_bytes(text).decode()
    return text


@functools.lru_cache(maxsize=64)
def url_name(url: str) -> str:
    """Read the file name at the end of an address, or return "".

    Example:
        >>> url_name("https://example.org/a/my%20data.csv?x=1")
        'my data.csv'
    """
    try:
        path = urllib.parse.urlsplit(url).path
    except ValueError:
        return ""
    return safe_name(urllib.parse.unquote(path.rpartition("/")[2], errors="replace"))


def better_name(told: str, written: str) -> str:
    """Choose between the name that an answer gives and the one at the end of the address that the user wrote.

    A server's name goes first, unless it has no ending where the written one has, as after a redirect to a number.

    Example:
        >>> better_name("1234", "model.h5"), better_name("data-1.2.zip", "latest"), better_name("a.php", "b.csv")
        ('model.h5', 'data-1.2.zip', 'b.csv')
    """
    return written if _ending(written) > _ending(told) else told or written


def _ending(name: str) -> int:
    """Rank a name: 0 has no ending, or one of a program that makes pages; 1 may be a file; 2 is packed or data."""
    suffix = name.rpartition(".")[2].lower() if "." in name[1:] else ""
    if not re.fullmatch(r"(?=.*[a-z])[a-z0-9_]{1,12}|7z", suffix) or _PROGRAMS.fullmatch(suffix):
        return 0
    return 2 if _DATA.fullmatch(suffix) else 1


_PROGRAMS = re.compile(r"php\d?|aspx?|cgi|jspx?|do|pl|cfm|ashx")
_DATA = re.compile(
    r"7z|arrow|avi|bin|bz2|ckpt|csv|feather|gz|h5|hdf5|ipynb|jpe?g|jsonl?|keras|mat|mp[34]|npy|npz|onnx|parquet|pdf|"
    r"pickle|pkl|png|pth?|safetensors|tar|tf(record|lite)|tgz|tiff?|tsv|txt|wav|webp|xlsx?|xml|xz|ya?ml|zip|zst"
)


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
