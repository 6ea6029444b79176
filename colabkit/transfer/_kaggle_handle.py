"""Names of Kaggle's datasets, competitions, models and notebooks: handles, page addresses and pasted commands."""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import dataclass
from typing import Literal

from colabkit.errors import AddressError
from colabkit.transfer._options import Dialect, refused, walk

Kind = Literal["datasets", "competitions", "models", "code"]

_SLUG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?", re.ASCII)
_KINDS = frozenset({"datasets", "competitions", "c", "models", "code"})
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_ADDRESS = re.compile(r"https?://(?:www\.|api\.)?kaggle\.com(?::443)?(?=[/?#]|$)", re.IGNORECASE)
_HANDLES = (
    "kaggle:OWNER/DATASET[/VERSION][/FILE], kaggle:competitions/NAME[/FILE], "
    "kaggle:models/OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION][/FILE] or kaggle:code/OWNER/NOTEBOOK[/VERSION][/FILE]"
)
# Parts of page addresses that name a tab of the page, nothing that can be fetched.
_TABS = frozenset({"data", "overview", "code", "discussion", "leaderboard", "rules", "models", "suggestions", "team"})
_NOTEBOOK_TABS = frozenset({"input", "output", "log", "comments", "notebook", "script"})
_NOTEBOOKS = ("code", "kernels", "notebooks")


@dataclass(frozen=True, kw_only=True)
class Handle:
    """What is asked for at Kaggle.

    Attributes:
        kind: Which of its four; "code" is what a notebook made.
        owner: The user or organisation; "" for a competition.
        name: The dataset, competition, model or notebook.
        framework: Of a model, as in "keras".
        variation: Of a model.
        version: The number; None is the newest, and competitions have none.
        file: The one file that is wanted, or "" for all.
    """

    kind: Kind
    name: str
    owner: str = ""
    framework: str = ""
    variation: str = ""
    version: int | None = None
    file: str = ""

    def __str__(self) -> str:
        kind = () if self.kind == "datasets" and self.owner not in _KINDS else (self.kind,)
        version = () if self.version is None else (str(self.version),)
        return "kaggle:" + "/".join((*kind, *self.slugs, *version, *filter(None, (self.file,))))

    @property
    def slugs(self) -> tuple[str, ...]:
        """The parts of its name, without version and file."""
        return tuple(filter(None, (self.owner, self.name, self.framework, self.variation)))

    @property
    def page(self) -> str:
        """The address of its page, for people."""
        return f"https://www.kaggle.com/{self.kind}/{'/'.join(self.slugs)}"


def parse(text: str) -> Handle:
    """Read a handle, with or without "kaggle:" before it, or the address of a page.

    Raises:
        AddressError: It is none.

    Example:
        >>> parse("kaggle:zalando-research/fashionmnist/4/fashion-mnist_test.csv").file
        'fashion-mnist_test.csv'
        >>> str(parse("https://www.kaggle.com/c/digit-recognizer/data"))
        'kaggle:competitions/digit-recognizer'
    """
    text = text.strip()
    if match := _ADDRESS.match(text):
        return _page(text, text[match.end() :])
    rest = text[len("kaggle:") :] if text.lower().startswith("kaggle:") else text
    return _handle(text, rest.strip("/").split("/"))


def _handle(text: str, parts: list[str]) -> Handle:
    kind, *rest = parts
    if kind in ("competitions", "c"):
        return _made(text, "competitions", rest, 1, versioned=False)
    if kind == "models":
        return _made(text, "models", rest, 4)
    if kind == "code":
        return _made(text, "code", rest, 2)
    return _made(text, "datasets", rest if kind == "datasets" else parts, 2)


def _made(text: str, kind: Kind, parts: list[str], slugs: int, *, versioned: bool = True) -> Handle:
    names, rest = parts[:slugs], parts[slugs:]
    if len(names) < slugs or not all(_SLUG.fullmatch(name) for name in names):
        raise _unreadable(text)
    version = None
    if versioned and rest[:1] == ["versions"]:
        rest = rest[1:]
        if not rest or not _NUMBER.fullmatch(rest[0]):
            raise _unreadable(text, "there is no number behind versions/")
    if versioned and rest and _NUMBER.fullmatch(rest[0]):
        version, rest = int(rest[0]), rest[1:]
    file = "/".join(rest)
    if file and not is_plain(file):
        raise _unreadable(text, "the name of the file is not a plain path")
    owner = names[0] if kind != "competitions" else ""
    framework, variation = names[2:] if kind == "models" else ("", "")
    return Handle(
        kind=kind,
        owner=owner,
        name=names[0] if kind == "competitions" else names[1],
        framework=framework,
        variation=variation,
        version=version,
        file=file,
    )


def is_plain(path: str) -> bool:
    """Say whether a relative path neither climbs nor hides anything.

    Example:
        >>> is_plain("train/7.png"), is_plain("../7.png"), is_plain("a//b")
        (True, False, False)
    """
    return path.isprintable() and "\\" not in path and not {"", ".", ".."} & set(path.split("/"))


