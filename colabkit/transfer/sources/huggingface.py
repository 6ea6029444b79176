"""The Hub of Hugging Face as a source: one file at a pinned commit, or many as a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from colabkit._clients.huggingface import Hub, HubAddress, HubFile, parse
from colabkit._clients.huggingface.file import HubFileSource
from colabkit._engine.parallel import AT_ONCE
from colabkit._engine.source import Entry, ParsedSource
from colabkit._http.headers import safe_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class HubFolderSource:
    """All files of a repository, of a folder in it, or those that fit a pattern.

    Attributes:
        addresses: What is taken; all of one repository.
        leaves_out: Patterns of files that are not.
        whole_paths: The paths begin at the top of the repository, as those of `hf download` do.
        hub: Asks the Hub; made when it is first needed.
    """

    addresses: tuple[HubAddress, ...]
    leaves_out: tuple[str, ...] = ()
    whole_paths: bool = False
    hub: Hub | None = field(default=None, repr=False)
    listed: list[Entry] = field(default_factory=list, init=False, repr=False, compare=False)
    at_once: int = AT_ONCE
    pause: float = 0.0

    @property
    def identity(self) -> str:
        """The addresses, and what is left out."""
        return "\0".join((*map(str, self.addresses), *(f"-{pattern}" for pattern in self.leaves_out)))

    @property
    def shown(self) -> str:
        """The first address."""
        return str(self.addresses[0])

    @property
    def name(self) -> str:
        """The last part of the folder, or the name of the repository."""
        first = self.addresses[0]
        return safe_name(first.folder.rstrip("/")) or safe_name(first.repo)

    def here(self, *, ask: bool = True) -> None:
        """Whether the Hub's own client has all files, only a listing tells."""

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """List the files.

        Raises:
            NotFoundError: There are none.
        """
        import fnmatch

        hub = self.hub or Hub()
        files: dict[str, HubFile] = {}
        for address in self.addresses:
            for file in hub.files(address):
                if not any(fnmatch.fnmatchcase(file.address.path, pattern) for pattern in self.leaves_out):
                    files[file.address.path] = file
        start = 0 if self.whole_paths else len(self.addresses[0].folder)
        self.listed[:] = [
            Entry(
                path=path[start:],
                source=HubFileSource(address=file.address, known=file, hub=hub),
                version=file.version,
                size=file.size,
            )
            for path, file in files.items()
        ]
        return self.name, self.listed

    def arrived(self, path: Path) -> None:
        """Let the Hub's own programs find the files, too."""
        from colabkit._clients.huggingface.cache import fill
        from colabkit.transfer.fetch_folder import local_paths

        names = local_paths([entry.path for entry in self.listed])
        sources = [cast("HubFileSource", entry.source) for entry in self.listed]
        files = {path / name: source.known for name, source in zip(names, sources, strict=True) if source.known}
        fill(self.hub or Hub(), self.addresses[0], files)


def open_source(text: str) -> ParsedSource:
    """Read an address of the Hub or of one of its pages.

    Raises:
        AddressError: It is none.

    Example:
        >>> open_source("hf:ada/net/config.json").source.name
        'config.json'
        >>> open_source("hf:datasets/ada/digits").source.name
        'digits'
    """
    return ParsedSource(source=source_of(parse(text)))


def source_of(address: HubAddress) -> HubFileSource | HubFolderSource:
    """Return what an address names."""
    return HubFileSource(address=address) if address.is_file else HubFolderSource(addresses=(address,))
