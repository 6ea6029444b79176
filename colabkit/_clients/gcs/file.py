"""One object of Google Cloud Storage as something that the engine can download, its generation pinned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from colabkit._clients import gcs
from colabkit._clients.addressed import Addressed
from colabkit._http.headers import safe_name
from colabkit._http.types import RemoteFile, RequestSpec
from colabkit._internal.disk.checksum import Checksum, has_fast_crc32c
from colabkit.errors import NotFoundError

if TYPE_CHECKING:
    from colabkit._clients.gcs import Api, GcsObject
    from colabkit._clients.gcs.address import GcsAddress


@dataclass(frozen=True, kw_only=True)
class GcsFile(Addressed):
    """One object.

    Attributes:
        address: Where it is.
        known: What a listing has told of it already.
        api: Sends the requests; the one that fits the environment by default.
        asked: The generations that were asked for so far, the newest last.
    """

    address: GcsAddress
    known: GcsObject | None = field(default=None, repr=False)
    api: Api | None = field(default=None, repr=False)
    asked: list[GcsObject] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The last part of the object's name."""
        return safe_name(self.address.name)

    def remote(self) -> RemoteFile:
        """Ask for the newest generation, unless one is named, and pin it.

        Raises:
            NotFoundError: There is no such object.
            AccessError: It may not be read.
        """
        api = self.api or gcs.connect(self.address.project)
        stored = self._now(api)
        url, headers = api.media(stored)
        return RemoteFile(
            target=RequestSpec(url=url, headers=headers, version=stored.generation, stored=True),
            shown=self.shown,
            name=self.name,
            page_expected=True,  # a page is what is stored: the service tells its errors by their numbers
            checksum=_best(stored),
            gzipped=stored.encoding == "gzip",
            in_parts=True,
        )

    def _now(self, api: Api) -> GcsObject:
        if self.known is not None and not self.asked:
            self.asked.append(self.known)
            return self.known
        try:
            stored = api.object(self.address.bucket, self.address.name, self.address.generation)
        except NotFoundError as error:
            below = next(api.objects(self.address.bucket, f"{self.address.name}/", most=1), None)
            if below is None or self.address.generation:
                raise
            raise NotFoundError(
                f"{self.shown} is not an object",
                why="it is a folder",
                hint=f"write it as {self.shown}/ to fetch all of it",
            ) from error
        self.asked.append(stored)
        return stored


def _best(stored: GcsObject) -> Checksum | None:
    """Choose the hash to check by: CRC32C where it is computed by the processor, else the MD5 if there is one."""
    crc = Checksum(algorithm="crc32c", digits=stored.crc32c) if stored.crc32c else None
    md5 = Checksum(algorithm="md5", digits=stored.md5) if stored.md5 else None
    return (crc if has_fast_crc32c() else None) or md5 or crc
