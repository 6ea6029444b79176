"""What a source hands to the engine, and the errors that travel inside the engine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.errors import AccessError


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to send a GET.

    Attributes:
        url: The address; its query may be a secret.
        headers: What is sent there; it never goes to another host.
        body: What is posted there; None asks with GET.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file that can be had by a GET.

    Attributes:
        target: Where it is.
        shown: The address for messages.
        name: The file name that the address suggests, or "".
        page_expected: The user asked for a web page, so one is no error.
    """

    target: Target
    shown: str
    name: str
    page_expected: bool = False


class Source(Protocol):
    """Something that can be fetched: one class a kind of address."""

    @property
    def identity(self) -> str:
        """What tells this source from all others, the same in every session; it may hold secrets."""

    @property
    def shown(self) -> str:
        """The address for messages, without secrets."""

    @property
    def name(self) -> str:
        """The file name that the address suggests, or ""."""

    def remote(self) -> Remote:
        """Return where the file can be had now; called again when that address has expired."""


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
