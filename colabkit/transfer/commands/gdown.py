"""Pasted gdown commands."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from colabkit._clients.gdrive.link import Link, parse
from colabkit._engine.source import ParsedSource
from colabkit.errors import AddressError
from colabkit.transfer.commands.options import CommandSpec, names, pairs, parse_options, refused
from colabkit.transfer.sources import gdrive, web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit.transfer.sources.gdrive import DriveFile, DriveFolder
    from colabkit.transfer.sources.web import WebSource

_OPTIONS = CommandSpec(
    bare=names("quiet fuzzy id no-cookies no-check-certificate continue folder remaining-ok"),
    valued=names("output speed format user-agent retries timeout"),
    short=pairs("q quiet O output c continue"),
)
_ID = re.compile(r"[-\w]{10,120}", re.ASCII)


def read(words: Sequence[str]) -> ParsedSource:
    """Read the words of a gdown command.

    Raises:
        AddressError: It names nothing of Drive's or the web, or has an option that is not known.

    Example:
        >>> order = read("gdown --id 1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2 -O digits.csv".split())
        >>> order.source.shown, order.to
        ('https://drive.google.com/file/d/1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2/view', 'digits.csv')
    """
    options: dict[str, str] = {}
    places: list[str] = []
    note = ""
    for option, name, value in parse_options(list(words[1:]), _OPTIONS):
        if name == "url":
            places.append(value)
        elif name == "no-check-certificate":
            note = f"{option} is ignored: the certificate of the server is checked"
        else:
            options[name] = value
    if len(places) != 1:
        raise AddressError(
            f"the pasted gdown command names {len(places)} files",
            why="it needs one address or id",
            hint="add it" if not places else "write one line for each, or pass a list of links",
        )
    source = source_of(places[0], folder="folder" in options, ending=options.get("format", ""))
    return placed(source, options.get("output", ""), note=note)


def source_of(text: str, *, folder: bool = False, ending: str = "") -> DriveFile | DriveFolder | WebSource:
    """Return what gdown would fetch.

    Args:
        text: An address or an id.
        folder: It is a folder.
        ending: What a document is exported as.

    Raises:
        AddressError: It is neither.
    """
    from dataclasses import replace

    if not text.lower().startswith(("http://", "https://")):
        if not _ID.fullmatch(text):
            raise AddressError(f"{text[:100]!r} is not an id of Google Drive's", hint="copy it again from the link")
        link = Link(kind="folder" if folder else "file", id=text)
    else:
        try:
            link = parse(text)
        except AddressError:
            if re.match(r"https?://(?:drive|docs|drive\.usercontent)\.google\.com", text, re.IGNORECASE):
                raise
            order = web.open_source(text)
            assert isinstance(order.source, web.WebSource)  # noqa: S101 - it makes nothing else
            return order.source
        if folder and link.kind == "file":
            link = replace(link, kind="folder")
    if ending and link.kind not in ("file", "folder"):
        link = replace(link, format=ending)
    elif ending and link.kind == "file":
        raise refused("--format", "the link does not say that it is a document; use its own link")
    return gdrive.DriveFolder(link) if link.kind == "folder" else gdrive.DriveFile(link)


def placed(source: DriveFile | DriveFolder | WebSource, output: str, *, note: str = "") -> ParsedSource:
    """Return where gdown puts it: a folder's files go straight into the folder that is named."""
    if isinstance(source, gdrive.DriveFolder):
        inside = not output or output.endswith(("/", os.sep))
        return ParsedSource(
            source=source, to=output or ".", placing="folder" if inside else "contents", unpack=None, note=note
        )
    if output == "-":
        return ParsedSource(source=source, unpack=False, note=note)
    inside = not output or output.endswith(("/", os.sep))
    return ParsedSource(
        source=source, to=output or ".", placing="folder" if inside else "file", unpack=False, note=note
    )
