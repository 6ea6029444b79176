"""Pasted git commands: a repository with its history is git's to bring, its files fetch can."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Sequence

_GITHUB = re.compile(
    r"(?:https?://(?:[^@/]*@)?github\.com/|git@github\.com:)([\w.-]+)/([\w.-]+?)(?:\.git)?/?$", re.ASCII
)
_HUB = re.compile(
    r"https?://(?:[^@/]*@)?(?:huggingface\.co|hf\.co)/((?:datasets/|spaces/)?[\w.-]+/[\w.-]+?)(?:\.git)?/?$"
)


def read(words: Sequence[str]) -> NoReturn:
    """Say how the files of a repository come here.

    Raises:
        AddressError: Always: a clone is more than its files.

    Example:
        >>> read("git clone -b v2 https://github.com/ada/digits".split())
        Traceback (most recent call last):
        colabkit.errors.AddressError: `git clone` brings a repository with its history, which fetch does not
        Why: only files can be fetched
        What to do: for its files alone: ck.fetch("github:ada/digits@v2", to="digits"); else run git as it is
    """
    verb = next((word for word in words[1:] if not word.startswith("-")), "")
    if "clone" not in words:
        raise AddressError(
            f"`git {verb[:20]}` is not a command that fetches", why="only files can be fetched", hint="run git as it is"
        )
    rest = list(words[words.index("clone") + 1 :])
    ref = ""
    plain = []
    while rest:
        word = rest.pop(0)
        if word in ("-b", "--branch", "--revision") and rest:
            ref = f"@{rest.pop(0)}"
        elif word.startswith("--branch="):
            ref = f"@{word.partition('=')[2]}"
        elif word in ("--depth", "-o", "--origin", "-j", "--jobs", "-c", "--filter") and rest:
            rest.pop(0)
        elif not word.startswith("-"):
            plain.append(word)
    address = plain[0] if plain else ""
    way = ""
    if match := _GITHUB.match(address):
        to = plain[1] if len(plain) > 1 else match[2]
        way = f'ck.fetch("github:{match[1]}/{match[2]}{ref}", to="{to}")'
    elif match := _HUB.match(address):
        to = plain[1] if len(plain) > 1 else match[1].rpartition("/")[2]
        way = f'ck.fetch("hf:{match[1]}{ref}", to="{to}")'
    raise AddressError(
        "`git clone` brings a repository with its history, which fetch does not",
        why="only files can be fetched",
        hint=f"for its files alone: {way}; else run git as it is" if way else "run git as it is",
    )
