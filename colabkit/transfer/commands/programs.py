"""The programs whose command lines can be read, and what to do with those that fetch nothing."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.errors import AddressError
from colabkit.transfer.commands.unpacking import extractions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._engine.source import ParsedSource


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program.

    Attributes:
        names: What it is called.
        module: The file with `read(words) -> Order`.
        takes: What it is called in messages and in the documentation; "" where another row tells it.
    """

    names: tuple[str, ...]
    module: str
    takes: str = ""


PROGRAMS = (
    Program(
        names=("curl", "curl.exe", "wget"), module="colabkit.transfer.commands.curl", takes="a curl or wget command"
    ),
    Program(names=("aria2c",), module="colabkit.transfer.commands.aria2c", takes="aria2c"),
    Program(
        names=("gsutil", "gcloud"), module="colabkit.transfer.commands.gsutil", takes="gsutil cp or gcloud storage cp"
    ),
    Program(names=("kaggle",), module="colabkit.transfer.commands.kaggle", takes="kaggle … download"),
    Program(names=("gdown",), module="colabkit.transfer.commands.gdown", takes="gdown"),
    Program(names=("hf", "huggingface-cli"), module="colabkit.transfer.commands.hf", takes="hf download"),
    Program(names=("git",), module="colabkit.transfer.commands.git"),
    Program(
        names=extractions.PROGRAMS, module="colabkit.transfer.commands.unpacking.archives", takes="unzip, tar or 7z"
    ),
)
_PASSED = ("sudo", "time", "nice", "ionice", "nohup", "env", "command", "timeout", "stdbuf")
_VALUED = {"nice": ("-n",), "ionice": ("-c", "-n"), "sudo": ("-u", "-g"), "timeout": ("-s", "-k"), "env": ("-u",)}
"""What may stand before a program, and those of its options that have a value behind them."""
_ASSIGNED = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
MATTERS = re.compile(
    r"(?:.*_proxy|HF_ENDPOINT|HF_TOKEN|HF_HOME|KAGGLE_\w+|GOOGLE_\w+|CLOUDSDK_\w+|STORAGE_EMULATOR_HOST|\w+_CA_BUNDLE"
    r"|SSL_CERT_\w+|HOME|XDG_\w+)=",
    re.IGNORECASE,
)
"""Variables that change where a program asks, or who asks."""
_VERB = re.compile(r"\[|!|-[A-Za-z]|--[a-z-]+|[a-z][a-z-]{1,14}\d?")
_WITHOUT_VERB = frozenset({"echo", "printf", "export", "set", "cat", "passwd", "login"})
_SELF = "run it as it is, in a line of its own"
_WAYS = {
    "pip": "install packages by ck.install(...), which takes this very line too",
    "pip3": "install packages by ck.install(...), which takes this very line too",
    "uv": "install packages by ck.install(...), which takes this very line too",
    "conda": "install packages by ck.install(...)",
    "mamba": "install packages by ck.install(...)",
    "apt": f"packages of the system are none of fetch's business: {_SELF}",
    "apt-get": f"packages of the system are none of fetch's business: {_SELF}",
    "unrar": "rar archives are not supported; pack the data as zip, tar or 7z",
    "rsync": "fetch copies paths: ck.fetch(PATH, to=FOLDER)",
    "scp": "name the file by an https address",
    "cp": "fetch copies paths: ck.fetch(PATH, to=FOLDER)",
    "aws": "use the object's https address, or a signed one",
    "s3cmd": "use the object's https address, or a signed one",
    "azcopy": "use the blob's https address with its signature",
    "rclone": 'name the file itself, as in "drive:PATH" or "gs://BUCKET/OBJECT"',
    "mv": _SELF,
    "huggingface_hub": 'write "hf:OWNER/NAME"',
    "axel": "use the address itself: fetch takes several connections anyway",
    "lftp": "use an https address of the file",
    "ftp": "use an https address of the file",
    "wget2": "write wget",
    "xargs": "write wget -i FILE, or pass a list of addresses",
    "http": "use the address itself",
    "https": "use the address itself",
    "Invoke-WebRequest": "use the address itself, with to=",
    "iwr": "use the address itself, with to=",
    "jar": "write unzip ARCHIVE",
    "unar": "pass the archive itself, with unpack=True",
    "[": "leave the test out: what is here already is not fetched again",
    "test": "leave the test out: what is here already is not fetched again",
    "if": "leave the test out: what is here already is not fetched again",
    "for": "pass a list of addresses, which come side by side",
    "while": "pass a list of addresses, which come side by side",
}
NAMES = frozenset(name for row in PROGRAMS for name in row.names)
_KNOWN = frozenset(
    [
        "bash",
        "sh",
        "zsh",
        "python",
        "python3",
        "ipython",
        "jupyter",
        "node",
        "npm",
        "git-lfs",
        "make",
        "cmake",
        "gcc",
        "g++",
        "nvcc",
        "nvidia-smi",
        "cat",
        "ls",
        "rm",
        "chmod",
        "chown",
        "ln",
        "touch",
        "head",
        "tail",
        "grep",
        "sed",
        "awk",
        "wc",
        "find",
        "du",
        "df",
        "ps",
        "kill",
        "export",
        "source",
        "set",
        "echo",
        "printf",
        "date",
        "which",
        "docker",
        "ffmpeg",
        "sshpass",
        "wandb",
        "xargs",
        "ngrok",
        "cd",
        "mkdir",
        "pwd",
        "sleep",
        "jq",
        "tee",
        "zip",
        "tensorboard",
        "torchrun",
        "accelerate",
    ]
)
_ANY = re.compile(
    r"\s*(?P<prompt>(?:[!%$>]\s*)*)(?P<set>(?:[A-Za-z_]\w*=\S*\s+(?:&&\s+)?)*)(?P<first>[^\s=;&|()]+)(?=\s|$|[;&|]+\s)"
)
_GROUP = re.compile(r"\s*(?:(?P<prompt>!)\s*)?\(\s*(?P<first>[\w.-]+)\s")
_GRAMMAR = re.compile(r"\s*(?:\[|test|if|for|while)\s.*(?:;|\|\||&&)", re.DOTALL)
_PLACES = re.compile(r"/(?:usr/|usr/local/|opt/\w+/)?bin/")
_WORDS = frozenset({"[", "test", "if", "for", "while", "http", "https"})
"""What begins a line of the shell, or a path with a blank."""


