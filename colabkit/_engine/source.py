"""What a source of files is: one file, or a folder of them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._archive.choice import Choice
    from colabkit._http.types import RemoteFile


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

    def remote(self) -> RemoteFile:
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
        """What tells this folder from all others, the same in every session; it may hold secrets."""

    @property
    def shown(self) -> str:
        """The address for messages, without secrets."""

    @property
    def name(self) -> str:
        """The name of the folder that is made, or "" if only the server knows it."""

    def here(self, *, ask: bool = True) -> Path | None:
        """Return where the folder lies on this machine already, or None; with `ask=False` nothing is mounted for it."""

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """Ask for the folder's own name and for its files, those of folders inside it included."""


@dataclass(frozen=True, kw_only=True)
class ParsedSource:
    """What a text asks for.

    Attributes:
        source: One file, many files, or a path on this machine.
        to: The file or folder that a pasted command names, or None.
        placing: What is at `to` in the end.
        result: Of contents: the path below `to` that the command names, or "" for all of it.
        unpack: Whether that command wants it unpacked; None when it does not say.
        format: What its archive must be, whatever it is called: "zip", "tar", "7z", or a compression; "" by its name.
        strip: How many leading parts of the path of each member are taken off.
        members: Those of its archive that are wanted; None for all.
        existing: What is done with files of the same names that are there already.
        checksum: What the command says that the file must have, or "".
        again: It is fetched again although it is here.
        note: What is not done as the command says, told before it begins.
        after: What is unpacked when it is here.
        more: What the same line fetches after it.
    """

    source: Source | Folder | Path
    to: str | None = None
    placing: Placing = "as named"
    result: str = ""
    unpack: bool | None = None
    format: str = ""
    strip: int = 0
    members: Choice | None = None
    existing: Literal["refuse", "replace", "keep"] = "refuse"
    checksum: str = ""
    again: bool = False
    note: str = ""
    after: tuple[After, ...] = ()
    more: tuple[ParsedSource, ...] = ()

    def alone(self) -> ParsedSource:
        """Return it, if it is all that the text asks for.

        Raises:
            AddressError: The text fetches more.
        """
        if self.more:
            raise AddressError(f"the pasted line fetches {len(self.more) + 1} files", why="an entry is for one source")
        return self

    def places(self) -> list[str]:
        """Return the paths that a pasted line names, those of its further steps included."""
        steps = [path for step in self.after for path in (step.archive, step.to)]
        return steps if self.to is None else [self.to, *steps]

    def inside(self, folder: str) -> ParsedSource:
        """Return what it asks for when the command runs in a folder."""

        def below(path: str) -> str:
            return os.path.join(folder, path)  # noqa: PTH118 - a slash at its end means something

        source = self.source
        if isinstance(source, Path) and self.to is not None:
            source = Path(folder) / source.expanduser()
        after = (replace(step, archive=below(step.archive), to=below(step.to)) for step in self.after)
        to = None if self.to is None else below(self.to)
        more = tuple(one.inside(folder) for one in self.more)
        return replace(self, source=source, to=to, after=tuple(after), more=more)


@dataclass(frozen=True, kw_only=True)
class After:
    """An archive that is unpacked when the download is here.

    Attributes:
        archive: Its path.
        to: The folder of its members, or the file that it becomes.
        format: As in `Order`.
        existing: As in `Order`.
        strip: As in `Order`.
        members: As in `Order`.
        single: It is one compressed file.
        remove: It is taken away then.
    """

    archive: str
    to: str
    format: str
    existing: Literal["refuse", "replace", "keep"] = "refuse"
    strip: int = 0
    members: Choice | None = None
    single: bool = False
    remove: bool = False


def together(orders: Sequence[ParsedSource]) -> ParsedSource:
    """Make one of what a line fetches: the first, which knows the others.

    Example:
        >>> from pathlib import Path
        >>> made = together([ParsedSource(source=Path("a")), ParsedSource(source=Path("b"))])
        >>> made.source.name, [one.source.name for one in made.more]
        ('a', ['b'])
    """
    first, *rest = (replace(one, more=()) for order in orders for one in (order, *order.more))
    return replace(first, more=tuple(rest))


Placing = Literal["as named", "file", "folder", "contents"]
"""What a place means: "as named" is what `to=` of `fetch` means; "file" is this very file; "folder" holds the file or
the folder that comes, under its own name; "contents" holds what is in the archive or folder, beside what is there."""


def key(*parts: str) -> str:
    """Make a short name of an identity from which nothing secret can be read back.

    Example:
        >>> key("https://example.org/data.csv")
        'a3f804ffa64d89cf'
    """
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]
