"""What the user asked for: requirement strings and files, read by us and never by a shell.

A requirement is a name, versions, extras, a marker, an address; nothing else. An option that hides in one
(`numpy --index-url …`, `-e .`) would let a copied line choose where code comes from, so it is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._credentials import masked as without_credentials
from colabkit._internal.foreign import reading
from colabkit.errors import NotFoundError, RequirementError
from colabkit.packages.request.requirement import CheckedRequirement, read_need

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE_SUFFIXES = (".txt", ".lock", ".in")

_LONGEST = 8192  # letters; patterns look through a long one for too long
_OPTION = re.compile(r"(?:^|\s)--?[A-Za-z]")
_HASH = re.compile(r"\s--hash[= ](\w+:[0-9a-fA-F]+)")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_FILLED_IN = re.compile(r"\$\{[^{}]*\}")
_USER_INFO = re.compile(r"//[^/\s]*@")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class InstallRequirement:
    """One requirement of the user's.

    Attributes:
        need: The requirement.
        hashes: The `sha256:…` values that its file promised.
        editable: The code stays where it is and is used from there.
    """

    need: CheckedRequirement
    hashes: tuple[str, ...] = ()
    editable: bool = False

    @property
    def name(self) -> str:
        """The name in its normal form: `Foo_Bar` is `foo-bar`."""
        return self.need.name

    @property
    def is_source(self) -> bool:
        """Whether it names source code by its address: what it needs is known only once its own code has run."""
        return self.editable or (self.need.url is not None and not is_wheel(self.need.url))

    def with_name(self, name: str) -> InstallRequirement:
        """Return it with the name that its build reported."""
        brackets = f"[{','.join(sorted(self.need.extras))}]" if self.need.extras else ""
        text = f"{name}{brackets} @ {self.need.url}"
        return replace(self, need=replace(self.need, name=name, text=text))

    @property
    def line(self) -> str:
        """The line of a requirements file that says the same."""
        return " ".join([self.need.text, *(f"--hash={value}" for value in self.hashes)])


def masked(text: str) -> str:
    """Return the text without the user and password of every address, and other credentials that can be told.

    Example:
        >>> masked("from https://me:secret@example.org/simple")
        'from https://***@example.org/simple'
    """
    return without_credentials(_USER_INFO.sub("//***@", text))


def is_wheel(address: str) -> bool:
    """Say whether an address names a built package, whose metadata can be read without running anything.

    Example:
        >>> is_wheel("https://example.org/x-1-py3-none-any.whl#sha256=00"), is_wheel("git+https://example.org/x")
        (True, False)
    """
    return address.partition("#")[0].partition("?")[0].endswith(".whl")


def version_in(address: str) -> str:
    """Return the version that a built package's file name tells; "" for all else.

    Example:
        >>> version_in("file:///x/demo-1.0-py3-none-any.whl"), version_in("git+https://example.org/x")
        ('1.0', '')
    """
    filename = address.partition("#")[0].partition("?")[0].rpartition("/")[2].replace("%2B", "+")
    return filename.split("-")[1] if is_wheel(filename) and filename.count("-") >= 4 else ""


def is_file(text: str | Path) -> bool:
    """Say whether an argument of install() means a file rather than a package."""
    if isinstance(text, Path):
        return True
    return text.endswith(FILE_SUFFIXES) and not re.search(r"[<>=@;\s]", text)


def read(text: str) -> InstallRequirement:
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
        raise RequirementError(
            f"a requirement must be a text, not {type(text).__name__}", hint='write it as "numpy>=2"'
        )
    if len(text) > _LONGEST:
        raise RequirementError(
            f"a requirement of {len(text):,} letters",
            why=f"none is longer than {_LONGEST:,}",
            hint='write it as "numpy>=2"',
        )
    display = masked(text)
    if _CONTROL.search(text) or _OPTION.search(text):
        raise RequirementError(
            f"{display!r} carries an option or a second line",
            why="only names, versions and addresses belong in a requirement: an option in it could change where code"
            " comes from",
            hint="use arguments instead: install(..., index_url=…, extra_index_urls=[…], find_links=[…])",
        )
    with reading(
        lambda why: RequirementError(
            f"cannot read the requirement {display!r}",
            why=masked(why),
            hint=_spelling(display) or 'write one package per text, as in "numpy", "numpy>=2,<3" or "name @ https://…"',
        )
    ):
        if re.fullmatch(r"v?\d+(?:\.\d+)+", text.strip()):
            raise RequirementError(
                f"{display!r} is a version, and no package is before it",
                why="a blank parts two packages",
                hint=f'write it behind its package, as in "numpy=={display}"',
            )
        need = read_need(text)
        refuse_credentials(need.url, display)
    if need.url and not re.match(r"[a-z+]+:/", need.url, re.IGNORECASE):
        if hint := _spelling(display):
            raise RequirementError(f"cannot read the requirement {display!r}", why="`@` is for an address", hint=hint)
        raise RequirementError(
            f"cannot read the address in {display!r}",
            why="it has no scheme, such as https or git+https",
            hint='write "git+https://HOST/OWNER/NAME.git", or "git+ssh://git@HOST/OWNER/NAME.git"',
        )
    return InstallRequirement(need=need)


def _spelling(text: str) -> str:
    """Return what a text that is no requirement most likely means; "" where nobody can tell."""
    if match := re.fullmatch(r"\s*([\w.-]+(?:\[[\w,-]+\])?)\s*(?:@|=)\s*v?(\d[\w.*]*)\s*", text):
        return f'write "{match[1]}=={match[2]}"'
    if match := re.fullmatch(r"\s*([\w.-]+)\s*(=>|=<|~)\s*(\d[\w.*]*)\s*", text):
        return f'write "{match[1]}{match[2][::-1] if "=" in match[2] else "~="}{match[3]}"'
    if match := re.fullmatch(r"\s*([\w.-]+)\s*==\s*([\d.]+)\.x\s*", text):
        return f'write "{match[1]}=={match[2]}.*"'
    if match := re.fullmatch(r"\s*([\w.-]+)\s*[=<>!~]=?\s*", text):
        return f'write a version behind it, as in "{match[1]}>=1.0", or "{match[1]}" alone'
    if re.fullmatch(r"\s*[A-Za-z][\w.-]*\s*,[\s\w,.-]*", text):
        return "put spaces, and no commas, between packages"
    if text.rstrip().endswith("/"):
        return f"there is no folder {text.strip()}; check the path, and the working folder (%pwd)"
    return ""


def text_of(path: Path) -> str:
    """Read the text of a requirements file.

    Raises:
        NotFoundError: There is no such file.
        RequirementError: It is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFoundError(f"no file at {path}", hint="check the path, or write one with lock(path)") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RequirementError(f"cannot read {path}", why=str(error), hint="check the file") from error


