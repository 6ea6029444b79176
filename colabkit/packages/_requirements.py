"""What the user asked for: requirement strings and files, read by us and never by a shell.

A requirement is a name, versions, extras, a marker, an address; nothing else. An option that hides in one
(`numpy --index-url …`, `-e .`) would let a copied line choose where code comes from, so it is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.errors import NotFoundError, RequirementError
from colabkit.packages._need import Need, read_need

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE_SUFFIXES = (".txt", ".lock", ".in")

_OPTION = re.compile(r"(?:^|\s)--?[A-Za-z]")
_HASH = re.compile(r"\s--hash[= ](\w+:[0-9a-fA-F]+)")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_USER_INFO = re.compile(r"//[^/\s]*@")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One requirement of the user's.

    Attributes:
        need: The requirement.
        hashes: The `sha256:…` values that its file promised.
    """

    need: Need
    hashes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name in its normal form: `Foo_Bar` is `foo-bar`."""
        return self.need.name

    @property
    def line(self) -> str:
        """The line of a requirements file that says the same."""
        return " ".join([self.need.text, *(f"--hash={value}" for value in self.hashes)])


def masked(text: str) -> str:
    """Return the text with the user and password of every address replaced.

    Example:
        >>> masked("from https://me:secret@example.org/simple")
        'from https://***@example.org/simple'
    """
    return _USER_INFO.sub("//***@", text)


def is_file(text: str | Path) -> bool:
    """Say whether an argument of install() means a file rather than a package."""
    if isinstance(text, Path):
        return True
    return text.endswith(FILE_SUFFIXES) and not re.search(r"[<>=@;\s]", text)


def read(text: str) -> Wanted:
    """Read one requirement.

    Args:
        text: As in PEP 508: `numpy>=2`, `kaggle[all]; python_version >= "3.12"`, `name @ https://…`.

    Raises:
        RequirementError: It cannot be read, or it carries an option or credentials.

    Example:
        >>> read("Keras >= 3.10").name
        'keras'
    """
    if not isinstance(text, str):
        raise RequirementError(f"a requirement must be a text, not {type(text).__name__}", do='write it as "numpy>=2"')
    shown = masked(text)
    if _CONTROL.search(text) or _OPTION.search(text):
        raise RequirementError(
            f"{shown!r} carries an option or a second line",
            why="only names, versions and addresses belong in a requirement: an option in it could change where code"
            " comes from",
            do="use arguments instead: install(..., index_url=…, extra_index_urls=[…], find_links=[…])",
        )
    try:
        need = read_need(text)
    except ValueError as error:
        raise RequirementError(
            f"cannot read the requirement {shown!r}",
            why=masked(str(error).partition("\n")[0]),
            do='write one package a text, as in "numpy", "numpy>=2,<3" or "name @ https://…"',
        ) from error
    _refuse_credentials(need.url, shown)
    return Wanted(need=need)


def read_file(path: Path) -> list[Wanted]:
    """Read a requirements file: requirements, comments and hashes; an option in it is refused.

    Raises:
        NotFoundError: There is no such file.
        RequirementError: A line cannot be read, or carries an option other than `--hash`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFoundError(f"no file at {path}", do="check the path, or write one with lock(path)") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RequirementError(f"cannot read {path}", why=str(error), do="check the file") from error
    found = []
    for number, line in _logical_lines(text):
        hashes = tuple(_HASH.findall(line))
        try:
            wanted = read(_HASH.sub("", line).strip())
        except RequirementError as error:
            raise RequirementError(f"{path}, line {number}: {error.what}", why=error.why, do=error.do) from error
        found.append(Wanted(need=wanted.need, hashes=hashes))
    return found


def comments(path: Path) -> Iterator[str]:
    """Yield the text of the comments that open a requirements file."""
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if not line.startswith("#"):
                return
            yield line[1:].strip()


def applicable(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Leave out what its own marker excludes from this Python and platform."""
    return [one for one in wanted if one.need.applies()]


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    pending, start = "", 0
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        start = start if pending else number
        pending += _COMMENT.sub("", raw)
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        if pending.strip():
            yield start, pending.strip()
        pending = ""


def has_user(netloc: str, scheme: str) -> bool:
    """Say whether an address carries a user who may be a secret.

    `git+ssh://git@host/…` names a login, not a secret; a user alone in https is a token.

    Example:
        >>> has_user("token@example.org", "https"), has_user("git@example.org", "git+ssh")
        (True, False)
    """
    user, at, _host = netloc.rpartition("@")
    return bool(at) and not (scheme.endswith("ssh") and ":" not in user)


def _refuse_credentials(url: str | None, shown: str) -> None:
    if not url:
        return
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if has_user(parts.netloc, parts.scheme) or "$" in parts.netloc:
        raise RequirementError(
            f"{shown!r} carries credentials",
            why="they would be written into the package's records and shown in logs",
            do="keep them in ~/.netrc, or pass the index as install(..., index_url=…)",
        )
