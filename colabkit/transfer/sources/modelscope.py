"""ModelScope as a source: one file, or many as a folder, each verified by the hash that its listing tells."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from colabkit._clients.addressed import Addressed
from colabkit._clients.modelscope import Scope, ScopeAddress, ScopeFile, parse
from colabkit._engine.parallel import AT_ONCE
from colabkit._engine.source import Entry, ParsedSource
from colabkit._http.headers import safe_name
from colabkit._http.types import RemoteFile, RequestSpec
from colabkit.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class ScopeFileSource(Addressed):
    """One file.

    Attributes:
        address: Where it is.
        known: What a listing has told of it already.
        asked: What was asked for so far.
    """

    address: ScopeAddress
    known: ScopeFile | None = field(default=None, repr=False)
    asked: list[ScopeFile] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return safe_name(self.address.path)

    def remote(self) -> RemoteFile:
        """Ask for the hash that it has now.

        Raises:
            NotFoundError: There is no such file.
            AccessError: It may not be read.
        """
        scope_file = self.known if self.known is not None and not self.asked else self._now()
        self.asked.append(scope_file)
        return RemoteFile(
            target=RequestSpec(url=scope_file.url, headers=scope_file.headers),
            shown=self.shown,
            name=self.name,
            page_expected=True,  # a page is what is stored: refusals have their numbers
            checksum=scope_file.checksum,
        )

    def _now(self) -> ScopeFile:
        try:
            return Scope().files(self.address)[0]
        except NotFoundError as error:
            if " nothing " not in error.what:
                raise
            folder = replace(self.address, path=f"{self.address.path}/")
            raise NotFoundError(
                f"there is no file {self.address}", hint=f"{error.hint}; if it is a folder write it as {folder}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class ScopeFolderSource(Addressed):
    """All files of a repository, of a folder in it, or those that fit a pattern.

    Attributes:
        address: What is taken.
    """

    address: ScopeAddress
    at_once: int = AT_ONCE
    pause: float = 0.0

    @property
    def name(self) -> str:
        """The last part of the folder, or the name of the repository."""
        return safe_name(self.address.folder.rstrip("/")) or safe_name(self.address.repo)

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """List the files.

        Raises:
            NotFoundError: There are none.
        """
        start = len(self.address.folder)
        return self.name, [
            Entry(
                path=file.address.path[start:],
                source=ScopeFileSource(address=file.address, known=file),
                version=file.version,
                size=file.size,
            )
            for file in Scope().files(self.address)
        ]


def open_source(text: str) -> ParsedSource:
    """Read an address of ModelScope or of one of its pages.

    Raises:
        AddressError: It is none.

    Example:
        >>> open_source("modelscope:Qwen/Qwen3-0.6B/config.json").source.name
        'config.json'
        >>> open_source("modelscope:datasets/ada/digits").source.name
        'digits'
    """
    address = parse(text)
    return ParsedSource(
        source=ScopeFileSource(address=address) if address.is_file else ScopeFolderSource(address=address)
    )
