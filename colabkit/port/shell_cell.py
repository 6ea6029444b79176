"""A `%%bash` cell, or a line of several shell commands, as lines of Python that do the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.port.commands import Found

SHELLS = ("bash", "sh", "shell")
_HEAD = re.compile(r"%%(?:bash|sh|shell)[ \t]*")
_STRICT = re.compile(r"set(\s+[-+][a-z]+(\s+pipefail)?)+")
_HARMLESS = re.compile(r"(?:mkdir|ls|echo|rm|mv|cp|cat|head|tail|wc|du|df|tree|pwd|touch|nvidia-smi|file|find)\b")
_NEVER_FAILS = re.compile(r"(?:mkdir\s+-p|rm\s+-\w*f\w*|echo|ls|pwd|touch)\b")
_GIT = re.compile(r"git\s+(?!clone\b|lfs\s+install|config|--version)\w")
_BLOCK = re.compile(r"(?:if|then|else|elif|fi|for|while|until|do|done|case|esac|function|select)\b|[\w-]+\s*\(\)")
_CHANGES = (
    (re.compile(r"(?:cd|pushd|popd)\b"), "the commands after it work in another folder"),
    (re.compile(r"(?:export|source|\.|alias|unset|read|declare|local)\s|\w+="), "it sets what the shell keeps"),
    (_BLOCK, "it has conditions or loops"),
    (_GIT, "it needs the history of git"),
)


class NoWayError(Exception):
    """It cannot be said in Python; the text is the reason."""


def python_of(source: str, read: Callable[[str], Found | None]) -> list[str] | None:
    """Write a cell of a shell as Python.

    Args:
        source: The cell, its magic included.
        read: Finds what one command is.

    Returns:
        The lines; None where the cell sets nothing up.

    Raises:
        NoWayError: A command of it is not understood, or its shell's state matters.
    """
    head, _, body = source.lstrip("\r\n").partition("\n")
    lines: list[str] = []
    has_setup, kept, strict = False, False, False
    for line in body.replace("\\\n", " ").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            lines.append(text)
            continue
        for command in split(text):
            if _STRICT.fullmatch(command):
                strict = True
                continue
            calls = _calls(command, read)
            has_setup |= calls is not None
            kept |= calls is None
            lines += calls if calls is not None else [f"!{command}"]
    if not has_setup:
        return None
    if not _HEAD.fullmatch(head.rstrip("\r")):
        raise NoWayError(f"its first line has options: {head[:60]}")
    if strict and kept:
        raise NoWayError("set -e ends it where a command fails, which ! lines do not")
    return lines


def of_line(text: str, read: Callable[[str], Found | None]) -> list[str] | None:
    """Write a `!` line of several commands as Python; None where nothing of it sets anything up.

    Raises:
        NoWayError: It cannot be taken apart.
    """
    commands = split(text)
    if len(commands) < 2:
        return None
    lines: list[str] = []
    has_setup = False
    for number, command in enumerate(commands):
        calls = _calls(command, read)
        if calls is None and number + 1 < len(commands) and not _NEVER_FAILS.match(command):
            raise NoWayError(f"what follows depends on whether {command.split()[0]} succeeds")
        has_setup |= calls is not None
        lines += calls if calls is not None else [f"!{command}"]
    return lines if has_setup else None


def split(text: str) -> list[str]:
    r"""Take a line of a shell apart at `&&` and `;`.

    Raises:
        NoWayError: It has variables, substitutions, or other ways to join commands.

    Example:
        >>> split("mkdir -p data && wget 'https://example.org/a;b' ; ls")
        ['mkdir -p data', "wget 'https://example.org/a;b'", 'ls']
    """
    parts, start, quote, at = [], 0, "", 0
    while at < len(text):
        letter = text[at]
        if letter in "$`" and quote != "'":
            raise NoWayError("it has variables or substitutions of the shell")
        if letter in "{}" or (letter == "\\" and quote != "'"):
            raise NoWayError(f"{letter!r} means one thing in a shell and another in a ! line")
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (at == 0 or text[at - 1].isspace()):
            break
        elif text.startswith("&&", at) or letter == ";":
            parts.append(text[start:at])
            at += 1 if letter == "&" else 0
            start = at + 1
        elif text.startswith("||", at) or letter == "(" or (letter == "&" and text[at - 1 : at] != ">"):
            raise NoWayError("its commands are joined by more than && and ;")
        elif text.startswith("<<", at):
            raise NoWayError("it holds a text for a command (<<)")
        at += 1
    if quote:
        raise NoWayError("a quotation mark stays open")
    parts.append(text[start:at])
    return [part.strip() for part in parts if part.strip()]


def _calls(command: str, read: Callable[[str], Found | None]) -> list[str] | None:
    """Return the calls that do what a command does; None where it stays a command."""
    for pattern, reason in _CHANGES:
        if pattern.match(command):
            raise NoWayError(f"{command.split(maxsplit=1)[0]}: {reason}")
    reading = read(command)
    if reading is None:
        if not _HARMLESS.match(command):
            raise NoWayError(f"{command.split(maxsplit=1)[0]} is none of the commands that are understood")
        return None
    if not reading.calls:
        if reading.works:
            return None
        raise NoWayError(reading.reason)
    return list(reading.calls)
