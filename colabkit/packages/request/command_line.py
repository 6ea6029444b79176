"""The shell's part of a pasted line: which of its commands installs, and what stands around it.

No shell runs. A word is only ever taken for a package behind a command that installs; a line with any other program in
it is refused, since the name of a program may be the name of somebody's package.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from colabkit.errors import RequirementError
from colabkit.packages.request.requirements_file import masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PIP = re.compile(r"(?:.*/)?pip([\d.]*)")
_PYTHON = re.compile(r"(?:.*/)?python([\d.]*)|\{sys\.executable\}|\$\{?sys\.executable\}?")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=(?!=).*", re.DOTALL)
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
_MAGIC = re.compile(r"^\s*(?:[!%]+\s*(?:(?:time|timeit)\s+(?=[!%\w]))?)+")
_AND = ("&&", ";", "||", "|", "&")
_BEFORE = {"sudo": "-", "env": "-", "time": "-", "nohup": "-", "nice": "-", "exec": "-", "command": "-"}
"""Programs that run the command behind their options."""

_QUIET = {"clear", "echo", "false", "ls", "printf", "pwd", "set", "sleep", "true", "wait", ":"}
"""Commands that change nothing: beside one that installs they are left out."""

_ANSWERS = ("echo", "printf", "yes")
_OF_PIP = frozenset(
    ("cache", "check", "config", "debug", "download", "freeze", "hash", "index", "inspect", "list", "show")
)
_FILES = {"cat", "chmod", "cp", "ln", "mkdir", "mv", "rm", "tar", "touch", "unzip"}
_SHELL = {
    "bash",
    "cd",
    "curl",
    "export",
    "git",
    "npm",
    "nvidia-smi",
    "pip-compile",
    "pip-sync",
    "sh",
    "source",
    "uv",
    "wget",
}
"""Programs whose lines were pasted, though some are the names of packages, too."""
_PIP_PART = re.compile(r"(?:\S*python\S*\s+-m\s+|uv\s+)?(?:\S*/)?pip[\d.]*\s.*\binstall\b")
_CURLY = {0x201C: '"', 0x201D: '"', 0x2018: "'", 0x2019: "'", 0xA0: " ", 0x3000: " ", 0x200B: "", 0xFEFF: ""}
_PROMPT = re.compile(
    r"\s*(?:In\s*\[[\d ]*\]:\s*|(?:\([\w.-]+\)\s*)?"
    r"(?:(?:(?:[\w.-]+@[\w.-]+:?[\w.~/-]*)?\$|>>>)\s+|(?:PS\s)?[A-Za-z]:\\[^>]*>\s*))(?=\S)"
)
_DASH = "[\\u2013\\u2014]"

_OTHERS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("apt", "apt-get", "aptitude", "add-apt-repository", "dpkg", "snap", "brew", "yum", "apk"),
        "it installs packages of the operating system",
        "it replaces no package of this Python",
    ),
    (
        ("conda", "mamba", "micromamba"),
        "conda installs into an environment of its own, which is not this kernel's",
        "",
    ),
    (
        ("poetry", "pipenv", "pixi", "pdm", "hatch", "rye", "pipx"),
        "it makes an environment of its own, which is not this kernel's",
        'ck.install("-e .") installs the project of the working folder, ck.install("NAME") a package',
    ),
    (("easy_install",), "it leaves packages that pip cannot see", 'ck.install("NAME") installs the package'),
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a line.

    Attributes:
        words: What stands behind `install`.
        env: Variables that the line sets for it.
        notices: What was left out, in words.
        folder: Where a `cd` goes; the command is nothing else then.
    """

    words: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    notices: tuple[str, ...] = ()
    folder: str | None = None


def plain(line: str) -> str:
    r"""Return a line without what IPython and word processors put into it: `!`, `%time`, curly quotes, long dashes.

    Example:
        >>> plain("!pip install \u2013U \u201ckeras\u201d")
        'pip install -U "keras"'
        >>> plain("(base) me@host:~$ pip install keras"), plain("In [1]: !pip install keras")
        ('pip install keras', 'pip install keras')
    """
    line = _MAGIC.sub("", without_prompt(line))
    line = line.translate(_CURLY)
    line = re.sub(rf"(?<=\s){_DASH}(?=\w\b)", "-", line)
    line = re.sub(rf"(?<=\s){_DASH}-?(?=\w{{2}})", "--", line)
    if line.count('"') % 2 == line.count("'") % 2 == 0:
        line = _COMMENT.sub("", line)
    return line


