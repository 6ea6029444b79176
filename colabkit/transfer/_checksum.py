"""Checksums: what the user or the server promises, and a hash that is taken while the bytes arrive."""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import importlib.util
import os
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._tools.optional import require
from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "crc32c": 8}
"""The algorithms and how many hexadecimal digits each has."""

_BLOCK = 1 << 20
_SHORT = 16
"""Digits that are too few to tell an algorithm by their number."""


class Crc32c:
    """The checksum of Google's storage, with the face of a hash of hashlib.

    Example:
        >>> crc = Crc32c()
        >>> crc.update(b"123456789")
        >>> crc.hexdigest()
        'e3069283'
    """

    def __init__(self) -> None:
        module: Any = require("google_crc32c", extra="gcs", why="checking CRC32C checksums needs it")
        self._extend = module.extend
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        """Take more bytes."""
        self._value = self._extend(self._value, bytes(data))

    def hexdigest(self) -> str:
        """Return the checksum of all bytes so far."""
        return f"{self._value:08x}"


def has_fast_crc32c() -> bool:
    """Say whether the processor computes CRC32C here, ten times as fast as a disk reads."""
    if importlib.util.find_spec("google_crc32c") is None:
        return False
    return bool(importlib.import_module("google_crc32c").implementation == "c")


def new(algorithm: str) -> Any:
    """Begin a checksum."""
    return Crc32c() if algorithm == "crc32c" else hashlib.new(algorithm, usedforsecurity=False)


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """One expected hash: the algorithm's name and the hexadecimal digits."""

    algorithm: str
    digits: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digits}"


def parse(text: str) -> Checksum:
    """Read "sha256:HEX"; sha1, md5 and crc32c work too, and bare digits are known by their number if they are many.

    Raises:
        AddressError: The text is no checksum.

    Example:
        >>> str(parse("MD5:D41D8CD98F00B204E9800998ECF8427E"))
        'md5:d41d8cd98f00b204e9800998ecf8427e'
    """
    name, colon, digits = text.strip().lower().partition(":")
    if not colon:
        counts = {count: known for known, count in DIGITS.items() if count > _SHORT}
        name, digits = counts.get(len(name), ""), name
    name = name.replace("-", "")
    if name not in DIGITS or not re.fullmatch(f"[0-9a-f]{{{DIGITS[name]}}}", digits, re.ASCII):
        raise AddressError(
            f"cannot read the checksum {text[:100]!r}",
            why="it is not ALGORITHM:DIGITS with crc32c (8 digits), md5 (32), sha1 (40) or sha256 (64)",
            do="write it as sha256:HEX, as sha256sum prints it",
        )
    return Checksum(algorithm=name, digits=digits)


def promised(headers: Mapping[str, str], *, whole: bool) -> Checksum | None:
    """Find a hash of the whole file in a server's headers.

    Args:
        headers: The headers of the answer.
        whole: Whether the answer holds the whole file: Content-MD5 and Digest speak of what was sent.
    """
    found = _pairs(headers.get("Repr-Digest"), ",")
    if headers.get("x-goog-stored-content-encoding", "identity") == "identity":
        found |= _pairs(headers.get("x-goog-hash"), ",")
    if whole:
        found |= _pairs(headers.get("Digest"), ",")
        if md5 := headers.get("Content-MD5"):
            found.setdefault("md5", md5.strip())
    known = {"sha-256": "sha256", "md5": "md5", **({"crc32c": "crc32c"} if "crc32c" in found else {})}
    for name, algorithm in known.items():
        if algorithm == "crc32c" and not has_fast_crc32c():
            continue
        try:
            digits = base64.b64decode(found.get(name, "").strip(":"), validate=True).hex()
        except (binascii.Error, ValueError):
            continue
        if len(digits) == DIGITS[algorithm]:
            return Checksum(algorithm=algorithm, digits=digits)
    return None


def _pairs(text: str | None, separator: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in (text or "")[:4096].split(separator))
    return {key.lower(): value for key, _, value in pairs if value}


def of_file(path: Path, algorithm: str) -> Checksum:
    """Hash a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: new(algorithm))
    return Checksum(algorithm=algorithm, digits=digest.hexdigest())


def of_bytes(data: bytes, algorithm: str) -> Checksum:
    """Hash bytes."""
    digest = new(algorithm)
    digest.update(data)
    return Checksum(algorithm=algorithm, digits=digest.hexdigest())


class PrefixHash:
    """Hashes a file on a thread of its own while it grows, so that verifying costs no second pass.

    Args:
        algorithm: The hash's name.
        descriptor: A readable descriptor of its own; it is closed at the end.
        ready: Returns how many bytes at the beginning are final.
    """

    def __init__(self, algorithm: str, descriptor: int, ready: Callable[[], int]) -> None:
        self._hash = new(algorithm)
        self._algorithm = algorithm
        self._descriptor = descriptor
        self._ready = ready
        self._more = threading.Event()
        self._end: int | None = None
        self._stopped = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="colabkit-hash", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """Say that there may be more to hash."""
        self._more.set()

    def result(self, size: int) -> Checksum:
        """Wait for the hash of the finished file."""
        self._end = size
        self._more.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return Checksum(algorithm=self._algorithm, digits=self._hash.hexdigest())

    def stop(self) -> None:
        """Give up; harmless after the end."""
        self._stopped = True
        self._more.set()
        self._thread.join()

    def _run(self) -> None:
        at = 0
        try:
            while not self._stopped and at != self._end:
                until = self._ready() if self._end is None else self._end
                if at >= until:
                    self._more.wait()
                    self._more.clear()
                    continue
                block = os.pread(self._descriptor, min(_BLOCK, until - at), at)
                if not block:
                    self._error = OSError("the file became shorter while it was read")
                    return
                self._hash.update(block)
                at += len(block)
        except OSError as error:
            self._error = error
        finally:
            os.close(self._descriptor)
