"""unzip, tar, 7z and their like: on archives that are here, behind a download, or behind a pipe."""

from __future__ import annotations

import glob
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._engine.source import After, ParsedSource, together
from colabkit._internal.disk.paths import expand
from colabkit.errors import AddressError
from colabkit.transfer.commands.options import parse_options
from colabkit.transfer.commands.unpacking.extractions import COMPRESSORS, ONE_FILE, PROGRAMS, Extraction, extraction

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWS = ("ls", "echo", "cd", "pwd", "du", "mkdir", "true", "head", "wc", "stat", "file", "md5sum", "sha256sum", "tree")
"""What only shows something, or makes a folder that is made anyway."""


def read(words: Sequence[str], *, output: str = "") -> ParsedSource:
    """Read a command that unpacks one archive of this machine, or several.

    Args:
        words: The program and its arguments.
        output: The file that what it shows goes to, or "".

    Raises:
        AddressError: It does something else, or has an option that is not known; the message names it.

    Example:
        >>> order = read(["unzip", "-q", "data.zip", "-d", "data"])
        >>> str(order.source), order.to, order.placing
        ('data.zip', 'data', 'contents')
    """
    return together(
        [
            replace(
                _unpacked(ParsedSource(source=expand(archive)), made, made.to),
                note=made.note if made.keeps else f"{archive} stays where it is; {words[0]} would take it away",
            )
            for one in _each(words, globs=True)
            for made in [extraction(one, output=output)]
            for archive in _found(words[0], made)
        ]
    )


def _each(words: Sequence[str], *, globs: bool = False) -> list[list[str]]:
    """Give each file of gunzip and its like a command of its own; a pattern fits files that are here now if `globs`."""
    if words[0] not in COMPRESSORS:
        return [list(words)]
    plain = [value for _, name, value in parse_options(list(words[1:]), ONE_FILE) if name == "url"]
    files = [path for word in plain for path in ((sorted(_glob(word)) if globs else []) or [word])]
    options = [word for word in words if word not in plain]
    return [[*options, file] for file in files] if files else [list(words)]


def after(
    order: ParsedSource,
    words: Sequence[str],
    *,
    folder: str = "",
    removed: set[str],
    used: set[str],
    joined: str,
    output: str = "",
    earlier: Sequence[ParsedSource] = (),
) -> ParsedSource:
    """Read what follows a download on the same line.

    Args:
        order: The download.
        words: The command.
        folder: Where it runs.
        removed: The files that the commands behind it take away.
        used: The files that the commands behind it work on.
        joined: What stands between, as "&&".
        output: The file that what it shows goes to, or "".
        earlier: The downloads before that one.

    Raises:
        AddressError: It is nothing that fetch does.
    """
    program = words[0]
    if program in _SHOWS:
        return order
    if program == "rm":
        known = {_name_of(one) for one in (*earlier, order)}
        known |= {os.path.normpath(step.archive) for one in (*earlier, order) for step in one.after}
        others = [word for word in words[1:] if word[:1] != "-" and _below(folder, word) not in known]
        if others and not (order.placing == "contents" and order.format):
            raise AddressError(
                f"the pasted line removes {others[0][:60]}",
                why="fetch removes nothing but the archive that it unpacked",
                hint="run the rest in a line of its own",
            )
        return order
    if program not in PROGRAMS:
        raise AddressError(
            f"the pasted line runs {program[:40]} behind the download",
            why="a pasted line is read, never run; only unzip, tar and their like can be done here",
            hint=f"paste the part before {joined} alone, and run the rest in a line of its own",
        )
    for one in _each(words):
        made = extraction(one, output=output)
        is_used = _below(folder, made.archive) in used
        order = _with_step(order, made, folder, removed - used if is_used else removed)
    return order


def _with_step(order: ParsedSource, made: Extraction, folder: str, removed: set[str]) -> ParsedSource:
    archive, to = _below(folder, made.archive), os.path.join(folder, made.to)  # noqa: PTH118
    gone = archive in removed or (made.single and not made.keeps)
    if gone and archive == _name_of(order) and not order.after:
        # The archive is gone in the end, as it is when its folder takes its place.
        return _unpacked(order, made, to)
    step = After(
        archive=archive,
        to=to,
        format=made.format,
        existing=made.existing,
        strip=made.strip,
        members=made.members,
        single=made.single,
        remove=gone,
    )
    return replace(order, after=(*order.after, step), note=made.note or order.note)


def _below(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118


def _name_of(order: ParsedSource) -> str:
    """Return the path of what a download makes, where the command or the address tells."""
    name = "" if isinstance(order.source, Path) else order.source.name
    if order.to is None:
        return name
    if order.placing == "folder" or order.to.endswith(("/", os.sep)):
        return os.path.normpath(os.path.join(order.to, name))  # noqa: PTH118
    return os.path.normpath(order.to)


def piped(order: ParsedSource, words: Sequence[str], output: str) -> ParsedSource | None:
    """Read what a download is piped into; None for what does not unpack."""
    if words[0] not in PROGRAMS:
        return None
    made = extraction(words, piped=True)
    if made.archive != "-":
        return None
    if made.single:
        place = output or None
        return replace(order, to=place, placing="file" if place else "as named", unpack=True, format=made.format)
    return _unpacked(order, made, made.to)


def _unpacked(order: ParsedSource, made: Extraction, to: str) -> ParsedSource:
    """Return an order whose archive is unpacked, as a command says, to a place."""
    return replace(
        order,
        to=to,
        placing="file" if made.single else "contents",
        unpack=True,
        format=made.format,
        existing=made.existing,
        strip=made.strip,
        members=made.members,
        note=made.note or order.note,
    )


def _found(program: str, made: Extraction) -> list[str]:
    """Return the archives that a command means: a pattern for some, a name without its ending."""
    archive = made.archive
    if archive == "-":
        raise AddressError(f"{program} reads from a pipe, and nothing comes", hint="name the archive")
    if glob.has_magic(archive) and not Path(archive).exists():
        fitting = sorted(_glob(archive))
        if not fitting or (len(fitting) > 1 and program != "unzip"):
            raise AddressError(
                f"{archive} fits {len(fitting)} files",
                why=f"{program} unpacks one archive",
                hint="write a line for each: for path in glob.glob(...): ck.fetch(path, to=..., unpack=True)",
            )
        return fitting
    if program == "unzip" and not Path(archive).exists():
        return [next((f"{archive}{ending}" for ending in (".zip", ".ZIP") if Path(archive + ending).exists()), archive)]
    return [archive]


def _glob(pattern: str) -> list[str]:
    return glob.glob(os.path.expanduser(pattern)) if glob.has_magic(pattern) else []  # noqa: PTH111, PTH207