def without_prompt(line: str) -> str:
    """Return a line without the prompt of the terminal that it was copied with, as `$ ` or `In [1]:`."""
    return _PROMPT.sub("", line)


def commands(line: str, *, typed: str, is_shell: bool) -> Iterator[Command]:
    """Yield the commands of a line that install, and the `cd` between them.

    Args:
        line: The line as `plain` returns it, its variables filled in.
        typed: The line as it was typed, for messages.
        is_shell: It began with `!` or `%`, or stands among other lines: a bare word is a program, not a package.

    Raises:
        RequirementError: Another program is in it, or nothing that installs.
    """
    steps = _steps(line, typed)
    if not is_shell and len(steps) == 1 and _is_bare(steps[0][1]):
        yield Command(words=tuple(steps[0][1]))
        return
    env: dict[str, str] = {}
    pending: list[Command] = []
    last_installs, is_answer = False, False
    for operator, step in steps:
        words = step
        if operator == "|" and last_installs:
            continue  # `| tail -1` only shows less
        if operator == "|" and not is_answer:
            raise _no_pip_line(typed, words)
        if operator == "||" and last_installs:
            if words[0] not in _QUIET:
                pending.append(Command(notices=(f"left out, as it stands behind `||`: {masked(shlex.join(words))}",)))
            continue
        is_answer = words[0] in _ANSWERS
        command = _command(words, typed, env)
        last_installs = command is not None and command.folder is None
        if command is not None:
            pending.append(command)
        elif operator == "||" or not (is_answer or words[0] in _QUIET or words[0] == "export"):
            raise _no_pip_line(typed, words)
    if not any(command.words for command in pending):
        raise _no_pip_line(typed, steps[0][1] if steps else [])
    yield from pending


def _steps(line: str, typed: str) -> list[tuple[str, list[str]]]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise RequirementError(
            f"cannot read {masked(typed)[:80]!r}",
            why=f"{error}".lower(),
            hint='write one package per text, such as ck.install("numpy>=2")',
        ) from None
    steps: list[tuple[str, list[str]]] = []
    operator, step = "", list[str]()
    for word in words:
        bare = word[:-1] if word.endswith(";") and len(word) > 1 else word
        if bare not in _AND:
            step.append(bare)
        if (bare in _AND or bare != word) and step:
            steps.append((operator, step))
            step = []
        if bare in _AND or bare != word:
            operator = bare if bare in _AND else ";"
    if step:
        steps.append((operator, step))
    return steps


def _is_bare(words: list[str]) -> bool:
    """Say whether a text is packages and options alone."""
    programs = {name for names, _, _ in _OTHERS for name in names} | _FILES | _SHELL
    if words[0] in programs | _QUIET or _PYTHON.fullmatch(words[0]):
        return False
    if _ASSIGNMENT.fullmatch(words[0]) and len(words) > 1:
        return False
    verb = next((word for word in words[1:] if not word.startswith("-")), "")
    if _PIP.fullmatch(words[0]) and (verb in _OF_PIP or verb == "uninstall" or words[1:2] == ["wheel"] != words[1:]):
        return False  # else pip is a package beside others
    return not any(word in ("install", "add", "import", "sync", "-m") for word in words)


def _command(words: list[str], typed: str, env: dict[str, str]) -> Command | None:
    """Read one command; None for one that neither installs nor goes to a folder."""
    own = dict(env)
    words = list(words)
    if words[0] == "export" and all(map(_ASSIGNMENT.fullmatch, words[1:])):
        env |= {name: value for name, _, value in (word.partition("=") for word in words[1:])}
        return None
    while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] in _BEFORE):
        if words[0] in _BEFORE:
            words = words[1:]
            while words and words[0].startswith("-"):
                words = words[1:]
            continue
        name, _, value = words[0].partition("=")
        own[name] = value
        words = words[1:]
    if words[:1] == ["cd"] and len(words) == 2:
        return Command(folder=words[1])
    notices = (f"{', '.join(own)} is set for the installer",) if own else ()
    given, more = _after_install(words, typed)
    return None if given is None else Command(words=tuple(given), env=own, notices=(*notices, *more))


