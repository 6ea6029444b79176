"""Pasted gsutil cp and gcloud storage cp commands: read into an address and a place; what means more is refused."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from colabkit.errors import AddressError
from colabkit.transfer._gcs import parse, source_of
from colabkit.transfer._options import Dialect, names, refused, walk
from colabkit.transfer._words import split
from colabkit.transfer.base import Order

# Besides recursion and who pays, these are the options that change nothing about which bytes arrive.
_GSUTIL = Dialect(
    bare=names("cp debug multi quiet recursive continue no-clobber skip-unsupported print-version exclude-links daisy"),
    valued=names("billing-project log"),
    short={
        "D": "daisy",
        "L": "log",
        "R": "recursive",
        "U": "skip-unsupported",
        "c": "continue",
        "d": "debug",
        "e": "exclude-links",
        "m": "multi",
        "n": "no-clobber",
        "q": "quiet",
        "r": "recursive",
        "u": "billing-project",
        "v": "print-version",
    },
)
_GCLOUD = Dialect(
    bare=names("recursive no-clobber continue-on-error quiet skip-unsupported no-user-output-enabled daisy-chain"),
    valued=names("billing-project project verbosity manifest-path"),
    short={"L": "manifest-path", "R": "recursive", "n": "no-clobber", "q": "quiet", "r": "recursive"},
)


@dataclass
class _Copy:
    words: list[str] = field(default_factory=list)
    recursive: bool = False
    project: str = ""


def open_source(text: str) -> Order:
    """Read a command that copies from Cloud Storage to this machine.

    Raises:
        AddressError: It cannot be read, does something else, or has an option that fetch does not do.

    Example:
        >>> order = open_source("!gsutil -m cp -r gs://my-bucket/data ./here")
        >>> order.source.shown, order.to
        ('gs://my-bucket/data/', './here/')
    """
    program, *rest = split(text)
    copy = _Copy()
    for _, name, value in walk(rest, _GSUTIL if program == "gsutil" else _GCLOUD):
        if name == "url":
            copy.words.append(value)
        elif name == "recursive":
            copy.recursive = True
        elif name == "billing-project":
            copy.project = value
    verb = ["cp"] if program == "gsutil" else ["storage", "cp"]
    if copy.words[: len(verb)] != verb:
        raise AddressError(
            f"the command {program} {' '.join(copy.words[:2])[:60]} cannot be fetched",
            why=f"only {program} {' '.join(verb)} brings files here",
            do="pass the gs:// address itself",
        )
    return _order(program, copy, copy.words[len(verb) :])


def _order(program: str, copy: _Copy, places: list[str]) -> Order:
    if len(places) != 2:
        raise AddressError(
            f"the pasted {program} command has {max(0, len(places) - 1)} sources",
            why="it needs one source and one destination",
            do="pass a list of gs:// addresses to fetch several",
        )
    source, to = places
    if not source.startswith("gs://") or "://" in to:
        raise AddressError(
            f"the pasted {program} command copies from {source[:100]} to {to[:100]}",
            why="fetch brings files from gs:// to this machine",
            do="use push(path, target) for the other way",
        )
    address = parse(source)
    if copy.recursive and not address.is_folder and not address.is_glob:
        address = parse(f"{source}/")
    if not copy.recursive and address.is_folder and not address.is_glob:
        raise refused("no -r", "a folder is copied only with it")
    folder = address.is_folder or address.is_glob
    if to == "-":
        return Order(source=source_of(replace(address, project=copy.project)))
    if folder or to in (".", ".."):
        to = f"{to.rstrip('/')}{os.sep}"
    return Order(source=source_of(replace(address, project=copy.project)), to=to, unpack=False)
