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

from colabkit._internal.optional import require
from colabkit._internal.process.threads import start_thread
from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128, "crc32c": 8}
"""The algorithms and how many hexadecimal digits each has."""

_BLOCK = 1 << 20
_TELLS = re.compile("^(?:repr-digest|digest|content-md5|content-digest|oc-checksum|x-)", re.IGNORECASE | re.MULTILINE)
_LISTED = re.compile(r"([0-9a-fA-F]{32,128})\s+\*?\S.*")
"""A line as sha256sum prints it, with the name of the file."""
_NAMED = re.compile(r"\s*[:=]\s*")
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
    """Read "sha256:HEX", "sha256=HEX" or a line of sha256sum; sha512, sha1, md5 and crc32c work too.

    Bare digits are known by their number if they are many.

    Raises:
        AddressError: The text is no checksum.

    Example:
        >>> str(parse("MD5:D41D8CD98F00B204E9800998ECF8427E"))
        'md5:d41d8cd98f00b204e9800998ecf8427e'
    """
    listed = _LISTED.fullmatch(text.strip())
    name, colon, digits = _NAMED.sub(":", listed[1] if listed else text.strip(), count=1).lower().partition(":")
    if not colon:
        counts = {count: algorithm for algorithm, count in DIGITS.items() if count > _SHORT}
        name, digits = counts.get(len(name), ""), name
    name = name.replace("-", "")
    if name not in DIGITS or not re.fullmatch(f"[0-9a-f]{{{DIGITS[name]}}}", digits, re.ASCII):
        raise AddressError(
            f"cannot read the checksum {text[:100]!r}",
            why="it is not ALGORITHM:DIGITS with crc32c (8 digits), md5 (32), sha1 (40), sha256 (64) or sha512 (128)",
            hint="write it as sha256:HEX, as sha256sum prints it",
        )
    return Checksum(algorithm=name, digits=digits)


def promised(headers: Mapping[str, str], *, is_complete: bool) -> Checksum | None:
    """Find a hash of the whole file in a server's headers, the strongest if there are several.

    Args:
        headers: The headers of the answer.
        is_complete: Whether the answer holds all of the file: Content-MD5 and Content-Digest are of what was sent, all
            others of the file.

    Example:
        >>> str(promised({"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, is_complete=True))
        'md5:d41d8cd98f00b204e9800998ecf8427e'
    """
    if not _TELLS.search("\n".join(headers)):
        return None
    promises: list[tuple[str, str]] = []
    for name in ("Repr-Digest", "Digest", "x-goog-hash", *(("Content-Digest",) if is_complete else ())):
        stored = name != "x-goog-hash" or headers.get("x-goog-stored-content-encoding", "identity") == "identity"
        pairs = (part.strip().partition("=") for part in (headers.get(name) or "")[:4096].split(","))
        promises += [(key.strip(), value) for key, _, value in pairs if stored]
    promises += [
        ("md5", headers.get("x-ms-blob-content-md5") or ""),
        ("md5", (is_complete and headers.get("Content-MD5")) or ""),
    ]
    promises += [
        (name.partition(":")[0], name.partition(":")[2]) for name in (headers.get("OC-Checksum") or "").split()
    ]
    for algorithm in ("sha512", "sha256", "sha1", "md5"):
        promises.append((algorithm, headers.get(f"X-Checksum-{algorithm}") or ""))
    if headers.get("x-amz-checksum-type", "FULL_OBJECT").upper() == "FULL_OBJECT":
        promises += [(name, headers.get(f"x-amz-checksum-{name}") or "") for name in ("sha256", "sha1", "crc32c")]
    promises.append(("sha1", headers.get("x-bz-content-sha1") or ""))
    checksums = {
        checksum.algorithm: checksum
        for algorithm, text in reversed(promises)
        if (checksum := _promised_by(algorithm, text)) is not None
    }
    return next((checksums[name] for name in ("sha256", "sha512", "sha1", "md5", "crc32c") if name in checksums), None)


def linked(headers: Mapping[str, str]) -> Checksum | None:
    """Find the hash that a redirect tells of the file it leads to, as huggingface.co does.

    Example:
        >>> linked({"X-Linked-ETag": '"' + "0" * 64 + '"'}).algorithm
        'sha256'
    """
    digits = (headers.get("X-Linked-ETag") or "").strip().removeprefix("W/").strip('"')
    # A tag of 40 digits is git's own hash of a small file, which is not one of its bytes alone.
    return _promised_by("sha256", digits) if len(digits) == DIGITS["sha256"] else promised(headers, is_complete=False)


def _promised_by(algorithm: str, text: str) -> Checksum | None:
    """Read one hash that a server tells, in base64 as the standards say or in digits as some write it."""
    name = {"sha": "sha1"}.get(algorithm.lower().replace("-", ""), algorithm.lower().replace("-", ""))
    if name not in DIGITS or (name == "crc32c" and not has_fast_crc32c()):
        return None
    text = text.strip().strip(":").strip('"')
    if len(text) == DIGITS[name] and name != "crc32c":
        digits = text.lower()
    else:
        try:
            digits = base64.b64decode(text, validate=True).hex()
        except (binascii.Error, ValueError):
            return None
    if len(digits) != DIGITS[name] or not re.fullmatch("[0-9a-f]+", digits, re.ASCII):
        return None
    return Checksum(algorithm=name, digits=digits)


def of_file(path: Path, algorithm: str) -> Checksum:
    """Hash a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: new(algorithm))
    return Checksum(algorithm=algorithm, digits=digest.hexdigest())


class IncrementalHasher:
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
        self._thread = start_thread(self._run, name="colabkit-hash")
        self._done = False

    def nudge(self) -> None:
        """Say that there may be more to hash."""
        self._more.set()

    def result(self, size: int) -> Checksum:
        """Wait for the hash of the finished file."""
        self._end = size
        self._finish()
        if self._error is not None:
            raise self._error
        return Checksum(algorithm=self._algorithm, digits=self._hash.hexdigest())

    def stop(self) -> None:
        """Give up; harmless after the end."""
        self._stopped = True
        self._finish()

    def _finish(self) -> None:
        self._more.set()
        if self._thread is not None:
            self._thread.join()
        elif not self._done:  # no thread could be started: it is hashed now
            self._run()
        self._done = True

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