def _after_install(words: list[str], typed: str) -> tuple[list[str] | None, tuple[str, ...]]:
    """Return what stands behind `install`, and the notices about it; None where no program of that kind is named."""
    rest: list[str] = words
    notices: tuple[str, ...] = ()
    if python := _PYTHON.fullmatch(rest[0]) if rest else None:
        notices = _of_python(python[1] or "", rest[0])
        rest = rest[1:]
        while rest and re.fullmatch(r"-[uIEsSBO]+", rest[0]):
            rest = rest[1:]
        if rest[:1] in (["setup.py"], ["./setup.py"]):
            return _setup_py(rest[1:], typed), notices
        if len(rest) < 2 or rest[0] != "-m":
            return None, ()
        rest = rest[1:]
    if rest[:1] == ["uv"]:
        rest = rest[1:]
        if rest[:1] == ["add"]:
            return rest[1:], notices
    if not rest or not (pip := _PIP.fullmatch(rest[0])):
        return None, ()
    notices = notices or _of_python(pip[1], rest[0])
    at = rest.index("install") if "install" in rest else len(rest)
    options = [word for word in rest[1:at] if word.startswith("-")]
    if at == len(rest) or at != len(options) + 1:
        raise _no_pip_line(typed, words)
    return [*options, *rest[at + 1 :]], notices


def _setup_py(words: list[str], typed: str) -> list[str]:
    verbs = [word for word in words if not word.startswith("-")]
    if verbs == ["install"]:
        return ["."]
    if verbs == ["develop"]:
        return ["-e", "."]
    raise _no_pip_line(typed, ["python", "setup.py", *words])


def _of_python(version: str, program: str) -> tuple[str, ...]:
    mine = [str(part) for part in sys.version_info[:2]]
    parts = version.strip(".").split(".")[:2] if version.strip(".") else []
    if parts == mine[: len(parts)]:
        return ()
    return (f"packages go into this Python, {'.'.join(mine)}, not into that of {program.rpartition('/')[2]}",)


def own(line: str) -> str:
    """Return the words that tell how to run a line without colabkit."""
    command = re.sub(r"^\s*[!%]+\s*", "", masked(line)).strip()
    return (
        f"or run it yourself: !{command[:160]} ; the next ck.install(…) sees what it replaced, and restarts if it must"
    )


def _no_pip_line(typed: str, words: list[str]) -> RequirementError:
    """Say why a line is not read, and what to do with its parts."""
    name = next((word for word in words if word not in _BEFORE and not _ASSIGNMENT.fullmatch(word)), "")
    why, hint = "install() takes `pip install …` and `uv pip install …`", "run other commands by themselves"
    if _PIP.fullmatch(name) and "uninstall" in words:
        why, hint = "install() takes nothing away", "run it by itself, before ck.install(…)"
    elif _PIP.fullmatch(name) and _OF_PIP.intersection(words):
        why, hint = "it installs nothing", "run it by itself"
    for names, reason, way in _OTHERS:
        if name in names:
            why, hint = reason, way or _from_pypi(words)
    more = f"; the rest as ck.install({json_text(rest)})" if (rest := _rest(typed)) and rest != typed else ""
    return RequirementError(
        f"this line does not install by pip: {masked(typed)[:80]!r}", why=why, hint=f"{hint}{more}; {own(typed)}"
    )


def _rest(typed: str) -> str:
    """Return the first part of a line that installs by pip; "" where nothing else stands in it."""
    parts = re.split(r"\s*(?:&&|;)\s*", plain(typed).strip())
    pip_parts = [part for part in parts if _PIP_PART.match(part)]
    return masked(pip_parts[0])[:120] if pip_parts and len(parts) > 1 and "uninstall" not in pip_parts[0] else ""


def json_text(text: str) -> str:
    """Return a text as a literal of Python in double quotes where it can be."""
    return f'"{text}"' if '"' not in text and "\\" not in text else repr(text)


def _from_pypi(words: list[str]) -> str:
    at = next((index for index, word in enumerate(words) if word == "install"), None)
    names: list[str] = []
    skip = False
    for word in words[at + 1 :] if at is not None else ():
        if skip or word.startswith("-"):
            skip = word in ("-c", "-n", "-p", "--channel", "--name", "--prefix", "-f", "--file") and not skip
            continue
        names.append(re.sub(r"(?<![=<>!~])=(?=\d)", "==", word.rpartition("::")[2]))
    named = ", ".join(f'"{name}"' for name in names if re.fullmatch(r"[A-Za-z][\w.-]*(?:[=<>!~]=?[\w.*]+)?", name))
    way = f"ask PyPI for the same, where it has it: ck.install({named})" if named else "ask PyPI: ck.install(…)"
    return f"{way}; a Python with conda is another kernel, which colabkit does not make"
