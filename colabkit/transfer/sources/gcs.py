"""Google Cloud Storage as a source: gs:// addresses, objects with their generation pinned, prefixes as folders."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from colabkit._clients import gcs
from colabkit._clients.addressed import Addressed
from colabkit._clients.gcs.address import EXACTLY, GcsAddress, parse, parse_page
from colabkit._clients.gcs.file import GcsFile
from colabkit._engine.parallel import AT_ONCE
from colabkit._engine.source import Entry, ParsedSource
from colabkit._http.headers import safe_name
from colabkit.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._clients.gcs import Api

_WILD = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, kw_only=True)
class GcsFolder(Addressed):
    """All objects whose names begin with a prefix, or fit a pattern.

    Attributes:
        address: The prefix, which ends with "/", or a whole bucket, or a pattern.
        api: Sends the requests; the one that fits the environment by default.
    """

    address: GcsAddress
    api: Api | None = field(default=None, repr=False)
    at_once: int = AT_ONCE
    pause: float = 0.0

    @property
    def name(self) -> str:
        """The last part of the prefix, or the bucket's name."""
        return safe_name(self.address.folder.rstrip("/")) or safe_name(self.address.bucket)

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """List the objects; what only marks a folder, an empty object whose name ends with "/", is left out.

        Raises:
            NotFoundError: There are none.
            AddressError: An object could not be a file below a folder.
        """
        api = self.api or gcs.connect(self.address.project)
        bucket, folder = self.address.bucket, self.address.folder
        prefix = self.address.plain
        fits = pattern(self.address.name) if self.address.is_glob else re.compile("")
        listed = []
        for item in api.objects(bucket, prefix):
            path = item.name[len(folder) :]
            if not path or (path.endswith("/") and item.size == 0) or not fits.match(item.name):
                continue
            address = GcsAddress(bucket=bucket, name=item.name, project=self.address.project, is_exact=True)
            source = GcsFile(address=address, known=item, api=api)
            size = None if item.encoding == "gzip" else item.size
            listed.append(Entry(path=path, source=source, version=item.generation, size=size))
        if not listed:
            hint = f"; {EXACTLY}" if self.address.is_glob else ""
            why = "no object has such a name" if prefix else "the bucket is empty"
            raise NotFoundError(f"there is nothing in {self.shown}", why=why, hint=f"check its name{hint}")
        return self.name, listed


def open_source(text: str) -> ParsedSource:
    """Read a gs:// address, or the address of an object in Google's own web pages.

    Raises:
        AddressError: It is neither.

    Example:
        >>> open_source("gs://my-bucket/data/").source.name
        'data'
    """
    is_page = not text.strip().lower().startswith("gs:")
    return ParsedSource(source=source_of(parse_page(text) if is_page else parse(text)))


def source_of(address: GcsAddress) -> GcsFile | GcsFolder:
    """Return what an address names."""
    many = address.is_folder or address.is_glob
    return GcsFolder(address=address) if many else GcsFile(address=address)


def pattern(name: str) -> re.Pattern[str]:
    """Make a pattern of wildcards as gsutil reads them."""
    parts = re.split(r"(\*\*|\*|\?|\[!?[^\]/]+\])", name)
    made = [_WILD.get(part) or (_letters(part) if at % 2 else re.escape(part)) for at, part in enumerate(parts)]
    return re.compile("".join(made) + r"\Z", re.DOTALL)


def _letters(part: str) -> str:
    inside = part[1:-1].replace("\\", r"\\").replace("^", r"\^").replace("[", r"\[")
    return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
