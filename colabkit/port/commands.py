"""A command of a notebook as the call that does the same: `!wget …`, `%pip …`, `!unzip …`, `%tensorboard …`."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.errors import ColabKitError
from colabkit.port import pip_line, values
from colabkit.transfer.sources import registry

if TYPE_CHECKING:
    from colabkit.port.cell import Command
    from colabkit.port.context import Context

_FETCHES = re.compile(
    r"(?:wget|curl|gdown|aria2c|unzip|tar|7z[ar]?|unrar|gunzip|hf\s+download|huggingface-cli\s+download|git\s+clone|"
    r"gsutil\s+(?:-\w+\s+)*(?:cp|rsync)|gcloud\s+(?:alpha\s+)?storage\s+(?:cp|rsync)|"
    r"kaggle\s+(?:competitions|datasets|models|kernels|c|d)\s+(?:instances\s+versions\s+|instances\s+)?(?:download|output)|"
    r"(?:python3?\s+-m\s+)?gdown)\b"
)
_UNPACKS = re.compile(r"(?:unzip|tar|7z[ar]?|unrar|gunzip)\b")
_MAKES_ARCHIVE = re.compile(r"tar\s+-?\w*c\w*\b|7z[ar]?\s+a\b")
_OTHER_SETUP = (
    (re.compile(r"(?:sudo\s+)?(?:apt|apt-get)\b"), "it installs system packages, for which colabkit has nothing"),
    (re.compile(r"(?:conda|mamba|micromamba)\b"), "packages of conda have no counterpart; a wheel has"),
    (re.compile(r"git\s+lfs\b"), "it prepares git for large files"),
    (re.compile(r"(?:curl|wget)\b[^|]*\|\s*(?:sudo\s+)?(?:ba|z)?sh\b"), "it runs a program from the web"),
)
_SENDS = re.compile(r"\s(?:-X|--request|-d|--data\S*|-F|--form|-T|--upload-file|-I|--head)[\s=]|localhost|127\.0\.0\.1")
_WRITES = re.compile(r"\s(?:-\w*[oO]\w*|--output\S*|--remote-name\S*)\b|>|\|\s*(?:tar|unzip|gunzip|bsdtar)")
_CLONE = re.compile(
    r"git clone(?P<options>(?: (?:-q|--quiet|--progress|--single-branch|--no-single-branch|--depth[ =]\d+|-b [\w./-]+|"
    r"--branch[ =][\w./-]+))*) [\"']?https?://github\.com/(?P<repository>[\w.-]+/[\w.-]+?)(?:\.git)?/?[\"']?"
    r"(?: [\"']?(?P<to>[\w./-]+)[\"']?)?"
)
_BRANCH = re.compile(r"(?:-b|--branch)[ =]([\w./-]+)")
_GIT_LINE = re.compile(r"(?:^\s*!\s*|[;&]\s*|\()git\s+(?!clone|lfs\s+install|config|--version)\w", re.MULTILINE)
_BUILDS = re.compile(
    r"pip3?\s+install\s(?:[^\n]*\s)?(?:-e\b|--editable\b|\.)|setup\.py\s+(?:develop|install)|^\s*!\s*make\b",
    re.MULTILINE,
)
_TRAINS = re.compile(
    r"(?:env\s+)?(?:\w+=\S*\s+)*(?:(?:python[\d.]*|torchrun|deepspeed|accelerate\s+launch)\s[^|;&]*?"
    r"[\w-]*(?:train|finetun|fine_tun|dreambooth)[\w-]*(?:\.py\b|\s|$)|yolo\s[^|;&]*\btrain\b|autotrain\s)"
)
_SETUP = (
    r"(?:(?:python[\d.]*\s+-m\s+)?pip[\d.]*(?:\s+-\S+)*|uv\s+pip|conda|mamba|poetry|npm)\s+install\b|uv\s+add\b"
    r"|(?:wget|curl|gdown|unzip|aria2c|tar|kaggle|hf|gsutil|apt(?:-get)?|git\s+clone)\s"
)
_BEFORE = r"(?:sudo\s+(?:-H\s+)?|time\s+|env\s+|yes\s*\|\s*|\w+=(?:\"[^\"]*\"|'[^']*'|\S*)\s+)*"
SETUP_LINE = re.compile(rf"{_BEFORE}(?:{_SETUP})")
SETUP_WITHIN = re.compile(
    rf"(?:^|[;&|(]\s*|\b(?:do|then|else)\s+|\bxargs\s+(?:-\S+\s+(?:\d+\s+)?)*){_BEFORE}(?:{_SETUP})"
)
_OTHER_PIP = re.compile(rf"{_BEFORE}(?:\S*python[\d.]*\s+-m\s+)?pip[\d.]*(?:\s+-\S+)*\s+install\s")
_LOGINS = (
    (re.compile(r"(?:huggingface-cli\s+login|hf\s+auth\s+login)\b(?!.*--token)"), "HF_TOKEN"),
    (re.compile(r"(?:python[\d.]*\s+-m\s+)?wandb\s+login(?:\s+--?\w+)*\s*$"), "WANDB_API_KEY"),
)
_IN_A_PROGRAM = "it trains in a program of its own: port its file, or keep its checkpoints on Drive"
NOT_READ = "it is more than one plain command"
_COMMENT = re.compile(r"(?:\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"|[^\\'\"\s]|\s+(?!#))*?\s+(?P<said>#.*)")
_PREFIX = re.compile(r"(?:sudo\s+(?:-H\s+)?|time\s+)")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a command is.

    Attributes:
        kind: "install", "fetch", "board", "secret" or "system".
        calls: The calls that do the same; none when it stays.
        reason: Why it stays.
        works: Whether it works everywhere as it is.
        comment: A comment at its end.
    """

    kind: str
    calls: tuple[str, ...] = ()
    reason: str = ""
    works: bool = False
    comment: str = ""


