"""Google Cloud Storage as a source: gs:// addresses, objects with their generation pinned, prefixes as folders."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from colabkit.errors import AddressError, NotFoundError
from colabkit.transfer import _gcs_api
from colabkit.transfer._checksum import Checksum, has_fast_crc32c
from colabkit.transfer._headers import safe_name
from colabkit.transfer._many import AT_ONCE
from colabkit.transfer.base import Entry, Order, Remote, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit.transfer._gcs_api import Api, GcsObject

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9._-]{1,220})[a-z0-9]", re.ASCII)
_GENERATION = re.compile(r"#(\d{1,19})", re.ASCII)
_EXPECTED = "write it as gs://BUCKET/OBJECT, or gs://BUCKET/FOLDER/ for all that is below"
_LONGEST = 1024
_WILD = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, kw_only=True)
class GcsAddress:
    """What a gs:// address names.

    Attributes:
        bucket: The bucket.
        name: The object, or a prefix that ends with "/", or "" for the whole bucket.
        generation: The version that is asked for, or "" for the newest.
        project: The project that pays where a bucket demands it, or "" for the environment's.
    """

    bucket: str
    name: str
    generation: str = ""
    project: str = ""

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.name}" + (f"#{self.generation}" if self.generation else "")

    @property
    def is_folder(self) -> bool:
        """Whether it names everything below, as the slash at its end says."""
        return not self.name or self.name.endswith("/")

    @property
    def is_glob(self) -> bool:
        """Whether it has wildcards: * and ? within a part, ** across parts, and with these also [a-z]."""
        return "*" in self.name or "?" in self.name

    @property
    def folder(self) -> str:
        """The part of the name up to the last slash before any wildcard."""
        return self.plain[: self.plain.rfind("/") + 1]

    @property
    def plain(self) -> str:
        """What comes before any wildcard."""
        return re.split(r"[*?\[]", self.name, maxsplit=1)[0] if self.is_glob else self.name


def parse(text: str) -> GcsAddress:
    """Read a gs:// address; a # with a number at its end asks for that generation.

    Raises:
        AddressError: It is none.

    Example:
        >>> address = parse("gs://my-bucket/data/digits.csv#1700000000000001")
        >>> address.bucket, address.name, address.generation
        ('my-bucket', 'data/digits.csv', '1700000000000001')
    """
    scheme, separator, rest = text.strip().partition("://")
    bucket, _, name = rest.partition("/")
    if scheme.lower() != "gs" or not separator or not _BUCKET.fullmatch(bucket):
        why = "a bucket's name has 3 to 222 lower-case letters, digits, dots, hyphens and underscores"
        raise AddressError(f"cannot read the address {text.strip()[:200]!r}", why=why, do=_EXPECTED)
    head, mark, tail = name.rpartition("#")
    generation = ""
    if head and _GENERATION.fullmatch(mark + tail):
        name, generation = head, tail
    check_name(name)
    return GcsAddress(bucket=bucket, name=name, generation=generation)


def check_name(name: str) -> None:
    """Make sure that the service can hold an object of this name.

    Raises:
        AddressError: It cannot.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = _LONGEST + 1
    if size > _LONGEST or "\r" in name or "\n" in name or "\0" in name or name in (".", ".."):
        raise AddressError(
            f"{name[:200]!r} cannot be the name of an object",
            why=f"it has line ends, half a character or more than {_LONGEST:,} bytes, or it is a dot",
            do="choose another name",
        )


@dataclass(frozen=True, kw_only=True)
class GcsFile:
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
    def identity(self) -> str:
        """The address."""
        return str(self.address)

    @property
    def shown(self) -> str:
        """The address."""
        return str(self.address)

    @property
    def name(self) -> str:
        """The last part of the object's name."""
        return safe_name(self.address.name)

    def here(self, *, ask: bool = True) -> None:
        """Nothing else on this machine keeps objects under their address."""

    def remote(self) -> Remote:
        """Ask for the newest generation, unless one is named, and pin it.

        Raises:
            NotFoundError: There is no such object.
            AccessError: It may not be read.
        """
        api = self.api or _gcs_api.connect(self.address.project)
        found = self._now(api)
        url, headers = api.media(found)
        return Remote(
            target=Target(url=url, headers=headers, version=found.generation, stored=True),
            shown=self.shown,
            name=self.name,
            page_expected=True,  # a page is what is stored: the service tells its errors by their numbers
            checksum=_best(found),
            gzipped=found.encoding == "gzip",
        )

    def _now(self, api: Api) -> GcsObject:
        if self.known is not None and not self.asked:
            self.asked.append(self.known)
            return self.known
        try:
            found = api.object(self.address.bucket, self.address.name, self.address.generation)
        except NotFoundError as error:
            below = next(api.objects(self.address.bucket, f"{self.address.name}/", most=1), None)
            if below is None or self.address.generation:
                raise
            raise NotFoundError(
                f"{self.shown} is no object", why="it is a folder", do=f"write it as {self.shown}/ to fetch all of it"
            ) from error
        self.asked.append(found)
        return found


