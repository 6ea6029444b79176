"""Compressed streams, read to their end: every member, every checksum, and word of what lies behind the last one."""

from __future__ import annotations

import bz2
import contextlib
import importlib
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Protocol, Self

from colabkit.errors import ColabKitError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable

_INPUT = 64 << 10
_HEAD = 18
_PROOF = 1024
_WIDEST_WINDOW = 1 << 31
_ZSTD_INPUT = 4 << 10
"""Compressed bytes that zstandard gets at once: it returns all that they become, up to 32,000 times as many."""


class StreamError(Exception):
    """A compressed stream is damaged, ends early, or is none."""


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class CompressedStream:
    """Reads what a compressed file holds, with the face of a file that is open to read.

    A file may be several members one after the other, as pigz, bgzip, `cat a.gz b.gz` and pzstd write them. Zeros
    behind a member are padding. Anything else there is junk if no member lies in it, and damage if one does.

    Args:
        file: The compressed bytes.
        compression: gz, bz2, xz or zst.

    Attributes:
        junk: Bytes behind the last member that belong to nothing; known at the end.

    Raises:
        StreamError: By `read`, if the stream is damaged.

    Example:
        >>> import gzip, io
        >>> stream = CompressedStream(io.BytesIO(gzip.compress(b"7,0,") + gzip.compress(b"0")), "gz")
        >>> stream.read(100) + stream.read(100)
        b'7,0,0'
    """

    def __init__(self, file: _Reader, compression: str) -> None:
        self._file = file
        self._codec = _CODECS[compression]
        self._decoder: Any = None
        self._input = b""
        self._members = 0
        self._at_end = False
        self.junk = 0

    def read(self, size: int = 1 << 20) -> bytes:
        """Return the next bytes, at most so many; b"" at the end, when all checksums have been right."""
        try:
            return self._read(size)
        except (ColabKitError, StreamError, MemoryError):
            raise
        except self._codec.errors as error:
            raise StreamError(" ".join(str(error).split())[:200] or "it is damaged") from error

    def close(self) -> None:
        """Close the file."""
        if (close := getattr(self._file, "close", None)) is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self, size: int) -> bytes:
        while not self._at_end:
            if self._decoder is None and not self._next_member():
                break
            decoder, given = self._decoder, b""
            if hungry := decoder.needs_input:
                given, self._input = self._input or self._file.read(_INPUT), b""
            data: bytes = decoder.decompress(given, size)
            if decoder.eof:
                self._input = decoder.unused_data + self._input
                self._decoder = None
                self._members += 1
            elif hungry and not given and not data:
                raise StreamError("it ends early")
            if data:
                return data
        self._at_end = True
        return b""

    def _next_member(self) -> bool:
        while True:
            if self._members:
                self._pass_zeros()
            self._fill(_HEAD)
            if not self._input and self._members:
                return False
            if (skipped := self._codec.skippable(self._input)) is None:
                break
            self._skip(skipped)
            self._members += 1
        if self._codec.starts(self._input):
            self._decoder = self._codec.decoder()
            return True
        if not self._members:
            raise StreamError(f"it is no {self._codec.name} file")
        self._pass_junk()
        return False

    def _fill(self, size: int) -> None:
        while len(self._input) < size and (more := self._file.read(_INPUT)):
            self._input += more

    def _pass_zeros(self) -> None:
        self._input = self._input.lstrip(b"\0")
        while not self._input and (more := self._file.read(_INPUT)):
            self._input = more.lstrip(b"\0")

    def _skip(self, size: int) -> None:
        while size:
            self._fill(1)
            if not self._input:
                raise StreamError("it ends early")
            passed = min(size, len(self._input))
            self._input, size = self._input[passed:], size - passed

    def _pass_junk(self) -> None:
        """Look through what follows the last member: a damaged member is no junk."""
        damaged = self._codec.resembles(self._input)
        while not damaged and self._input:
            self.junk += len(self._input)
            more = self._file.read(_INPUT)
            damaged = self._codec.lies_in(self._input + more[:_PROOF])
            self._input = more
        if damaged:
            raise StreamError("a part of it is damaged")


