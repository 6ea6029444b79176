"""Kaggle: datasets, competitions, models and what notebooks made, by handle or page address.

Kaggle's interface answers a download with a redirect to a signed address of Google's storage; the engine takes it from
there.
"""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._archive import extraction
from colabkit._clients.kaggle import KaggleApi
from colabkit._clients.kaggle import requests as kaggle_requests
from colabkit._clients.kaggle.handle import parse
from colabkit._engine.source import ParsedSource
from colabkit._http.headers import url_name
from colabkit._http.json_api import unexpected
from colabkit._http.types import RemoteFile, RequestSpec
from colabkit.errors import TransferError
from colabkit.transfer.sources import kaggle_mounts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from colabkit._clients.kaggle.handle import Handle


class KaggleSource:
    """Something at Kaggle: all of it, which comes as an archive, or one file.

    Args:
        handle: Which.
        env: The environment.
    """

    def __init__(self, handle: Handle, env: Mapping[str, str] | None = None) -> None:
        env = config.environment(env)
        self.handle = handle
        self._env = env
        self._api = KaggleApi(handle, env)

    @property
    def identity(self) -> str:
        """The handle."""
        return str(self.handle)

    @property
    def shown(self) -> str:
        """The handle."""
        return str(self.handle)

    @property
    def name(self) -> str:
        """The file's name, or that of the archive with all files."""
        if self.handle.file:
            return self.handle.file.rpartition("/")[2]
        handle = self.handle
        return f"{handle.variation}.tar.gz" if handle.kind == "models" else f"{handle.name}.zip"

    def here(self, *, ask: bool = True) -> Path | None:
        """Return where Kaggle, Colab or kagglehub has put it already."""
        return kaggle_mounts.find(self.handle, self._env, ask=ask)

    def remote(self) -> RemoteFile:
        """Ask Kaggle for a signed address; nothing secret is sent there.

        Raises:
            AccessError: Kaggle refuses, or requires a login.
            NotFoundError: There is no such thing.
            BusyError: Too many requests.
        """
        reply = self._api.call(kaggle_requests.download(self.handle, self._version()))
        if not reply.location.startswith("https://"):
            raise unexpected(f"Kaggle gives no address for {self.shown}", reply)
        sent = url_name(reply.location)
        # Kaggle keeps some single files zipped, and says so by the name alone: compare it as it was sent, as the name
        # that is safe here may be another.
        packed = bool(self.handle.file) and _last_part(reply.location) == f"{self.name}.zip"
        name = self.name
        if not self.handle.file and (kind := extraction.kind_of(sent)):
            name = f"{extraction.stem(self.name)}.{kind}"
        return RemoteFile(
            target=RequestSpec(url=reply.location, headers={}),
            shown=self.shown,
            name=name,
            packed=packed,
            in_parts=True,
        )

    def _version(self) -> int | None:
        """Return the version to name: models and notebooks are asked for by one."""
        handle = self.handle
        if handle.version is not None or handle.kind in ("competitions", "datasets"):
            return handle.version
        request = kaggle_requests.about(handle)
        number = kaggle_requests.newest(handle, request, self._api.call(request).value())
        if number is None:
            raise TransferError(
                f"Kaggle does not tell the newest version of {self.shown}", hint="add its number to the end"
            )
        return number


def _last_part(address: str) -> str:
    return urllib.parse.unquote(urllib.parse.urlsplit(address).path.rpartition("/")[2], errors="replace")


def open_source(text: str) -> ParsedSource:
    """Read a handle or a page address.

    Raises:
        AddressError: It is none.

    Example:
        >>> open_source("https://www.kaggle.com/c/digit-recognizer/data?select=train.csv").source.shown
        'kaggle:competitions/digit-recognizer/train.csv'
    """
    return ParsedSource(source=KaggleSource(parse(text)))