@dataclass(frozen=True, kw_only=True)
class GcsFolder:
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
    def identity(self) -> str:
        """The address."""
        return str(self.address)

    @property
    def shown(self) -> str:
        """The address."""
        return str(self.address)

    @property
    def name(self) -> str:
        """The last part of the prefix, or the bucket's name."""
        return safe_name(self.address.folder.rstrip("/")) or safe_name(self.address.bucket)

    def here(self, *, ask: bool = True) -> None:
        """Nothing else on this machine keeps buckets under their address."""

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """List the objects; what only marks a folder, an empty object whose name ends with "/", is left out.

        Raises:
            NotFoundError: There are none.
            AddressError: An object could not be a file below a folder.
        """
        api = self.api or _gcs_api.connect(self.address.project)
        bucket, folder = self.address.bucket, self.address.folder
        prefix = self.address.plain
        fits = _pattern(self.address.name) if self.address.is_glob else re.compile("")
        found = []
        for item in api.objects(bucket, prefix):
            path = item.name[len(folder) :]
            if not path or (path.endswith("/") and item.size == 0) or not fits.match(item.name):
                continue
            address = GcsAddress(bucket=bucket, name=item.name, project=self.address.project)
            source = GcsFile(address=address, known=item, api=api)
            size = None if item.encoding == "gzip" else item.size
            found.append(Entry(path=path, source=source, version=item.generation, size=size))
        if not found:
            why = "no object has such a name" if prefix else "the bucket is empty"
            raise NotFoundError(f"there is nothing in {self.shown}", why=why, do="check its name")
        return self.name, found


def open_source(text: str) -> Order:
    """Read a gs:// address, or the address of an object in Google's own web pages.

    Raises:
        AddressError: It is neither.

    Example:
        >>> open_source("gs://my-bucket/data/").source.name
        'data'
    """
    return Order(source=source_of(parse(_from_page(text))))


def source_of(address: GcsAddress) -> GcsFile | GcsFolder:
    """Return what an address names."""
    many = address.is_folder or address.is_glob
    return GcsFolder(address=address) if many else GcsFile(address=address)


def _from_page(text: str) -> str:
    """Turn https://storage.cloud.google.com/BUCKET/OBJECT, which shows a sign-in page, into gs://."""
    if text.strip().lower().startswith("gs:"):
        return text
    parts = urllib.parse.urlsplit(text.strip())
    path = re.sub(r"\A/storage/browser/(?:_details/)?", "/", parts.path).partition(";")[0]
    return f"gs:/{urllib.parse.unquote(path)}"


def _pattern(name: str) -> re.Pattern[str]:
    """Make a pattern of wildcards as gsutil reads them."""
    parts = re.split(r"(\*\*|\*|\?|\[!?[^\]/]+\])", name)
    made = [_WILD.get(part) or (_letters(part) if at % 2 else re.escape(part)) for at, part in enumerate(parts)]
    return re.compile("".join(made) + r"\Z", re.DOTALL)


def _letters(part: str) -> str:
    inside = part[1:-1].replace("\\", r"\\").replace("^", r"\^").replace("[", r"\[")
    return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"


def _best(found: GcsObject) -> Checksum | None:
    """Choose the hash to check by: CRC32C where it is computed by the processor, else the MD5 if there is one."""
    crc = Checksum(algorithm="crc32c", digits=found.crc32c) if found.crc32c else None
    md5 = Checksum(algorithm="md5", digits=found.md5) if found.md5 else None
    return (crc if has_fast_crc32c() else None) or md5 or crc
