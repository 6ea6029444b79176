"""One file of a repository of the Hub as something that the engine can download, its commit pinned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from colabkit._clients.addressed import Addressed
from colabkit._clients.huggingface import Hub, HubAddress, HubFile, cache
from colabkit._http.headers import safe_name
from colabkit._http.types import RemoteFile, RequestSpec

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class HubFileSource(Addressed):
    """One file.

    Attributes:
        address: Where it is.
        known: What a listing has told of it already.
        hub: Asks the Hub; made when it is first needed.
        asked: What was asked for so far.
    """

    address: HubAddress
    known: HubFile | None = field(default=None, repr=False)
    hub: Hub | None = field(default=None, repr=False)
    asked: list[HubFile] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return safe_name(self.address.path)

    def here(self, *, ask: bool = True) -> Path | None:  # noqa: ARG002 - the contract has it
        """Return where the Hub's own client has it; nobody is asked."""
        return cache.cached(self.address)

    def remote(self) -> RemoteFile:
        """Ask for the commit that it is at, and pin it.

        Raises:
            NotFoundError: There is no such file.
            AccessError: It may not be read.
        """
        hub_file = self.known if self.known is not None and not self.asked else (self.hub or Hub()).file(self.address)
        self.asked.append(hub_file)
        return RemoteFile(
            target=RequestSpec(url=hub_file.url, headers=hub_file.headers),
            shown=self.shown,
            name=self.name,
            page_expected=True,  # a page is what is stored: the Hub tells its errors by their numbers
            checksum=hub_file.checksum,
        )

    def arrived(self, path: Path) -> None:
        """Let the Hub's own programs find it, too."""
        if self.asked and path.is_file():
            cache.fill(self.hub or Hub(), self.address, {path: self.asked[-1]})
