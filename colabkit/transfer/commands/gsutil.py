"""Pasted gsutil cp and gcloud storage cp commands: read into an address and a place; what means more is refused."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from colabkit._clients import gcs
from colabkit._clients.gcs.address import GcsAddress, parse
from colabkit._clients.gcs.file import GcsFile
from colabkit._engine.parallel import AT_ONCE
from colabkit._engine.source import Entry, ParsedSource, together
from colabkit._internal.disk.paths import expand
from colabkit.errors import AddressError, NotFoundError
from colabkit.transfer.commands.options import CommandSpec, names, pairs, parse_options, refused
from colabkit.transfer.commands.shell_lexer import split
from colabkit.transfer.merging import find
from colabkit.transfer.sources.gcs import pattern, source_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._clients.gcs import Api

# Besides recursion and who pays, these are the options that change nothing about which bytes arrive.
_GSUTIL = CommandSpec(
    bare=names("cp debug multi quiet recursive continue no-clobber skip-unsupported print-version exclude-links daisy"),
    valued=names("billing-project log"),
    short=pairs(
        "D daisy L log R recursive U skip-unsupported c continue d debug e exclude-links m multi n "
        "no-clobber q quiet r recursive u billing-project v print-version"
    ),
)
_GCLOUD = CommandSpec(
    bare=names("recursive no-clobber continue-on-error quiet skip-unsupported no-user-output-enabled daisy-chain"),
    valued=names("billing-project project verbosity manifest-path"),
    short=pairs("L manifest-path R recursive n no-clobber q quiet r recursive"),
)


@dataclass
class _Copy:
    words: list[str] = field(default_factory=list)
    recursive: bool = False
    project: str = ""
    keeps: bool = False
    rsync: bool = False


def open_source(text: str) -> ParsedSource:
    """Read a command that copies from Cloud Storage to this machine.

    Raises:
        AddressError: It cannot be read, does something else, or has an option that fetch does not do.

    Example:
        >>> order = open_source("!gsutil -m cp -r gs://my-bucket/data ./here")
        >>> order.source.shown, order.to, order.result
        ('gs://my-bucket/data', '.', 'here')
    """
    return read(split(text))


def read(words: Sequence[str]) -> ParsedSource:
    """Read the words of a gsutil or gcloud command; raises as `open_source` does."""
    program, *rest = words
    copy = _Copy()
    short = set()
    for option, name, value in parse_options(rest, _GSUTIL if program == "gsutil" else _GCLOUD):
        short.add(option)
        if name == "url":
            copy.words.append(value)
        elif name == "recursive":
            copy.recursive = True
        elif name == "billing-project":
            copy.project = value
        elif name == "no-clobber":
            copy.keeps = True
    if program == "gcloud" and copy.words[:1] in (["alpha"], ["beta"]):
        del copy.words[0]
    before = [] if program == "gsutil" else ["storage"]
    verb = copy.words[len(before) : len(before) + 1]
    copy.rsync = verb == ["rsync"]
    if copy.words[: len(before)] != before or verb not in (["cp"], ["rsync"]):
        raise AddressError(
            f"the command {program} {' '.join(copy.words[:2])[:60]} cannot be fetched",
            why=f"only {' '.join([program, *before])} cp and rsync bring files here",
            hint="pass the gs:// address itself",
        )
    if copy.rsync and (other := short & {"-d", "-n", "-u", "-U"}):
        raise refused(min(other), "with rsync it removes or leaves out files")
    return _order(program, copy, copy.words[len(before) + 1 :])


def _order(program: str, copy: _Copy, places: list[str]) -> ParsedSource:
    if len(places) < 2:
        raise AddressError(
            f"the pasted {program} command names {'no' if not places else 'one'} place",
            why="it needs a source and a destination",
            hint="pass the gs:// address itself",
        )
    *sources, to = places
    other = next((source for source in sources if not source.startswith("gs://") or "://" in to), "")
    if other:
        shown = f'ck.push("{other[:100]}", "{to[:100]}")' if to.startswith("gs://") else "push(path, target)"
        raise AddressError(
            f"the pasted {program} command copies from {other[:100]} to {to[:100]}",
            why="fetch brings files from gs:// to this machine",
            hint=f"fetch it first, then use {shown}" if "://" in other else f"for the other way use {shown}",
        )
    orders = [_one(copy, source, to, alone=len(sources) == 1) for source in sources]
    return together([replace(order, existing="keep") if copy.keeps else order for order in orders])


def _one(copy: _Copy, source: str, to: str, *, alone: bool) -> ParsedSource:
    address = replace(parse(source), project=copy.project)
    if copy.rsync:
        below = replace(address, name=f"{address.name.rstrip('/')}/*".lstrip("/"))
        made = GcsCopy(address=below, recursive=copy.recursive)
        return ParsedSource(source=made, to=to, placing="contents", existing="replace")
    if not copy.recursive and address.is_folder and not address.is_glob:
        raise refused("no -r", "a folder is copied only with it")
    if to == "-":
        return ParsedSource(source=source_of(address))
    if not copy.recursive and not address.is_glob:
        # Several go into a folder of that name, as one does if it is there.
        return ParsedSource(source=source_of(address), to=to, placing="as named" if alone else "folder", unpack=False)
    return _many(address, to if alone else f"{to.rstrip(os.sep)}{os.sep}", recursive=copy.recursive)


def _many(address: GcsAddress, to: str, *, recursive: bool) -> ParsedSource:
    """Place what may be many files: a folder goes into one that is there, and becomes one that is not."""
    if address.is_glob:
        return ParsedSource(source=GcsCopy(address=address, recursive=recursive), to=to, placing="contents")
    name = address.name.rstrip("/").rpartition("/")[2] or address.bucket
    place = expand(to)
    renamed = GcsCopy(address=address, recursive=True, renamed=place.name)
    made = ParsedSource(source=renamed, to=str(place.parent), placing="contents", result=place.name)
    inside = ParsedSource(source=GcsCopy(address=address, recursive=True), to=to, placing="contents", result=name)
    if to.endswith(("/", os.sep)) or not place.name:
        return inside
    # Run again, the same line finds what it made: it does not put it inside of that.
    return inside if place.is_dir() and find(renamed.identity, place.parent) is None else made


@dataclass(frozen=True, kw_only=True)
class GcsCopy:
    """What a cp command takes: objects that fit, and with -r all that is below what fits.

    Attributes:
        address: An object, a folder or a pattern.
        recursive: Folders that fit are taken with all below them.
        renamed: What the object or folder is called here, or "" for its own name.
        api: Sends the requests; the one that fits the environment by default.
    """

    address: GcsAddress
    recursive: bool
    renamed: str = ""
    api: Api | None = field(default=None, repr=False)
    at_once: int = AT_ONCE
    pause: float = 0.0

    @property
    def identity(self) -> str:
        """The address, and how much of it."""
        return f"cp\0{self.address}\0{self.recursive}\0{self.renamed}"

    @property
    def shown(self) -> str:
        """The address."""
        return str(self.address)

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.renamed or self.address.name.rstrip("/").rpartition("/")[2] or self.address.bucket

    def here(self, *, ask: bool = True) -> None:
        """Nothing else on this machine keeps objects under their address."""

    def entries(self) -> tuple[str, Sequence[Entry]]:
        """List the objects with the paths that the command gives them.

        Raises:
            NotFoundError: There are none.
        """
        address = self.address
        api = self.api or gcs.connect(address.project)
        wanted = replace(address, name=address.name.rstrip("/"))
        listed = []
        for item in api.objects(address.bucket, wanted.plain):
            path = self._path(wanted, item.name)
            if not path or (path.endswith("/") and item.size == 0):
                continue
            source = GcsFile(address=replace(address, name=item.name, generation=""), known=item, api=api)
            size = None if item.encoding == "gzip" else item.size
            listed.append(Entry(path=path, source=source, version=item.generation, size=size))
        if not listed:
            raise NotFoundError(f"there is nothing at {self.shown}", why="no object matches", hint="check its name")
        return self.name, listed

    def _path(self, wanted: GcsAddress, name: str) -> str:
        """Return where an object goes, or "" if it does not fit."""
        if not wanted.is_glob:
            if wanted.name and name != wanted.name and not name.startswith(f"{wanted.name}/"):
                return ""
            return self.name + (name[len(wanted.name) :] if wanted.name else f"/{name}")
        fits = pattern(wanted.name)
        if fits.match(name):
            return name.rpartition("/")[2]
        if not self.recursive or "**" in wanted.name:
            return ""
        parts = name.split("/")
        top = next((end for end in range(1, len(parts)) if fits.match("/".join(parts[:end]))), None)
        return "" if top is None else "/".join(parts[top - 1 :])
