"""What travels between a source, the client and the engine: where to ask, what is there, what may pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._internal.disk.checksum import Checksum
    from colabkit.errors import AccessError


@dataclass(frozen=True, kw_only=True)
class RequestSpec:
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
class RemoteFile:
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
        in_parts: Its server is known to give parts of files, to any number of requests; nothing has to be found out.
    """

    target: RequestSpec
    shown: str
    name: str = ""
    page_expected: bool = False
    checksum: Checksum | None = None
    packed: bool = False
    gzipped: bool = False
    connections: int | None = None
    in_parts: bool = False


class TransientError(Exception):
    """Something that may pass: it is tried again.

    Args:
        why: For the user, without addresses or credentials.
        retry_after: The seconds that the server asked for.
        crowded: It may be that we opened more connections than the server likes.
        unreachable: No connection came about.
        line: A connection was reset or fell silent, which may happen anywhere and says nothing of the file.
    """

    def __init__(
        self,
        why: str,
        *,
        retry_after: float | None = None,
        crowded: bool = False,
        unreachable: bool = False,
        line: bool = False,
    ) -> None:
        super().__init__(why)
        self.why = why
        self.retry_after = retry_after
        self.crowded = crowded
        self.unreachable = unreachable
        self.line = line


class WrongPartError(TransientError):
    """The answer to a range is another part than the one that was asked for."""


class ChangedError(Exception):
    """The remote file is another version than the bytes that we hold, or cannot be had in ranges."""


class ReplacedError(ChangedError):
    """Another version is there for certain: its tag, its date or its size is another one."""


class NoRangesError(ChangedError):
    """The file comes as a whole, and each request for a part of it was refused."""


class ExpiredError(Exception):
    """A 401 or 403: an address that worked before may have expired, and the source can be asked for a new one.

    Args:
        error: What the user is told when a new address does not help.
    """

    def __init__(self, error: AccessError) -> None:
        super().__init__(error.what)
        self.error = error