def _page(text: str, rest: str) -> Handle:
    parts = urllib.parse.urlsplit(rest)
    words = [urllib.parse.unquote(part) for part in parts.path.split("/") if part]
    query = {key: values[-1] for key, values in urllib.parse.parse_qs(parts.query).items()}
    if words[:2] == ["api", "v1"] or words[:1] == ["v1"]:
        return _api_address(text, words[words.index("v1") + 1 :], query)
    if not words:
        raise _unreadable(text, "it is the address of no dataset, competition or model")
    if words[0] in _NOTEBOOKS:
        words[0] = "code"
        if "scriptVersionId" in query:
            raise _unreadable(text, "scriptVersionId= is no number of a version; the page's list of versions tells it")
    if words[0] == "models":
        # https://www.kaggle.com/models/OWNER/MODEL/frameworks/F/variations/V/versions/N is the older form.
        words = [word for word in words if word not in ("frameworks", "variations")]
        if len(words) < 5:
            raise _unreadable(text, "it names a model without framework and variation; choose one on its page")
    size = {"competitions": 2, "c": 2, "models": 5, "datasets": 3, "code": 3}.get(words[0], 2)
    tail = words[size:]
    if tail[:1] == ["versions"] or (words[0] == "models" and tail and _NUMBER.fullmatch(tail[0])):
        kept = 2 if tail[0] == "versions" else 1
        words, tail = words[: size + kept], tail[kept:]
    else:
        words = words[:size]
    if tail and tail[0] not in (_NOTEBOOK_TABS if words[0] == "code" else _TABS):
        raise _unreadable(text, f"its part {tail[0][:40]!r} is not known")
    selected = query.get("select", "")
    return _handle(text, [*words, *filter(None, (selected,))])


def _api_address(text: str, words: list[str], query: dict[str, str]) -> Handle:
    """Read an address of the interface that Kaggle's pages give for curl."""
    if words[:2] == ["datasets", "download"]:
        version = query.get("datasetVersionNumber", "")
        names, file = words[2:4], words[4:] or [query.get("fileName", "")]
        return _handle(text, ["datasets", *names, *filter(None, (version, *file))])
    if words[:2] == ["competitions", "data"] and words[2:3] in (["download"], ["download-all"]):
        return _handle(text, ["competitions", *words[3:]])
    if words[:1] == ["models"] and words[-1:] == ["download"]:
        return _handle(text, words[:-1])
    raise _unreadable(text, "it is no download of Kaggle's interface")


def _unreadable(text: str, why: str = "") -> AddressError:
    return AddressError(
        f"cannot read {text.partition('?')[0][:200]!r} as something of Kaggle's", why=why, do=f"write it as {_HANDLES}"
    )


_COMMON = {"p": "path", "q": "quiet"}
_BARE = frozenset({"unzip", "untar", "quiet", "force", "wp"})
_FILES = Dialect(
    bare=_BARE,
    valued=frozenset({"file", "path", "dataset", "competition"}),
    short={**_COMMON, "f": "file", "o": "force", "w": "wp", "d": "dataset", "c": "competition"},
)
_MODELS = Dialect(bare=_BARE, valued=frozenset({"path"}), short={**_COMMON, "f": "force"})


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a pasted kaggle command asks for.

    Attributes:
        handle: What it names.
        to: Where it puts that.
        unpack: Whether it unpacks.
    """

    handle: Handle
    to: str
    unpack: bool


def parse_command(words: list[str]) -> Command:
    """Read the words of a `kaggle … download` command, without the program.

    Raises:
        AddressError: It does something else, or has an option that is not known; the message names it.

    Example:
        >>> parse_command(["datasets", "download", "-d", "owner/digits", "-p", "data", "--unzip"]).to
        'data'
    """
    kind, words = _download(words)
    found: dict[str, str] = {}
    for option, name, value in walk(words, _MODELS if kind == "models" else _FILES):
        if name == "force":
            raise refused(option, "it asks to fetch again; pass overwrite=True for that")
        if name in ("url", "dataset", "competition"):
            if "name" in found:
                raise refused(value, "the command names two things")
            found["name"] = value
        else:
            found[name] = value
    if "name" not in found:
        raise AddressError("the pasted kaggle command names nothing to download", do=f"add it, or write {_HANDLES}")
    prefix = "" if _ADDRESS.match(found["name"]) else f"kaggle:{kind}/"
    handle = parse(prefix + found["name"])
    if file := found.get("file", ""):
        handle = parse(f"{handle}/{file}")
    unpack = not handle.file and ("unzip" in found or "untar" in found)
    folder = found.get("path", "")
    # With --unzip the command fills that very folder; packed, the file lies in it.
    to = folder if unpack and folder else f"{folder or '.'}{os.sep}"
    return Command(handle=handle, to=to, unpack=unpack)


def _download(words: list[str]) -> tuple[Kind, list[str]]:
    forms: dict[tuple[str, ...], Kind] = {
        ("datasets", "download"): "datasets",
        ("d", "download"): "datasets",
        ("competitions", "download"): "competitions",
        ("c", "download"): "competitions",
        ("models", "instances", "versions", "download"): "models",
        ("models", "variations", "versions", "download"): "models",
        ("m", "instances", "versions", "download"): "models",
    }
    for form, kind in forms.items():
        if tuple(words[: len(form)]) == form:
            return kind, words[len(form) :]
    raise AddressError(
        f"`kaggle {' '.join(words[:2])[:60]}` is not a command that fetches",
        why="those that can be read are kaggle datasets|competitions|models instances versions … download",
        do=f"write what you want as {_HANDLES}",
    )