def read(command: Command, context: Context) -> Found | None:
    """Find what a command is, and the calls that say it; None when it sets nothing up."""
    text = _PREFIX.sub("", command.text).strip()
    text, said = _without_comment(text)
    if command.sigil == "%":
        return _magic(text, context, said, command)
    reading = _shell(text, context, command)
    return None if reading is None else Found(**{**vars(reading), "comment": said})


def _without_comment(text: str) -> tuple[str, str]:
    """Take a line apart into what a shell reads and the comment at its end; a mark within quotes begins none."""
    comment = _COMMENT.fullmatch(text)
    return (text, "") if comment is None else (text[: comment.start("said")].rstrip(), comment["said"])


def _magic(text: str, context: Context, comment: str, command: Command) -> Found | None:
    name, _, rest = text.partition(" ")
    if (name == "pip" and re.match(r"\s*install\b", rest)) or (name == "uv" and re.match(r"\s*pip\s+install\b", rest)):
        reading = _install(text, context, command)
        return Found(**{**vars(reading), "comment": comment})
    if name == "tensorboard":
        return _board(rest.strip(), context)
    if name in ("conda", "mamba"):
        return Found(kind="install", reason=_OTHER_SETUP[1][1])
    return None


def _shell(text: str, context: Context, command: Command) -> Found | None:
    if pip_line.PIP.match(text) or _OTHER_PIP.match(text):
        return _install(text, context, command)
    if _TRAINS.match(text) and not _OTHER_PIP.match(text):
        return Found(
            kind="train", reason="it trains in a program of its own: port its file, or keep its checkpoints on Drive"
        )
    for pattern, key in _LOGINS:
        if pattern.match(text):
            reason = f'it asks, and nobody may be there: write os.environ["{key}"] = {context.alias}.secret("{key}")'
            return Found(kind="secret", reason=reason)
    for pattern, reason in _OTHER_SETUP:
        if pattern.match(text):
            return Found(kind="system", reason=reason)
    if not _FETCHES.match(text) or _MAKES_ARCHIVE.match(text):
        return None
    if text.startswith("curl") and (_SENDS.search(text) or not _WRITES.search(text)):
        return None
    if re.match(r"(?:gsutil|gcloud)\b", text) and _goes_up(text):
        return None
    if command.target:
        return Found(kind="fetch", reason="its output is read as text")
    return _fetch(text, context)


