"""Content codings: a server's label is a claim; the body, the file's name and the publisher's checksum decide."""

from __future__ import annotations

import contextlib
import importlib
import zlib
from typing import TYPE_CHECKING, Any, Protocol

from colabkit._internal.disk.streams import CompressedStream, StreamError

if TYPE_CHECKING:
    from collections.abc import Iterable

GZIP = frozenset({"gzip", "x-gzip"})
_CODINGS = GZIP | {"deflate", "zstd", "br", "compress", "x-compress"}
_PACKED_NAMES = {
    "gzip": (".gz", ".tgz", ".taz", ".gzip", ".svgz", ".emz", ".wmz", ".bgz", ".adz", ".cpgz", ".rdz", ".tpz"),
    "zstd": (".zst", ".tzst", ".zstd"),
    "br": (".br",),
    "compress": (".z", ".taz"),
}
_GZIP_MAGIC, _ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_HEAD = 64 << 10
_SAMPLE = 4 << 10


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def labelled(header: str | None) -> tuple[str, ...]:
    """Read a Content-Encoding: the codings it names, in the order in which they were applied.

    Storages put whatever people write there: a character set, a media type, `aws-chunked`. That is no coding.

    Example:
        >>> labelled("aws-chunked, gzip"), labelled("utf-8"), labelled(None)
        (('gzip',), (), ())
    """
    named = (part.strip().lower() for part in (header or "")[:256].split(","))
    return tuple(name for name in named if name in _CODINGS)


def is_packed_name(coding: str, names: Iterable[str]) -> bool:
    """Say whether a file's own name says that it is compressed this way, as `digits.csv.gz` does.

    Example:
        >>> is_packed_name("gzip", ["digits.csv.gz"]), is_packed_name("gzip", ["digits.csv"])
        (True, False)
    """
    endings = _PACKED_NAMES.get(coding.removeprefix("x-"), ())
    return any(name.lower().endswith(endings) for name in names if endings)


def fits(coding: str, head: bytes) -> bool | None:
    """Say whether a body that begins like this can be in a coding; None where it does not show."""
    if coding in GZIP:
        return head.startswith(_GZIP_MAGIC)
    if coding == "zstd":
        return head.startswith(_ZSTD_MAGIC)
    if coding == "deflate":
        return _deflate_window(head) is not None
    if coding in ("compress", "x-compress"):
        return head.startswith(b"\x1f\x9d")
    if coding == "br" and (brotli := _brotli()) is not None:
        try:
            brotli.Decompressor().process(head[:_SAMPLE])
        except brotli.error:
            return False
        return bool(head)
    return None


def begins_with(coding: str, head: bytes) -> bytes:
    """Return the first bytes of what a compressed body holds, or b"" where they cannot be had."""
    if coding in GZIP:
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(31).decompress(head, 4096)
    return b""


def opened(coding: str, body: _Reader, head: bytes) -> Any:
    """Return a reader of what a body holds, or None where nothing here can take this coding off.

    Args:
        coding: The label.
        body: The body from its beginning.
        head: What it begins with.
    """
    if coding in GZIP:
        return CompressedStream(body, "gz")
    if coding == "deflate":
        return _Deflated(body, _deflate_window(head) or -zlib.MAX_WBITS)
    if coding == "zstd":
        return CompressedStream(body, "zst")
    if coding == "br" and (brotli := _brotli()) is not None:
        return _Brotli(body, brotli)
    return None


def _brotli() -> Any:
    """Return the package that reads Brotli, if one is installed: nothing here asks servers for it."""
    for name in ("brotli", "brotlicffi"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


class _Brotli:
    """Reads what a Brotli body holds.

    Args:
        body: The body.
        brotli: The package.
    """

    def __init__(self, body: _Reader, brotli: Any) -> None:
        self._body = body
        self._brotli = brotli
        self._decoder = brotli.Decompressor()

    def read(self, size: int) -> bytes:  # noqa: ARG002 - older ones give all that a piece holds
        """Return the next bytes; b"" at the end."""
        try:
            while not self._decoder.is_finished():
                if not (given := self._body.read(_SAMPLE)):
                    raise StreamError("it ends early")
                if data := self._decoder.process(given):
                    return bytes(data)
        except self._brotli.error as error:
            raise StreamError(str(error)) from None
        while self._body.read(_HEAD):
            pass  # or the connection could not be used again
        return b""


def _deflate_window(head: bytes) -> int | None:
    """Tell zlib's wrapping, which the standard means, from the raw stream that some servers send."""
    for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        with contextlib.suppress(zlib.error):
            zlib.decompressobj(window).decompress(head[:_HEAD], 1 << 20)
            return window
    return None


class _Deflated:
    """Reads what a deflate body holds.

    Args:
        body: The body.
        window: zlib's number for the kind of wrapping.
    """

    def __init__(self, body: _Reader, window: int) -> None:
        self._body = body
        self._decoder = zlib.decompressobj(window)

    def read(self, size: int) -> bytes:
        """Return the next bytes; b"" at the end."""
        try:
            while not self._decoder.eof:
                given = self._decoder.unconsumed_tail or self._body.read(_HEAD)
                data = self._decoder.decompress(given, size)
                if data or self._decoder.eof:
                    return data
                if not given:
                    raise StreamError("it ends early")
        except zlib.error as error:
            raise StreamError(str(error)) from None
        while self._body.read(_HEAD):
            pass  # or the connection could not be used again
        return b""