def read_file(path: Path) -> list[InstallRequirement]:
    """Read a requirements file: requirements, comments and hashes; an option in it is refused.

    Raises:
        NotFoundError: There is no such file.
        RequirementError: A line cannot be read, or carries an option other than `--hash`.
    """
    requirements = []
    for number, line in logical_lines(text_of(path)):
        try:
            requirements.append(read_line(line))
        except RequirementError as error:
            raise RequirementError(f"{path}, line {number}: {error.what}", why=error.why, hint=error.hint) from error
    return requirements


def read_line(line: str) -> InstallRequirement:
    """Read a line of a requirements file: a requirement, and the hashes that it promises.

    Raises:
        RequirementError: It cannot be read, or carries another option.
    """
    hashes = tuple(_HASH.findall(line))
    return InstallRequirement(need=read(_HASH.sub("", line).strip()).need, hashes=hashes)


def comments(path: Path) -> Iterator[str]:
    """Yield the text of the comments that open a requirements file."""
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if not line.startswith("#"):
                return
            yield line[1:].strip()


def applicable(requirements: Iterable[InstallRequirement]) -> list[InstallRequirement]:
    """Leave out what its own marker excludes from this Python and platform."""
    return [requirement for requirement in requirements if requirement.need.applies()]


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text with their numbers: comments left out, those that end with a backslash joined."""
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


def refuse_credentials(url: str | None, display: str) -> None:
    """Refuse an address with a user and password, or with a variable that the installer would fill in.

    Both would stand in the package's records, and a variable may be any secret of the environment.
    """
    if not url:
        return
    if (variable := _FILLED_IN.search(url)) and not url.lower().startswith("file:"):
        raise RequirementError(
            f"{display!r} holds the variable {variable[0]}",
            why="the installer would fill it in, send it to that server and write it into the package's records",
            hint="write its value, if it is no secret; a secret goes into ~/.netrc or the installer's own settings",
        )
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise RequirementError(f"{display!r} is not an address", why=str(error), hint="correct the address") from error
    if has_user(parts.netloc, parts.scheme) or "$" in parts.netloc:
        raise RequirementError(
            f"{display!r} carries credentials",
            why="they would be written into the package's records and shown in logs",
            hint="keep them in ~/.netrc, or pass the index as install(..., index_url=…)",
        )
