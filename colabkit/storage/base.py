"""What a storage is: a flat table of named, whole objects in a place that outlives this machine.

Names are relative, with `/` between their parts, as in `checkpoints/step-7.safetensors`. There are no folders: a name
exists when an object has it. An object is whole or absent, for every reader, at every instant.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from colabkit.errors import AddressError, NotStoredError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colabkit._types import StrPath
    from colabkit.errors import TransferError

Confirmed: TypeAlias = Literal["yes", "no", "cannot tell"]
OnlyIf: TypeAlias = "Stored | Literal['absent'] | None"
Progress: TypeAlias = "Callable[[int, int], None]"
"""Called with (bytes done, bytes in all)."""

_LONGEST_PART = 255
_LONGEST = 900  # object stores allow 1,024 bytes; the address itself takes some of them


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An object as the storage lists it.

    Attributes:
        name: Its name in the storage.
        size: Bytes.
        modified: When it was written, in seconds since 1970 by the storage's clock; only for people to read.
        version: Changes whenever the object is written anew, even with the same content.
    """

    name: str
    size: int
    modified: float
    version: str


@runtime_checkable
class Storage(Protocol):
    """The contract. `colabkit.testing.contracts.storage` tests it; a new storage inherits those tests.

    Every method may be called from any thread, and waits until it is done. Failures are `StorageError` or
    `TransferError` with all their parts; what may succeed later by itself is `UnreachableError`, `OfflineError` or
    `BusyError`. A method retries only what is transient within a second or so; its caller decides about the rest.

    Attributes:
        address: Where it is, as the user would write it.
        lag: Seconds until a change by one machine is seen by another, at most; 0.0 where it is seen at once.
        atomic: `only_if` is checked and carried out in one step, whoever else writes. Where False it is checked just
            before, and two writers may both believe that they came first until `lag` has passed.
    """

    address: str
    lag: float
    atomic: bool

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        """Store an object; it appears whole, after what arrived was compared with what was sent.

        Args:
            name: Its name; an object of that name is replaced.
            source: The content itself, or the path of a local file that holds it.
            only_if: None replaces whatever there is. "absent" stores only a new name. A `Stored` replaces only that
                version of the object.
            progress: Called with (bytes sent, bytes in all) now and then, in the calling thread. What it raises stops
                the upload and comes out of `put`; the name is as it was.

        Returns:
            The object as it is stored.

        Raises:
            AddressError: The name cannot be stored here.
            ChangedError: `only_if` does not hold; nothing was changed.
            IntegrityError: What arrived is not what was sent; the name is as it was.
            DiskFullError: No room, or a quota is used up.
            StorageError: Another failure; the name is as it was.
        """
        ...

    def get(self, name: str, path: StrPath, *, progress: Progress | None = None) -> Stored:
        """Copy an object into a local file, which appears whole or not at all.

        Raises:
            NotStoredError: There is no such object.
            StorageError: It cannot be read, or the file cannot be written.
        """
        ...

    def read(self, name: str, *, size: int | None = None) -> bytes:
        """Return the content of a small object, or its first `size` bytes.

        Raises:
            NotStoredError: There is no such object.
            StorageError: It cannot be read.
        """
        ...

    def entry(self, name: str) -> Stored | None:
        """Return one object as `list` shows it; None when there is none.

        Raises:
            StorageError: The storage does not answer.
        """
        ...

    def list(self, prefix: str = "") -> Sequence[Stored]:
        """List the objects whose names begin with a text, sorted by name; never one that is still being written.

        Raises:
            StorageError: The storage does not answer. A part of a list is never returned as the whole.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete an object; one that does not exist counts as deleted.

        Raises:
            StorageError: It is still there.
        """
        ...

    def confirmed(self, name: str) -> Confirmed:
        """Say whether an object would survive the loss of this machine right now.

        Returns:
            "yes": seen to have arrived at its final place. "no": still on its way, or not there. "cannot tell": the
            storage has no way to know, or does not answer.
        """
        ...


def check_name(name: str) -> str:
    """Return a name that every storage keeps as it is, or refuse it.

    Raises:
        AddressError: It is empty, climbs out, or is one that file systems and object stores treat differently.

    Example:
        >>> check_name("checkpoints/step-7.safetensors")
        'checkpoints/step-7.safetensors'
    """
    if why := _why_not(name):
        raise AddressError(
            f"{name!r} cannot be the name of a stored object", why=why, hint="rename it, as in 'models/digits.keras'"
        )
    return name


def is_name(name: str) -> bool:
    """Say whether a storage may hold this name; others that lie at its place are passed over.

    Example:
        >>> is_name("checkpoints/step-7.safetensors"), is_name("../a")
        (True, False)
    """
    return not _why_not(name)


def not_stored(name: str, address: str) -> NotStoredError:
    """Return the error for a name under which a storage has nothing."""
    return NotStoredError(f"there is no {name} in {address}", hint="list what there is, and check the spelling")


def unreachable(name: str, address: str, error: TransferError) -> UnreachableError:
    """Return the error for a service that does not answer, from what its client says."""
    return UnreachableError(f"{address} does not answer, asked for {name}", why=error.why, hint=error.do)


def refuse_empty(name: str, size: int) -> None:
    """Refuse what a Drive cannot keep.

    Raises:
        AddressError: The object is empty.
    """
    if size == 0:
        raise AddressError(
            f"{name} is empty, and a Drive storage keeps no empty files",
            why="a file of 0 bytes is what Drive shows of one that is being deleted or is not there yet",
            hint="leave it out",
        )


def _why_not(name: str) -> str:
    parts = name.split("/")
    if not name or "" in parts:
        return "it is empty, or has an empty part"
    if "." in parts or ".." in parts:
        return 'it has the part "." or "..", which leads elsewhere'
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name) or "\\" in name:
        return "it holds a backslash, a control character or half a character"
    if not unicodedata.is_normalized("NFC", name):
        return "its accents are written as separate characters (not NFC), which some places turn into another name"
    if max(len(part.encode()) for part in parts) > _LONGEST_PART or len(name.encode()) > _LONGEST:
        return f"it is longer than {_LONGEST} bytes, or a part of it longer than {_LONGEST_PART}"
    return ""
