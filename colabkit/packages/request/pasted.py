"""What people type behind `install`: a pasted `!pip install …` line, several packages in one text, paths, addresses.

Its options become arguments of `install`; those that only concern pip's own output are dropped. Nothing is run to read
it: no shell, and of a variable in braces only a name or a join of a list is looked up.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk import working_dir
from colabkit._internal.disk.paths import expand
from colabkit.errors import NotFoundError, RequirementError
from colabkit.packages.request.command_line import commands, own, plain, without_prompt
from colabkit.packages.request.options import LineOptions
from colabkit.packages.request.pip_options import FLAGS, REFUSED, SHORT, VALUES
from colabkit.packages.request.requirements_file import logical_lines, masked, read, text_of
from colabkit.packages.request.source_address import address_of, is_address, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit.packages.request.requirements_file import InstallRequirement

_COMPARED = re.compile(r"(?:[=!~<>]=|[<>])(?=[\s\d]|$).*")
_REDIRECT = re.compile(r"(?:\d|&)?>{1,2}(?:&\d|(?!=).*)?|<(?!=).*")
_STARTS = re.compile(r"\s*[!%]|\s*(?:python\S*\s+-m\s+pip|pip\S*|uv|cd)\s")
_NAME = r"[A-Za-z_]\w*"
_VARIABLE = re.compile(
    rf"\$?\{{(?P<braced>{_NAME}(?:\.{_NAME})*)\}}|\$(?P<plain>{_NAME})|\{{[\"'] [\"']\.join\((?P<joined>{_NAME})\)\}}"
)
_SECRET = re.compile(r"(?:^|[_.])(?:token|secret|password|passwd|pwd|credentials?|key|apikey)s?$", re.IGNORECASE)
_BRACES = re.compile(r"\{[^{}]*\}")
_TO_FILE = (">", ">>", "1>", "2>", "&>", "&>>", ">&", "<")
_INTO = re.compile(r"(?!(?:\d|&)?>)(.*[^\s<>=!~&])>{1,2}(?:/dev/null|[\w./-]*\.(?:log|txt|out))", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Reading(LineOptions):
    """What was read.

    Attributes:
        requirements: The requirements.
        env: Variables for the installer.
        notices: What was left out or taken over, in words.
    """

    requirements: tuple[InstallRequirement, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    notices: tuple[str, ...] = ()

    def __add__(self, other: Reading) -> Reading:
        """Return both readings as one."""
        both: dict[str, Any] = {}
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, bool):
                both[each.name] = mine or theirs
            elif each.name == "index_url":
                both[each.name] = theirs or mine
            elif each.name == "env":
                both[each.name] = {**mine, **theirs}
            else:
                both[each.name] = tuple(dict.fromkeys((*mine, *theirs)))
        return Reading(**both)


def read_text(text: str, names: Mapping[str, Any], folder: Path | None = None) -> Reading:
    """Read a text that is more than one plain requirement.

    Args:
        text: As it was typed or pasted, also over several lines.
        names: The variables of the notebook, for `{name}`.
        folder: What its paths are relative to; the working folder when None.

    Raises:
        RequirementError: It is not a line of pip's, or has an option that cannot be had; the hint says what to run.

    Example:
        >>> reading = read_text("!pip install -q -U 'keras>=3' --extra-index-url https://example.org/simple", {})
        >>> [requirement.name for requirement in reading.requirements], reading.upgrade, reading.extra_index_urls
        (['keras'], True, ('https://example.org/simple',))
    """
    reading = Reading()
    lines = [without_prompt(line) for _, line in logical_lines(text) if not line.lstrip().startswith("%%")]
    if not lines:
        raise RequirementError("nothing to install", hint='name a package: install("keras>=3.10")')
    for line in lines:
        if len(lines) > 1 and not _STARTS.match(line):
            raise _cannot_read(text, "only whole commands may stand on several lines")
        filled = plain(line)
        for braces in {
            placeholder for placeholder in _BRACES.findall(filled) if " " in placeholder
        }:  # its spaces would part the words
            filled = filled.replace(braces, _filled(braces, line, names))
        is_shell = len(lines) > 1 or text.lstrip().startswith(("!", "%"))
        for command in commands(filled, typed=line, is_shell=is_shell):
            if command.folder is not None:
                folder = (folder or working_dir.current()) / expand(command.folder)
                continue
            reading += _arguments(command.words, line, names, folder)
            reading += Reading(env=command.env, notices=command.notices)
    return reading


def read_file(path: Path) -> Reading:
    """Read a requirements file as pip does: with its options, further files, and paths relative to its folder.

    Raises:
        NotFoundError: There is no such file.
        RequirementError: A line cannot be read.
    """
    return _lines(text_of(path), str(path), path.parent, {})


def _lines(text: str, name: str, folder: Path, names: Mapping[str, Any]) -> Reading:
    from colabkit.packages.request.requirements_file import read_line

    reading = Reading()
    requirements: list[InstallRequirement] = []
    for number, line in logical_lines(text):
        try:
            if line.startswith("-") or is_address(line.partition(";")[0].strip(), folder):
                reading += _arguments(shlex.split(line), line, names, folder)
            else:
                requirements.append(read_line(line))
        except RequirementError as error:
            raise RequirementError(f"{name}, line {number}: {error.what}", why=error.why, hint=error.hint) from error
        except ValueError as error:
            raise RequirementError(f"{name}, line {number}: {error}", hint="close the quotes") from None
    return replace(reading, requirements=(*requirements, *reading.requirements))


def _arguments(words: Sequence[str], line: str, names: Mapping[str, Any], folder: Path | None) -> Reading:
    reading = Reading()
    queue = [part for word in words for part in _expanded(word, line, names)]
    texts: list[str] = []
    while queue:
        word = queue.pop(0)
        if word in _TO_FILE and queue and not queue[0][:1].isdigit():
            queue.pop(0)  # `> file`, not `numpy > 2`
        elif into := _INTO.fullmatch(word):
            queue.insert(0, into[1])  # x>/dev/null
        elif _REDIRECT.fullmatch(word) and not _COMPARED.fullmatch(word):
            continue
        elif _COMPARED.fullmatch(word) and texts:
            texts[-1] += word  # numpy >= 2
            if not word.strip("=!~<>") and queue:
                texts[-1] += queue.pop(0)
        elif word.startswith("-") and word != "-":
            reading += _option(word, queue, line, folder)
        else:
            texts.append(word)
    return reading + Reading(requirements=tuple(_requirement(text, folder) for text in texts))


def _requirement(text: str, folder: Path | None, *, editable: bool = False) -> InstallRequirement:
    if editable or is_address(text, folder):
        return address_of(text, folder, editable=editable)
    return read(text)


def _option(word: str, queue: list[str], line: str, folder: Path | None) -> Reading:
    name, is_joined, value = word.partition("=")
    if not word.startswith("--") and len(word) > 2:
        letter, name, is_joined = word[:2], word[:2], ""
        if letter in VALUES:
            queue.insert(0, word[2:])
        else:
            queue.insert(0, f"-{word[2:]}")
        if letter not in VALUES and letter not in SHORT and letter not in FLAGS:
            raise _unknown(word, line)
    if name in REFUSED:
        raise _refused(name, line, REFUSED[name])
    if name in FLAGS:
        changes, notice = FLAGS[name]
        return replace(Reading(notices=(notice,) if notice else ()), **changes)  # type: ignore[arg-type]
    if name not in VALUES:
        raise _unknown(name, line)
    if not is_joined:
        if not queue:
            raise _cannot_read(line, f"{name} takes a value, and none follows")
        value = queue.pop(0)
    kind = VALUES[name]
    return _valued(kind, name, value, folder)


def _valued(kind: str, name: str, value: str, folder: Path | None) -> Reading:
    match kind:
        case "requirements":
            return _requirements(value, folder)
        case "constraints":
            place = value if "://" in value else str(path_of(value, folder))
            if "://" not in value and not Path(place).is_file():
                raise NotFoundError(
                    f"there is no file of constraints at {place}",
                    hint="check the path, and the working folder (%pwd)",
                )
            return Reading(constraints=(place,), notices=(f"the constraints of {masked(place)} count too",))
        case "editable":
            return Reading(requirements=(_requirement(value, folder, editable=True),))
        case "index_url":
            return Reading(index_url=value, notices=(f"packages come from {masked(value)}",))
        case "extra_index_urls":
            return Reading(extra_index_urls=(value,), notices=(f"packages may come from {masked(value)} too",))
        case "find_links":
            place = value if "://" in value else str(path_of(value, folder))
            return Reading(find_links=(place,), notices=(f"packages may come from {masked(place)} too",))
        case "source":
            return Reading(source=True, notices=(f"{name} {value}: packages may be built from source",))
        case "upgrade":
            return Reading(requirements=(_requirement(value, folder),), upgrade=True)
        case "torch_backend":
            return Reading(env={"UV_TORCH_BACKEND": value}, notices=(f"torch is built for {value}",))
        case "verified":
            return Reading(notices=(f"{name} {value} is left out: certificates are verified",))
        case _:
            return Reading()


def _requirements(value: str, folder: Path | None) -> Reading:
    if not value.startswith(("https://", "http://")):
        path = path_of(value, folder)
        return read_file(path) + Reading(notices=(f"the requirements of {path} are installed",))
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(value, timeout=30) as response:  # noqa: S310 - http only, see above
            text = response.read(1 << 20).decode("utf-8", "replace")
    except (URLError, OSError, ValueError) as error:
        raise NotFoundError(f"cannot fetch {masked(value)}", why=str(error), hint="check the address") from None
    return _lines(text, masked(value), folder or working_dir.current(), {})


def _expanded(word: str, line: str, names: Mapping[str, Any]) -> list[str]:
    """Fill in the variables of IPython; one that is empty is no word, and one alone may be several."""
    if not _VARIABLE.search(word):
        if _BRACES.search(word):
            raise _variable(word, line)
        return [word]
    filled = _filled(word, line, names)
    return shlex.split(filled) if _VARIABLE.fullmatch(word) else [filled]


def _filled(word: str, line: str, names: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        variable = _looked_up(match["braced"] or match["plain"] or match["joined"], names)
        if variable is None and match[0].startswith("$"):
            variable = os.environ.get(match["braced"] or match["plain"])  # as IPython leaves it to the shell
        if variable is None:
            raise _variable(match[0], line)
        if _SECRET.search(match["braced"] or match["plain"] or match["joined"]) and not _is_user(match):
            raise _secret(match[0])
        return " ".join(map(str, variable)) if match["joined"] else str(variable)

    filled = _VARIABLE.sub(value, word)
    if _BRACES.search(filled):
        raise _variable(word, line)
    return filled


def _is_user(match: re.Match[str]) -> bool:
    """Say whether a variable stands where an address has its user and password: those are shown and logged nowhere."""
    before, behind = match.string[: match.start()], match.string[match.end() :]
    return bool(re.search(r"://[^/]*$", before) and re.match(r"[^/]*@", behind))


def _secret(word: str) -> RequirementError:
    return RequirementError(
        f"{word} would stand in clear in what is asked for",
        why="its name says that it is a secret, and servers log addresses; a file of others may name any variable",
        hint="write it as the password of an address: https://user:${NAME}@HOST/simple",
    )


def _looked_up(path: str, names: Mapping[str, Any]) -> Any:
    """Return a variable, or what a module or an object holds under a name; no code of theirs runs."""
    first, *rest = path.split(".")
    value = names.get(first)
    for name in rest:
        values = getattr(value, "__dict__", None) if isinstance(value, ModuleType) else None
        value = values.get(name) if values is not None else None
    return value


def _variable(word: str, line: str) -> RequirementError:
    return RequirementError(
        f"{masked(word)!r} in the line cannot be filled in",
        why="only a variable of this notebook or of the environment is looked up; nothing of the line is run",
        hint=f'write its value, as in ck.install(f"…{{name}}…"), or pass a list: ck.install(*names); {own(line)}',
    )


def _unknown(option: str, line: str) -> RequirementError:
    return RequirementError(f"install() has no option {option}", why="", hint=own(line))


def _refused(option: str, line: str, why: str) -> RequirementError:
    return RequirementError(f"{option} is not for install()", why=why, hint=own(line))


def _cannot_read(line: str, why: str) -> RequirementError:
    return RequirementError(
        f"cannot read {masked(line)[:80]!r}", why=why, hint='write one package per text, such as ck.install("numpy>=2")'
    )
