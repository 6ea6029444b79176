"""gs:// addresses: a bucket, an object or a prefix, a generation."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, replace

from colabkit.errors import AddressError

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9._-]{1,220})[a-z0-9]", re.ASCII)


_GENERATION = re.compile(r"#(\d{1,19})", re.ASCII)


_EXPECTED = "write it as gs://BUCKET/OBJECT, or gs://BUCKET/FOLDER/ for all that is below"


_LONGEST = 1024
_WILD = re.compile(r"[*?]")
_ENDS = re.compile(r"#\d{1,19}\Z", re.ASCII)
PAGES = "https://storage.cloud.google.com/"
EXACTLY = (
    "an object whose own name holds *, ? or # is named by the address of its page, "
    f"{PAGES}BUCKET/OBJECT with %2A, %3F and %23 for them"
)
"""How to name what gs:// would read as a pattern or a generation."""


@dataclass(frozen=True, kw_only=True)
class GcsAddress:
    """What a gs:// address names.

    Attributes:
        bucket: The bucket.
        name: The object, or a prefix that ends with "/", or "" for the whole bucket.
        generation: The version that is asked for, or "" for the newest.
        project: The project that pays where a bucket demands it, or "" for the environment's.
        is_exact: The name is that of one object, whatever letters it holds.
    """

    bucket: str
    name: str
    generation: str = ""
    project: str = ""
    is_exact: bool = False

    def __str__(self) -> str:
        if self.is_exact and (_WILD.search(self.name) or _ENDS.search(self.name) or self.name != self.name.strip()):
            # As gs:// it would read back as something else.
            return f"{PAGES}{self.bucket}/{urllib.parse.quote(self.name)}"
        return f"gs://{self.bucket}/{self.name}" + (f"#{self.generation}" if self.generation else "")

    @property
    def is_folder(self) -> bool:
        """Whether it names everything below, as the slash at its end says."""
        return not self.name or (not self.is_exact and self.name.endswith("/"))

    @property
    def is_glob(self) -> bool:
        """Whether it has wildcards: * and ? within a part, ** across parts, and with these also [a-z]."""
        return not self.is_exact and _WILD.search(self.name) is not None

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
        slip = re.match(r"gs:/?(?!/)(.+)", text.strip(), re.IGNORECASE)
        if slip is not None and _BUCKET.fullmatch(slip[1].partition("/")[0]):
            why, hint = "two slashes stand before the bucket", f"did you mean gs://{slip[1][:200]}?"
            raise AddressError(f"cannot read the address {text.strip()[:200]!r}", why=why, hint=hint)
        raise AddressError(f"cannot read the address {text.strip()[:200]!r}", why=why, hint=_EXPECTED)
    head, mark, tail = name.rpartition("#")
    generation = ""
    if head and _GENERATION.fullmatch(mark + tail):
        name, generation = head, tail
    check_name(name)
    return GcsAddress(bucket=bucket, name=name, generation=generation)


def parse_page(text: str) -> GcsAddress:
    """Read the address of an object in Google's web pages, where each letter of a name stands for itself.

    Raises:
        AddressError: It is none.

    Example:
        >>> parse_page("https://storage.cloud.google.com/my-bucket/which%3F.csv").name
        'which?.csv'
    """
    parts = urllib.parse.urlsplit(text.strip())
    path = re.sub(r"\A/storage/browser/(?:_details/)?", "/", parts.path).partition(";")[0]
    bucket, _, quoted = path.lstrip("/").partition("/")
    name = urllib.parse.unquote(quoted)
    address = parse(f"gs://{bucket}/")
    if not name or name.endswith("/"):
        return parse(f"gs://{bucket}/{name}")
    check_name(name)
    return replace(address, name=name, is_exact=True)


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
            hint="choose another name",
        )
