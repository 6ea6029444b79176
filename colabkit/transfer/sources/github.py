"""The files of a repository at GitHub, without its history: github:OWNER/REPO[@REF]."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._engine.source import ParsedSource
from colabkit._http.types import RemoteFile, RequestSpec
from colabkit.errors import AddressError

if TYPE_CHECKING:
    from pathlib import Path

_REPO = re.compile(r"github:/*([A-Za-z0-9][\w-]{0,38})/([\w.-]{1,100}?)(?:\.git)?(?:@([\w./+-]{1,200}))?/?", re.ASCII)
_HOST = "https://github.com"


@dataclass(frozen=True, kw_only=True)
class GithubSource:
    """The files of a repository, which come as one archive.

    Attributes:
        owner: Whose it is.
        repo: Its name.
        ref: A branch, a tag or a commit; "" for the newest of its main branch.
    """

    owner: str
    repo: str
    ref: str = ""

    lone_folder = True
    """The archive has one folder at its top, which is called after the commit: what is in it is meant."""

    @property
    def identity(self) -> str:
        """The address."""
        return self.shown

    @property
    def shown(self) -> str:
        """The address."""
        return f"github:{self.owner}/{self.repo}" + (f"@{self.ref}" if self.ref else "")

    @property
    def name(self) -> str:
        """The name of the archive."""
        return f"{self.repo}.tar.gz"

    def here(self, *, ask: bool = True) -> Path | None:
        """Nothing else on this machine keeps it under its address."""

    def remote(self) -> RemoteFile:
        """Return the address that GitHub's pages give for an archive."""
        ref = urllib.parse.quote(self.ref or "HEAD", safe="/")
        url = f"{_HOST}/{self.owner}/{self.repo}/archive/{ref}.tar.gz"
        return RemoteFile(target=RequestSpec(url=url, headers={}), shown=self.shown, name=self.name)


def open_source(text: str) -> ParsedSource:
    """Read github:OWNER/REPO[@REF].

    Raises:
        AddressError: It names no repository.

    Example:
        >>> open_source("github:ada/digits@v2").source.name
        'digits.tar.gz'
    """
    match = _REPO.fullmatch(text.strip())
    if match is None or ".." in text:
        raise AddressError(
            f"cannot read {text.strip()[:200]!r} as a GitHub repository",
            hint="write it as github:OWNER/REPO or github:OWNER/REPO@REF; for one file use its https address",
        )
    return ParsedSource(source=GithubSource(owner=match[1], repo=match[2], ref=match[3] or ""))
