"""wget -r and -m: the options that say which files below a folder are taken, and where they go."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from colabkit._engine.parallel import AT_ONCE
from colabkit._engine.source import ParsedSource
from colabkit.transfer.commands.options import names, refused
from colabkit.transfer.sources.web_folder import RecursiveSpec, WebFolderSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from colabkit.transfer.sources.web import WebSource

OPTIONS = names(
    "recursive mirror level accept reject exclude-directories no-directories force-directories no-host-directories "
    "cut-dirs no-parent timestamping wait random-wait"
)
"""Those that mean something beside -r."""
_ENDLESS = ("inf", "0")
_SLOWEST = 60.0

Option = tuple[str, str, str]


def is_recursive(options: Sequence[Option]) -> bool:
    """Say whether the options ask for more than the file at the address.

    Raises:
        AddressError: They ask for the folders of the address without following links.
    """
    written = {name: option for option, name, _ in options}
    recursive = bool(written.keys() & {"recursive", "mirror"})
    if "force-directories" in written and not recursive:
        raise refused(written["force-directories"], "it makes the folders of the address; name the place by -P or -O")
    return recursive


def source_below(
    start: WebSource,
    options: Sequence[Option],
    *,
    to: str,
    existing: Literal["refuse", "keep"],
    robots: bool,
) -> ParsedSource:
    """Read what is fetched below an address.

    Args:
        start: The address.
        options: Each as written, with its long name and its value.
        to: The folder that -P names, or "".
        existing: What is done with files that are there.
        robots: Whether robots.txt counts.

    Raises:
        AddressError: A value cannot be read.
    """
    values = {name: value for _, name, value in options}
    mirrors = "mirror" in values
    spec = RecursiveSpec(
        level=_level(values.get("level", "inf" if mirrors else "5")),
        accepted=_listed(options, "accept"),
        rejected=_listed(options, "reject"),
        excluded=_listed(options, "exclude-directories"),
        host="no-host-directories" not in values,
        cut=_number(values, "cut-dirs"),
        flat="no-directories" in values and "force-directories" not in values,
        later_wins=mirrors or "timestamping" in values,
        robots=robots,
    )
    pause = _seconds(values.get("wait", "0"))
    source = WebFolderSource(start=start, spec=spec, at_once=1 if pause else AT_ONCE, pause=pause)
    above = "" if "no-parent" in values else "only what is below the address is fetched, as with -np"
    return ParsedSource(
        source=source,
        to=to or ".",
        placing="contents",
        result=source.place.rstrip("/"),
        existing=existing,
        note=above,
    )


def _level(text: str) -> int:
    if text in _ENDLESS:
        return 0
    if not text.isdecimal():
        raise refused("-l", "its value is no number")
    return int(text[:6])


def _number(values: dict[str, str], name: str) -> int:
    text = values.get(name, "0")
    if not text.isdecimal():
        raise refused(f"--{name}", "its value is no number")
    return int(text[:6])


def _seconds(text: str) -> float:
    try:
        return min(max(float(text.rstrip("s")), 0.0), _SLOWEST)
    except ValueError:
        raise refused("--wait", "its value is no number of seconds") from None


def _listed(options: Sequence[Option], name: str) -> tuple[str, ...]:
    texts = [value for _, other, value in options if other == name]
    return tuple(part for text in texts for part in text.replace(os.linesep, "").split(",") if part)