def is_command(text: str) -> bool:
    """Say whether a text is meant as a command and not as an address or a path.

    Example:
        >>> is_command("!pip install x"), is_command("wget https://x.org/a"), is_command("data/tar x.csv")
        (True, True, False)
    """
    match = _ANY.match(text) or _GROUP.match(text)
    if match is None:
        return False
    prompt, first, more = match["prompt"] or "", match["first"], bool(text[match.end() :].strip())
    if first in _WORDS and not prompt:
        return _GRAMMAR.match(text) is not None or (more and "://" in text and first.startswith("http"))
    if more and _PLACES.match(first):
        first = first.rpartition("/")[2]
    if "!" in prompt or "%" in prompt:
        return True
    return more and (first in NAMES or first in _PASSED or first in _WAYS or first in _KNOWN)


def is_known(word: object) -> bool:
    """Say whether a word is the name of a program that can be read, or of what waits for one."""
    return isinstance(word, str) and (word in NAMES or word == "wait")


def fetches(words: Sequence[str]) -> bool:
    """Say whether a command brings something here, as against unpacking or removing what is here."""
    words = without_prefix(list(words))
    name = words[0].rpartition("/")[2] if words else ""
    return name in NAMES and name not in extractions.PROGRAMS


def read(words: Sequence[str], *, output: str = "") -> ParsedSource:
    """Read one command.

    Args:
        words: The program and its arguments.
        output: The file that what it shows goes to, or "".

    Raises:
        AddressError: It is of no program that fetches; the message says what to do instead.
    """
    words = without_prefix(list(words))
    name = words[0].rpartition("/")[2] if words else ""
    row = next((row for row in PROGRAMS if name in row.names), None)
    if row is None or not words:
        raise unknown(words)
    module: Any = importlib.import_module(row.module)
    more = {"output": output} if output and name in extractions.PROGRAMS else {}
    order: ParsedSource = module.read([name, *words[1:]], **more)
    return order


