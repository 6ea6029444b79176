"""Pasted hf download and huggingface-cli download commands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from colabkit._clients.huggingface import Hub, parse
from colabkit._clients.huggingface.file import HubFileSource
from colabkit._engine.source import ParsedSource
from colabkit.errors import AddressError
from colabkit.transfer.commands.options import CommandSpec, names, pairs, parse_options
from colabkit.transfer.sources.huggingface import HubFolderSource

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTIONS = CommandSpec(
    bare=names("resume-download force-download quiet"),
    valued=names("repo-type revision include exclude local-dir local-dir-use-symlinks token max-workers type"),
    short=pairs("q quiet"),
)
_MANY = frozenset({"include", "exclude"})


def read(words: Sequence[str]) -> ParsedSource:
    """Read the words of a download command.

    Raises:
        AddressError: It does something else, or has an option that is not known; the message names it.

    Example:
        >>> order = read("hf download ada/net config.json --local-dir model".split())
        >>> order.source.shown, order.to, order.result
        ('hf:ada/net/config.json', 'model', 'config.json')
    """
    verb = next(iter(words[1:]), "")
    if verb != "download":
        ways = {
            "upload": 'push it: ck.push(PATH, "hf:OWNER/NAME")',
            "login": "put a token into the secret HF_TOKEN",
            "auth": "put a token into the secret HF_TOKEN",
        }
        raise AddressError(
            f"`{words[0]} {verb[:20]}` is not a command that fetches",
            why=f"only {words[0]} download does",
            hint=ways.get(verb, "run it as it is, in a line of its own"),
        )
    options: dict[str, list[str]] = {}
    for _, name, value in parse_options(_spread(list(words[2:])), _OPTIONS):
        options.setdefault("type" if name == "repo-type" else name, []).append(value)
    if not (plain := options.get("url", [])):
        raise AddressError(f"the pasted {words[0]} command names no repository", hint="add it, as in OWNER/NAME")
    kind = options.get("type", ["model"])[-1]
    top = parse(f"hf:{kind}s/{plain[0]}")
    top = replace(top, ref=options["revision"][-1]) if "revision" in options else top
    files = [parse(f"hf:{kind}s/{plain[0]}/{file}").path for file in plain[1:]]
    hub = Hub(options["token"][-1]) if "token" in options else None
    taken = tuple(replace(top, path=path) for path in (*files, *options.get("include", []))) or (top,)
    again = "force-download" in options
    to = options["local-dir"][-1] if "local-dir" in options else None
    is_single = len(files) == 1 and "include" not in options
    if to is None and is_single:
        return ParsedSource(source=HubFileSource(address=taken[0], hub=hub), again=again)
    source = HubFolderSource(addresses=taken, leaves_out=tuple(options.get("exclude", [])), whole_paths=True, hub=hub)
    return ParsedSource(
        source=source,
        to=to,
        placing="contents" if to else "as named",
        result=files[0] if is_single else "",
        again=again,
    )


def _spread(words: list[str]) -> list[str]:
    """Give each of several patterns behind --include and --exclude its own option, as old versions take them."""
    spread: list[str] = []
    option = ""
    for word in words:
        if word.startswith("-"):
            option = word if word.removeprefix("--") in _MANY else ""
            spread.append(word)
        elif option and spread[-1] != option:
            spread += [option, word] if any(letter in word for letter in "*?[") else [word]
        else:
            spread.append(word)
    return spread
