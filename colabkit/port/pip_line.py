"""A `pip install` line as a call of `install()`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.errors import ColabKitError, NotFoundError
from colabkit.packages.alternatives import MEANT
from colabkit.packages.request import pasted
from colabkit.packages.request import requirements_file as requirements

if TYPE_CHECKING:
    from colabkit.port.context import Context

PIP = re.compile(
    r"(?:sudo\s+(?:-H\s+)?)?(?:\{sys\.executable\}|\"\{sys\.executable\}\"|\$\{?sys\.executable\}?|python3?(?:\.\d+)?)?"
    r"(?:(?<=\S)\s+-m\s+)?(?:uv\s+)?pip(?:3(?:\.\d+)?)?\s+install\b",
)
_IGNORED = re.compile(
    r"-q+|-v+|-y|--quiet|--verbose|--yes|--no-cache-dir|--user|--disable-pip-version-check|--no-warn-script-location|"
    r"--root-user-action=\w+|--prefer-binary|--break-system-packages|--no-color|--no-input|--system|--no-warn-conflicts|"
    r"--use-feature=\S+|--use-deprecated=\S+|--no-python-version-warning|--progress-bar=\w+|--ignore-installed"
)
_UPGRADES = re.compile(r"--upgrade|-q*Uq*")
_IGNORED_WITH_VALUE = frozenset(
    ("--progress-bar", "--timeout", "--default-timeout", "--retries", "--root-user-action", "--trusted-host")
)
_ONE = {"-i": "index_url", "--index-url": "index_url"}
_MANY = {"--extra-index-url": "extra_index_urls", "-f": "find_links", "--find-links": "find_links"}
_NEVER_INSTALLED = frozenset(
    ("cv2", "pil", "pytorch", "skimage", "sklearn", "tf-nightly-2.0-preview", "tf-nightly-gpu-2.0-preview")
)
"""Names that pip only refuses in a line of output, behind which a notebook goes on, where `install` raises."""

_OF_PYTHON = re.compile(
    "collections|glob|io|itertools|json|math|os|pickle|random|re|shutil|sqlite3|sys|time|tkinter|warnings",
    re.IGNORECASE,
)
"""Modules that people install, and that no index has."""

_OTHERWISE = re.compile(r"\|\|(?P<then>[^\"]*(?:\"[^\"]*\")*[^\"]*)$")
_SAYS_ONLY = re.compile(r"\s*(?:true|:|echo|printf|exit\s+0)(?:\s|;|$)")
_FILLER = "colabkitvariable"


class NoWay(Exception):  # noqa: N818 - a reason, told to the user
    """A line that no call says.

    Args:
        reason: Why.
        works: Whether the line does its work as it is.
    """

    def __init__(self, reason: str, *, works: bool = False) -> None:
        super().__init__(reason)
        self.works = works


def calls(text: str, context: Context) -> list[str]:
    """Return the calls that install the same: with arguments, else with the line itself, which `install` reads.

    Raises:
        NoWay: There is none; the message says why.
    """
    if otherwise := _OTHERWISE.search(text):
        if _SAYS_ONLY.match(otherwise["then"]):
            raise NoWay("it goes on where it fails, and install() raises", works=True)
        raise NoWay("it is more than one command")
    try:
        if PIP.match(text):
            return _with_arguments(text, context)
    except NoWay as error:
        if error.works:
            raise
    return [_with_line(text, context)]


def _with_line(text: str, context: Context) -> str:
    from colabkit.port import values

    if not PIP.sub("", text, count=1).strip():
        raise NoWay("it names no package")
    line = PIP.sub("pip install", text.replace("\\\n", " "), count=1)
    try:
        read = values.read(line, context)
        filled = "".join("1" if kind == "expression" else part for kind, part in read.parts)
        pasted.read_text(filled, {}, Path("the-folder-of-the-notebook"))  # what lies here says nothing of what it has
    except values.Unknown as error:
        raise NoWay(str(error)) from None
    except NotFoundError:
        pass  # a file that the notebook will have made
    except ColabKitError as error:
        raise NoWay(error.why or error.what) from None
    return f"{context.alias}.install({read.python()})"


def _with_arguments(text: str, context: Context) -> list[str]:
    from colabkit.port import values

    line = PIP.sub("", text, count=1).replace("\\\n", " ")
    line = re.sub(r"\s+(?:2>&1|[\d&]?>+\s*(?!=)\S+|\|\s*(?:grep|tail|head|cat)\b.*)", " ", line)
    line = re.sub(r"\s#.*$", "", line)
    if re.search(r"&&|;|\||`|\$\(", line):
        raise NoWay("it is more than one command")
    try:
        read = values.read(line, context)
    except values.Unknown as error:
        raise NoWay(str(error)) from None
    expressions: list[str] = []
    marked = ""
    for kind, part in read.parts:
        if kind == "expression":
            marked += f"{_FILLER}{len(expressions)}x"
            expressions.append(part)
        else:
            marked += part
    try:
        words = shlex.split(
            re.sub(r"(?<![\"'\w])([\w.\[\],-]+[<>=!~]=?[\w.*,<>=!~-]+)", r"'\1'", marked), comments=False
        )
    except ValueError as error:
        raise NoWay(f"it cannot be read: {error}") from None
    return _written(words, expressions, context)


def _written(words: list[str], expressions: list[str], context: Context) -> list[str]:
    asked = _Asked(words)
    for one in asked.wanted:
        if _OF_PYTHON.fullmatch(one):
            raise NoWay(f"{one} belongs to Python itself, and pip only says that it finds none", works=True)
        _check(one)
    more = ["upgrade=True"] * asked.upgrade
    if "index_url" in asked.options:
        more.append(f"index_url={_literal(asked.options.pop('index_url')[-1], expressions)}")
    for name, many in asked.options.items():
        more.append(f"{name}=[{', '.join(_literal(one, expressions) for one in many)}]")
    files = [one for one in asked.wanted if requirements.is_file(one)]
    packages = [one for one in asked.wanted if one not in files]
    groups = [[one] for one in files] + ([packages] if packages else [])
    return [
        f"{context.alias}.install({', '.join([*(_literal(one, expressions) for one in group), *more])})"
        for group in groups
    ]


class _Asked:
    """What the words of a line ask for."""

    def __init__(self, words: list[str]) -> None:
        self.wanted: list[str] = []
        self.options: dict[str, list[str]] = {}
        self.upgrade = False
        queue = list(words)
        while queue:
            self._take(queue.pop(0), queue)
        if not self.wanted:
            raise NoWay("it names no package")

    def _take(self, word: str, queue: list[str]) -> None:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if _UPGRADES.fullmatch(word):
            self.upgrade = True
        elif name == "--upgrade-strategy" or name in _IGNORED_WITH_VALUE:
            if not equals:
                _next(queue, name)
        elif _IGNORED.fullmatch(word):
            return
        elif name in ("-r", "--requirement", "-qr"):
            self._take_file(value if equals else _next(queue, name))
        elif re.match(r"-r[^\s-]", word):
            self._take_file(word[2:])
        elif name in _ONE or name in _MANY:
            value = value if equals else _next(queue, name)
            self.options.setdefault(_ONE.get(name) or _MANY[name], []).append(value)
        elif word.startswith("-"):
            raise NoWay(f"{word.partition('=')[0]} has no counterpart")
        else:
            self.wanted.append(MEANT[word.lower()] if word.lower() in _NEVER_INSTALLED else word)

    def _take_file(self, name: str) -> None:
        if not requirements.is_file(name) or "://" in name:
            raise NoWay("its requirements file is not a file here")
        self.wanted.append(name)


def _next(queue: list[str], name: str) -> str:
    if not queue:
        raise NoWay(f"{name} has no value")
    return queue.pop(0)


def _check(word: str) -> None:
    filled = re.sub(rf"{_FILLER}\d+x", "1", word)
    if requirements.is_file(filled):
        return
    if re.match(r"\.{0,2}/|\.$|.*\.whl$", filled) and "://" not in filled:
        raise NoWay("it installs from a folder or a file of this machine")
    try:
        requirements.read(filled)
    except ColabKitError as error:
        raise NoWay(error.why or error.what) from None


def _literal(word: str, expressions: list[str]) -> str:
    from colabkit.port import values

    parts = re.split(rf"{_FILLER}(\d+)x", word)
    if parts[0] == parts[-1] == "" and len(parts) == 3:
        return f"str({expressions[int(parts[1])]})"
    pairs = [
        ("expression", expressions[int(part)]) if number % 2 else ("letters", part)
        for number, part in enumerate(parts)
        if part
    ]
    written = values.Text(pairs).python()
    if not written:
        raise NoWay("it cannot be written as one text")
    return written