def without_prefix(words: list[str]) -> list[str]:
    """Return a command without what only runs it: sudo, nice, variables, python -m."""
    while words and (words[0] in _PASSED or _ASSIGNED.fullmatch(words[0])):
        if MATTERS.match(words[0]):
            name = words[0].partition("=")[0]
            raise AddressError(
                f"the pasted command sets {name}",
                why="it changes where the program asks, or who asks",
                hint=f'set it first: os.environ["{name}"] = "…"',
            )
        program, *words = words
        while program in _PASSED and words and words[0].startswith("-"):
            words = words[2 if words[0] in _VALUED.get(program, ()) else 1 :]
        if program == "timeout":
            words = words[1:]
    if words[:3] in (["python", "-m", "zipfile"], ["python3", "-m", "zipfile"]) and words[3:4] in (
        ["-e"],
        ["--extract"],
    ):
        return ["unzip", "-o", *words[4:5], *(part for folder in words[5:6] for part in ("-d", folder))]
    if words[:2] and words[0] in ("python", "python3") and words[1:3] in (["-m", "gdown"], ["-m", "wget"]):
        return words[2:] if words[2] == "gdown" else words
    return words


def unknown(words: Sequence[str]) -> AddressError:
    """Make the error for a command that fetches nothing, with the way to do what it does."""
    name = words[0] if words else ""
    # What follows may be a password; a verb or a letter is none.
    verb = next((word for word in words[1:2] if name not in _WITHOUT_VERB and _VERB.fullmatch(word)), "")
    shown = f"{name} {verb}".strip()[:60]
    takes = ", ".join(row.takes for row in PROGRAMS if row.takes)
    return AddressError(
        f"`{shown}` is not a command that fetches",
        why=f"those that can be read are {takes}",
        hint=_WAYS.get(name.rpartition("/")[2], _SELF),
    )


_COOKIES = re.compile(
    r"(?P<quote>[\"']?)https?://(?:docs|drive)\.google\.com/uc\?export=download&confirm=(?:\$\(.*?\)|`[^`]*`)"
    r"&id=(?P<id>[-\w]{10,120})"
    r"(?P=quote)",
    re.DOTALL,
)
_COOKIES_FIRST = re.compile(
    r"!?\s*(?:curl|wget)\s[^\n;&|]*?[\"']?https?://(?:docs|drive)\.google\.com/uc\?export=download&id=[-\w]{10,120}"
    r"[\"']?[^\n;&|]*>\s*/dev/null[ \t]*(?:2>&1)?[ \t]*(?:\n|;|&&)\s*"
)
"""The line that only makes the file of cookies."""
_COOKIE_FILE = re.compile(
    r"(?<=\s)-b\s+\S+|(?<=-L)b\s+\S+|--cookie[ =]\S+|--load-cookies[ =]\S+"
    r"|(?:&&|;)\s*rm\s+(?:-\w+\s+)*\S*cookies\S*\s*$"
)


def without_cookies(text: str) -> str:
    """Read the well-known way around the page that stands before a large file of Drive as the file that it leads to.

    Example:
        >>> address = "https://docs.google.com/uc?export=download&confirm=$(wget -q x)&id=1CFrmnYfp6kbdcvHv2TDiWiTDsJA"
        >>> without_cookies(f'wget --load-cookies /tmp/c "{address}" -O a.zip')
        'wget  "https://drive.google.com/uc?id=1CFrmnYfp6kbdcvHv2TDiWiTDsJA" -O a.zip'
    """
    if _COOKIES.search(text) is None:
        return text
    text = _COOKIES.sub(r'"https://drive.google.com/uc?id=\g<id>"', text)
    return _COOKIE_FILE.sub("", re.sub(r"\A\s*" + _COOKIES_FIRST.pattern, "", text))


def may_lose(words: Sequence[str], behind: Sequence[str]) -> bool:
    """Say whether a command means the same without what stands behind an unquoted "&", as export=download.

    Example:
        >>> may_lose(["gdown", "https://drive.google.com/uc?id=1"], ["export=download"])
        True
    """
    plain = {"export", "confirm", "usp", "authuser", "format"}
    return bool(words) and words[0] == "gdown" and all(word.partition("=")[0] in plain for word in behind)
