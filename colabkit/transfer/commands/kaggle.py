"""Pasted `kaggle … download` commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._clients.kaggle.handle import ADDRESS, HANDLES, Handle, parse, with_file
from colabkit._engine.source import ParsedSource
from colabkit.errors import AddressError
from colabkit.transfer.commands.options import CommandSpec, pairs, parse_options, refused
from colabkit.transfer.sources.kaggle import KaggleSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._clients.kaggle.handle import Kind

_BARE = frozenset({"unzip", "untar", "quiet", "force", "wp"})
_FILES = CommandSpec(
    bare=_BARE,
    valued=frozenset({"file", "path", "dataset", "competition"}),
    short=pairs("p path q quiet f file o force w wp d dataset c competition"),
)
_KERNELS = CommandSpec(
    bare=_BARE, valued=frozenset({"path", "kernel"}), short=pairs("p path q quiet k kernel o force w wp")
)
_MODELS = CommandSpec(bare=_BARE, valued=frozenset({"path"}), short=pairs("p path q quiet f force"))
_OPTIONS: dict[str, CommandSpec] = {"models": _MODELS, "code": _KERNELS}


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a pasted kaggle command asks for.

    Attributes:
        handle: What it names.
        to: The folder that it puts that into, whether that already exists or not.
        unpack: Whether it unpacks, straight into that folder.
        again: Whether it fetches although it is here.
    """

    handle: Handle
    to: str
    unpack: bool
    again: bool = False


def read(words: Sequence[str]) -> ParsedSource:
    """Read the words of a kaggle command.

    Raises:
        AddressError: As for `parse_command`.
    """
    command = parse_command(list(words[1:]))
    return ParsedSource(
        source=KaggleSource(command.handle),
        to=command.to,
        placing="contents" if command.unpack else "folder",
        unpack=command.unpack,
        existing="replace" if command.again else "refuse",
        again=command.again,
    )


def parse_command(words: list[str]) -> Command:
    """Read the words of a `kaggle … download` command, without the program.

    Raises:
        AddressError: It does something else, or has an option that is not known; the message names it.

    Example:
        >>> parse_command(["datasets", "download", "-d", "owner/digits", "-p", "data", "--unzip"]).to
        'data'
    """
    kind, words = _download(words)
    options: dict[str, str] = {}
    for _, name, value in parse_options(words, _OPTIONS.get(kind, _FILES)):
        if name in ("url", "dataset", "competition", "kernel"):
            if "name" in options:
                raise refused(value, "the command names two things")
            options["name"] = value
        else:
            options[name] = value
    if "name" not in options:
        raise AddressError("the pasted kaggle command names nothing to download", hint=f"add it, or write {HANDLES}")
    prefix = "" if ADDRESS.match(options["name"]) else f"kaggle:{kind}/"
    handle = parse(prefix + options["name"])
    if file := options.get("file", ""):
        handle = with_file(options["name"], handle, file)
    # The output of a notebook comes as its files, not as an archive.
    unpack = not handle.file and ("unzip" in options or "untar" in options or kind == "code")
    folder = "." if "wp" in options else options.get("path", "") or "."
    return Command(handle=handle, to=folder, unpack=unpack, again="force" in options)


def _download(words: list[str]) -> tuple[Kind, list[str]]:
    forms: dict[tuple[str, ...], Kind] = {
        ("datasets", "download"): "datasets",
        ("d", "download"): "datasets",
        ("competitions", "download"): "competitions",
        ("c", "download"): "competitions",
        ("models", "instances", "versions", "download"): "models",
        ("models", "variations", "versions", "download"): "models",
        ("m", "instances", "versions", "download"): "models",
        ("m", "variations", "versions", "download"): "models",
        ("kernels", "output"): "code",
        ("k", "output"): "code",
    }
    for form, kind in forms.items():
        if tuple(words[: len(form)]) == form:
            return kind, words[len(form) :]
    verbs = [word for word in words[:2] if word.isalpha() or word.startswith("--")]  # what is else may be a key
    raise AddressError(
        f"`kaggle {' '.join(verbs)[:60]}` is not a command that fetches",
        why="those that can be read are kaggle datasets|competitions|models instances versions … download, and "
        "kaggle kernels output",
        hint=_otherwise(words) or f"write what you want as {HANDLES}",
    )


def _otherwise(words: list[str]) -> str:
    """Say how a command that does not fetch is done here."""
    verb = words[1] if len(words) > 1 else ""
    if verb == "submit":
        return 'submit it by ck.push("submission.csv", "kaggle:competitions/NAME", message="...")'
    if words[:1] == ["datasets"] and verb in ("create", "version"):
        return 'push it: ck.push("FOLDER", "kaggle:OWNER/DATASET", message="...")'
    if words[:1] in (["config"], ["auth"]):
        return "credentials are found where kaggle keeps them; or put a token into the secret KAGGLE_API_TOKEN"
    return ""
