"""Names of Kaggle's datasets, competitions, models and notebooks: handles, page addresses and pasted commands."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, replace
from typing import Literal

from colabkit.errors import AddressError

Kind = Literal["datasets", "competitions", "models", "code"]

_SLUG = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?", re.ASCII)
_KINDS = frozenset({"datasets", "competitions", "c", "models", "code"})
NEWEST = "latest"
_VERSION_LIKE = re.compile(r"(?:[1-9][0-9]{0,8}|versions)(?:/|$)", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
ADDRESS = re.compile(r"https?://(?:www\.|api\.)?kaggle\.com(?::443)?(?=[/?#]|$)", re.IGNORECASE)
HANDLES = (
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
        version: tuple[str, ...] = () if self.version is None else (str(self.version),)
        if self.version is None and self.kind != "competitions" and _VERSION_LIKE.match(self.file):
            version = ("versions", NEWEST)  # else the folder 2020 would read back as the version 2020
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
    if match := ADDRESS.match(text):
        return _page(text, text[match.end() :])
    rest = text[len("kaggle:") :] if text.lower().startswith("kaggle:") else text
    return _handle(text, rest.strip("/").split("/"))


def _handle(text: str, parts: list[str], file: str = "") -> Handle:
    """Make a handle of its parts; a file that is named beside them is never read as a version."""
    kind, *rest = parts
    if kind in ("competitions", "c"):
        return _made(text, "competitions", rest, 1, file, versioned=False)
    if kind == "models":
        return _made(text, "models", rest, 4, file)
    if kind == "code":
        return _made(text, "code", rest, 2, file)
    return _made(text, "datasets", rest if kind == "datasets" else parts, 2, file)


def with_file(text: str, handle: Handle, file: str) -> Handle:
    """Name one file of what a handle names.

    Raises:
        AddressError: The handle names one already, or it is not a plain path.

    Example:
        >>> str(with_file("", parse("kaggle:ada/digits"), "2020/train.csv"))
        'kaggle:ada/digits/versions/latest/2020/train.csv'
    """
    file = file.strip("/")
    if handle.file:
        raise _unreadable(text, "it names two files")
    if not is_plain(file):
        raise _unreadable(text, "the name of the file is not a plain path")
    return replace(handle, file=file)


def _made(text: str, kind: Kind, parts: list[str], slugs: int, named: str, *, versioned: bool = True) -> Handle:
    names, rest = parts[:slugs], parts[slugs:]
    if len(names) < slugs or not all(_SLUG.fullmatch(name) for name in names):
        raise _unreadable(text)
    version = None
    if versioned and rest[:1] == ["versions"]:
        rest = rest[1:]
        if not rest or not (rest[0] == NEWEST or _NUMBER.fullmatch(rest[0])):
            raise _unreadable(text, "there is no number after versions/")
        version, rest = None if rest[0] == NEWEST else int(rest[0]), rest[1:]
    elif versioned and rest and _NUMBER.fullmatch(rest[0]):
        version, rest = int(rest[0]), rest[1:]
    file = "/".join(rest)
    if file and not is_plain(file):
        raise _unreadable(text, "the name of the file is not a plain path")
    owner = names[0] if kind != "competitions" else ""
    framework, variation = names[2:] if kind == "models" else ("", "")
    handle = Handle(
        kind=kind,
        owner=owner,
        name=names[0] if kind == "competitions" else names[1],
        framework=framework,
        variation=variation,
        version=version,
        file=file,
    )
    return with_file(text, handle, named) if named else handle


def is_plain(path: str) -> bool:
    """Say whether a relative path neither climbs nor hides anything.

    Example:
        >>> is_plain("train/7.png"), is_plain("../7.png"), is_plain("a//b")
        (True, False, False)
    """
    plain = path == path.strip() and path.isprintable() and "\\" not in path
    return plain and not {"", ".", ".."} & set(path.split("/"))


def _page(text: str, rest: str) -> Handle:
    path, _, parameters = rest.partition("#")[0].partition("?")  # urlsplit would take a host out of `//datasets/…`
    words = [urllib.parse.unquote(part) for part in path.split("/") if part]
    query = {key: values[-1] for key, values in urllib.parse.parse_qs(parameters).items()}
    if words[:2] == ["api", "v1"] or words[:1] == ["v1"]:
        return _api_address(text, words[words.index("v1") + 1 :], query)
    if not words:
        raise _unreadable(text, "it is the address of no dataset, competition or model")
    if words[0] in _NOTEBOOKS:
        words[0] = "code"
        if "scriptVersionId" in query:
            raise _unreadable(
                text, "scriptVersionId= is not a number of a version; the page's list of versions tells it"
            )
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
    return _handle(text, words, query.get("select", ""))


def _api_address(text: str, words: list[str], query: dict[str, str]) -> Handle:
    """Read an address of the interface that Kaggle's pages give for curl."""
    if words[:2] == ["datasets", "download"]:
        version = query.get("datasetVersionNumber", "")
        return _handle(
            text,
            ["datasets", *words[2:4], *filter(None, (version,))],
            "/".join(words[4:]) or query.get("fileName", ""),
        )
    if words[:2] == ["competitions", "data"] and words[2:3] in (["download"], ["download-all"]):
        return _handle(text, ["competitions", *words[3:4]], "/".join(words[4:]))
    if words[:1] == ["models"] and words[-1:] == ["download"]:
        return _handle(text, words[:-1])
    raise _unreadable(text, "it is not a download of Kaggle's interface")


def _unreadable(text: str, why: str = "") -> AddressError:
    return AddressError(
        f"cannot read {text.partition('?')[0][:200]!r} as a Kaggle address",
        why=why,
        hint=f"write it as {HANDLES}",
    )