def _goes_up(text: str) -> bool:
    words = [word for word in text.split() if not word.startswith("-")]
    return len(words) > 2 and words[-1].strip("'\"").startswith("gs:")


def _install(text: str, context: Context, command: Command) -> Found:
    if command.target:
        return Found(kind="install", reason="its output is read as text")
    try:
        return Found(kind="install", calls=tuple(pip_line.calls(text, context)))
    except pip_line.NoWay as error:
        return Found(kind="install", reason=str(error), works=error.works)


def _fetch(text: str, context: Context) -> Found:
    if text.startswith("git"):
        return _clone(text, context)
    try:
        read = values.read(text.replace("\\\n", " "), context)
    except values.Unknown as error:
        return Found(kind="fetch", reason=str(error))
    problem = _not_understood(read.fillings(context))
    literal = read.python() if not problem else ""
    if not literal:
        return Found(kind="fetch", reason=problem or "it cannot be written as one text")
    keep = "" if _UNPACKS.match(text) else context.keeping
    return Found(kind="fetch", calls=(f"{context.alias}.fetch({literal}{keep})",))


def _not_understood(fillings: list[str]) -> str:
    problem = ""
    for text in fillings:
        if len(text.split()) == 1:
            return "it names nothing to fetch"
        if not any(re.match(row.begins, text, re.IGNORECASE) for row in registry.SOURCES):
            return f"fetch() takes no {text.split()[0]} line"
        try:
            registry.open_source(text)
        except ColabKitError as error:
            problem = problem or f"{error.what}{': ' if error.why else ''}{error.why}"
        else:
            return ""
    return problem


def _clone(text: str, context: Context) -> Found:
    """Bring a repository's files where nothing needs its history; git itself works wherever it is."""
    reason = next((reason for reason in (_needs_git(text, context), _clone_problem(text)) if reason), "")
    if reason:
        return Found(kind="fetch", reason=reason, works=True)
    match = _CLONE.fullmatch(" ".join(text.split()))
    assert match is not None  # noqa: S101 - see _clone_problem
    branch = _BRANCH.search(match["options"])
    source = f"github:{match['repository']}" + (f"@{branch[1]}" if branch else "")
    to = match["to"] or match["repository"].rpartition("/")[2]
    return Found(kind="fetch", calls=(f'{context.alias}.fetch("{source}", to="{to}"{context.keeping})',))


def _clone_problem(text: str) -> str:
    match = _CLONE.fullmatch(" ".join(text.split()))
    if match is None:
        return "git works wherever it is"
    try:
        registry.open_source(f"github:{match['repository']}")
    except ColabKitError:
        return "git works wherever it is"
    return ""


def _needs_git(text: str, context: Context) -> str:
    if re.search(r"--recurs|--mirror|--bare", text):
        return "it clones more than the files of one commit"
    if _GIT_LINE.search(context.text):
        return "another line needs its git history"
    return "another line builds from the clone" if _BUILDS.search(context.text) else ""


def _board(rest: str, context: Context) -> Found:
    try:
        read = values.read(rest, context)
    except values.Unknown as error:
        return Found(kind="board", reason=str(error))
    if len(read.parts) > 1 and read.has_variables:
        words, expression = read.parts[0][1], read.parts[1]
        if len(read.parts) == 2 and re.fullmatch(r"--logdir[\s=]+[\"']?", words) and expression[0] == "expression":
            return Found(kind="board", calls=(f"{context.alias}.tensorboard({expression[1]})",))
        return Found(kind="board", reason="it has more options than a log folder", works=True)
    try:
        words_ = shlex.split(rest.replace("=", " ", 1))
    except ValueError:
        words_ = []
    if len(words_) == 2 and words_[0] == "--logdir":
        return Found(
            kind="board", calls=(f"{context.alias}.tensorboard({values.Text([('letters', words_[1])]).python()})",)
        )
    return Found(kind="board", reason="it has more options than a log folder", works=True)