class _Codec:
    """One kind of compression.

    Args:
        name: For messages.
        magic: What a member begins with.
        alike: How many of those bytes tell a damaged member from junk.
        errors: What its decoder raises.
        decoder: Makes one for the next member.
    """

    def __init__(
        self, name: str, magic: bytes, alike: int, errors: tuple[type[Exception], ...], decoder: Callable[[], Any]
    ) -> None:
        self.name = name
        self.errors = errors
        self.decoder = decoder
        self._magic = magic
        self._alike = alike

    def starts(self, head: bytes) -> bool:
        """Say whether a member begins here."""
        return head.startswith(self._magic)

    def skippable(self, head: bytes) -> int | None:  # noqa: ARG002 - for one kind only
        """Return the length of a frame that holds no data, or None where none begins."""
        return None

    def resembles(self, head: bytes) -> bool:
        """Say whether this is the beginning of a member with a damaged byte."""
        same = sum(byte == other for byte, other in zip(head, self._magic, strict=False))
        return same >= self._alike

    def lies_in(self, data: bytes) -> bool:
        """Say whether a member begins somewhere in here."""
        at = -1
        while (at := data.find(self._magic, at + 1)) >= 0:
            if self._decodes(data[at : at + _PROOF]):
                return True
        return False

    def _decodes(self, data: bytes) -> bool:
        decoder = self.decoder()
        try:
            decoder.decompress(data, _PROOF)
        except self.errors:
            return False
        return True


class _Lzma(_Codec):
    def starts(self, head: bytes) -> bool:
        # The old .lzma format has no magic: its properties byte, and the size of its dictionary.
        return super().starts(head) or (len(head) > 13 and head[0] == 0x5D and head[1:3] == b"\0\0")


class _Zstd(_Codec):
    def skippable(self, head: bytes) -> int | None:
        if head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50 and len(head) >= 8:
            return 8 + int.from_bytes(head[4:8], "little")
        return None


class _GzipDecoder:
    """zlib's decoder of one gzip member, with the face of the other modules' decoders."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(31)
        self.needs_input = True
        self._full = False

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, most: int) -> bytes:
        output = self._decoder.decompress(self._decoder.unconsumed_tail + data, most)
        self.needs_input = not self._decoder.unconsumed_tail and len(output) < most
        return output


class _ZstandardDecoder:
    """The decoder of one frame of the package zstandard, with the face of the one of Python 3.14."""

    def __init__(self, module: Any) -> None:
        self._decoder = module.ZstdDecompressor(max_window_size=_WIDEST_WINDOW).decompressobj()
        self._input = b""
        self._output = b""

    @property
    def needs_input(self) -> bool:
        return not self._input and not self._output and not self._decoder.eof

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof) and not self._output

    @property
    def unused_data(self) -> bytes:
        unused: bytes = self._decoder.unused_data
        return unused + self._input

    def decompress(self, data: bytes, most: int) -> bytes:
        self._input += data
        at = 0
        while not self._output and at < len(self._input) and not self._decoder.eof:
            self._output = self._decoder.decompress(self._input[at : at + _ZSTD_INPUT])
            at += _ZSTD_INPUT
        self._input = self._input[at:]
        output, self._output = self._output[:most], self._output[most:]
        return output


def _zstd_decoder() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ModuleNotFoundError):
            module = importlib.import_module(name)
            return module.ZstdDecompressor(options={module.DecompressionParameter.window_log_max: 31})
    try:
        return _ZstandardDecoder(importlib.import_module("zstandard"))
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "cannot unpack .zst",
            why="reading it needs Python 3.14 or the package zstandard",
            hint="run: pip install zstandard",
        ) from None


_CODECS: dict[str, _Codec] = {
    "gz": _Codec("gzip", b"\x1f\x8b\x08", 2, (zlib.error,), _GzipDecoder),
    "bz2": _Codec("bzip2", b"BZh", 2, (OSError, ValueError, EOFError), bz2.BZ2Decompressor),
    "xz": _Lzma("xz", b"\xfd7zXZ\0", 4, (lzma.LZMAError, ValueError, EOFError), lzma.LZMADecompressor),
    # Each package has a ZstdError of its own, and the decoder is asked for nothing else.
    "zst": _Zstd("zstd", b"\x28\xb5\x2f\xfd", 3, (Exception,), _zstd_decoder),
}
