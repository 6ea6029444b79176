"""What a source hands to the engine, and the errors that travel inside the engine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from colabkit.errors import AccessError
    from colabkit.transfer._checksum import Checksum


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to send a GET.

    Attributes:
        url: The address; its query may be a secret.
        headers: What is sent there; it never goes to another host.
        body: What is posted there; None asks with GET.
        version: The one version of the file that the address names, or "" when it names whatever is there.
        stored: The bytes are wanted as they are stored; a Content-Encoding is not taken off.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    version: str = ""
    stored: bool = False


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file that can be had by a GET.

    Attributes:
        target: Where it is.
        shown: The address for messages.
        name: The file's name if the source knows it better than the server, or "".
        page_expected: The user asked for a web page, so one is no error.
        checksum: The hash that the source's own index gives; the user's goes before it, the server's after it.
        packed: It comes as a zip that holds this one file, which is taken out.
        gzipped: It comes as it is stored, compressed, and is uncompressed when it has arrived.
        connections: How many its server bears at most; None leaves it to the engine, and the user's number counts.
    """

    target: Target
    shown: str
    name: str = ""
    page_expected: bool = False
    checksum: Checksum | None = None
    packed: bool = False
    gzipped: bool = False
    connections: int | None = None


@runtime_checkable
class Source(Protocol):
    """One file that can be fetched: one class a kind of address.

    Making one must be cheap and pure; `remote` is the place to ask servers, to look for credentials and to say what
    is wrong in words of this source.
    """

    @property
    def identity(self) -> str:
        """What tells this source from all others, the same in every session; it may hold secrets."""

    @property
    def shown(self) -> str:
        """The address for messages, without secrets."""

    @property
    def name(self) -> str:
        """The file name that the address suggests, or ""."""

    def here(self, *, ask: bool = True) -> Path | None:
        """Return where it lies on this machine already, on a mount or in another tool's cache, or None.

        Args:
            ask: A service of this machine may be asked to mount it, which takes a while; False only looks.
        """

    def remote(self) -> Remote:
        """Return where the file can be had now; called again when that address has expired."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of a folder.

    Attributes:
        path: Where it lies below the folder, with "/" between the parts; it may be hostile.
        source: The file.
        version: What changes when the file does, such as its hash; "" if the source has no such thing.
        size: Bytes, when they are known.
    """

    path: str
    source: Source
    version: str = ""
    size: int | None = None


@runtime_checkable
class Folder(Protocol):
    """Many files under one address: a Drive folder, a prefix of a bucket.

    It is asked for its files once a fetch. They come into a hidden folder beside the destination, each whole and
    verified; that folder gets its name when all are there. Run again after an interruption, the files whose `version`
    and size are still the same are kept. What comes as one archive is a `Source`, which is unpacked by its name.
    """

    @property
    def at_once(self) -> int:
        """How many files may be fetched side by side."""

    @property
    def pause(self) -> float:
        """Seconds to wait between two files on each connection, for servers that count requests."""

    @property
    def identity(self) -> str:
        """As for `Source`."""

    @property
    def shown(self) -> str:
        """As for `Source`."""

    @property
    def name(self) -> str:
        """The name of the folder that is made, or "" if only the server knows it."""

    def here(self, *, ask: bool = True) -> Path | None:
        """As for `Source`."""

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """Ask for the folder's own name and for its files, those of folders inside it included."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a text asks for.

    Attributes:
        source: One file, many files, or a path on this machine.
        to: The file or folder that a pasted command names, or None.
        unpack: Whether that command wants it unpacked; None when it does not say.
    """

    source: Source | Folder | Path
    to: str | None = None
    unpack: bool | None = None


def key(*parts: str) -> str:
    """Make a short name of an identity from which nothing secret can be read back.

    Example:
        >>> key("https://example.org/data.csv")
        'a3f804ffa64d89cf'
    """
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]


class TransientError(Exception):
    """Something that may pass: it is tried again.

    Args:
        why: For the user, without addresses or credentials.
        retry_after: The seconds that the server asked for.
        crowded: It may be that we opened more connections than the server likes.
        unreachable: No connection came about.
    """

    def __init__(
        self, why: str, *, retry_after: float | None = None, crowded: bool = False, unreachable: bool = False
    ) -> None:
        super().__init__(why)
        self.why = why
        self.retry_after = retry_after
        self.crowded = crowded
        self.unreachable = unreachable


class ChangedError(Exception):
    """The remote file is another version than the bytes that we hold, or cannot be had in ranges."""


class ExpiredError(Exception):
    """A 401 or 403: an address that worked before may have expired, and the source can be asked for a new one.

    Args:
        error: What the user is told when a new address does not help.
    """

    def __init__(self, error: AccessError) -> None:
        super().__init__(error.what)
        self.error = error
