"""Paths as users write them."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

from colabkit.errors import AddressError

TYPE_CHECKING = False  # `typing` itself would cost 8 ms
if TYPE_CHECKING:
    from colabkit._types import StrPath

_LONGEST = 255
_ADDRESS = re.compile(r"(?:https?|gs|s3|drive|hf|kaggle|modelscope|github):", re.IGNORECASE)

_BARE = re.compile(
    r"(?:(?:drive|docs|storage\.cloud|console\.cloud)\.google\.com|storage\.googleapis\.com|(?:www\.)?(?:huggingface\.co|"
    r"hf\.co|kaggle\.com|github\.com))(?:/|$)",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"(?:^|/)(\$[A-Za-z_]\w*|\$\{\w+\})(?:/|$)")

_plain = functools.lru_cache(maxsize=64)(Path)


def path_text(path: StrPath) -> str:
    """Return a path or an address as text.

    Raises:
        AddressError: It is neither text nor a path.

    Example:
        >>> path_text(Path("data/train.csv"))
        'data/train.csv'
    """
    text = path if type(path) is str else os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise AddressError(
            f"{path!r:.100} is neither a path nor an address",
            why=f"it is of the type {type(path).__name__}",
            hint="pass a text or a pathlib.Path",
        )
    return text


def own_name(path: Path) -> str:
    """Return the name that a path has in its folder, as cp takes it: that of a link itself, not of where it leads.

    Example:
        >>> own_name(Path("data/x/..")), own_name(Path("data/train.csv"))
        ('data', 'train.csv')
    """
    return os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119 - resolve() would follow the link


def free_place(folder: Path, name: str, *, source: Path | None = None) -> Path:
    """Return where a file goes in a folder: by its name, or by one with a number where another file has that.

    Args:
        folder: The folder.
        name: The file's name.
        source: What is to go there; it may lie there already.

    Example:
        >>> free_place(Path("/"), "no such file.csv").name, free_place(Path("/"), "tmp").name
        ('no such file.csv', 'tmp (1)')
    """
    place, number = folder / name, 0
    while place.exists() and not (source is not None and place.samefile(source)):
        number += 1
        place = folder / f"{Path(name).stem} ({number}){Path(name).suffix}"
    return place


def expand(path: StrPath) -> Path:
    """Return a path with its `~` replaced.

    Raises:
        AddressError: There is no such home folder, no file system takes such a name, or it is no path.

    Example:
        >>> expand("data/train.csv").as_posix()
        'data/train.csv'
    """
    text = path_text(path)
    if text[1:3] == ":\\" and os.sep == "/" and text[0].isalpha():
        raise AddressError(
            f"{text[:100]!r} is a path of Windows",
            why="this machine has no drives with letters",
            hint="in Colab and other notebooks upload the file first: ck.upload()",
        )
    if text.isascii() and len(text) <= _LONGEST and text[:1] != "~" and "\0" not in text:
        return _plain(text)
    try:
        expanded = Path(text).expanduser()
        longest = max((len(os.fsencode(part)) for part in expanded.parts), default=0)
    except RuntimeError:
        raise AddressError(
            f"there is no home folder {text.partition(os.sep)[0][:100]}",
            why="this machine has no user of that name",
            hint="write the whole path, or ~ for your own home folder",
        ) from None
    except UnicodeError:
        raise AddressError(
            f"the path {text[:100]!r} cannot be written", why="it has letters that no file system accepts"
        ) from None
    if longest > _LONGEST or "\0" in text:
        raise AddressError(
            f"the path {text[:100]!r} cannot be used",
            why=f"a name in it is too long: {longest:,} bytes, {_LONGEST} at most"
            if longest > _LONGEST
            else "it holds a zero",
            hint="choose a shorter name" if longest > _LONGEST else "leave the zero out",
        )
    return expanded


def refuse_slips(text: str) -> None:
    """Refuse what would become a folder of that very name, and was meant otherwise; what is there already is a path.

    Args:
        text: What the user wrote where a path may stand.

    Raises:
        AddressError: It is quoted twice, has a variable of the shell in it, or is an address without its https.

    Example:
        >>> refuse_slips("runs/digits")
    """
    if os.path.lexists(text):
        return
    same = "for a path of this very name write ./ before it"
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'`":
        raise AddressError(
            f"the path {text[:100]} has quotes in it",
            why="it is quoted twice",
            hint=f"write {text[1:-1]!r:.100}; {same}",
        )
    if variable := _VARIABLE.search(text):
        raise AddressError(
            f"the path {text[:100]!r} has {variable[1][:50]} in it",
            why="only a shell fills in variables",
            hint=f"write ~ for your home folder, or os.path.expandvars({text[:100]!r}); {same}",
        )
    if _BARE.match(text):
        raise AddressError(
            f"{text[:100]} looks like an address without https://",
            why="a folder of that very name would be made on this machine",
            hint=f"to write there name it as drive:FOLDER/NAME, gs://BUCKET/FOLDER or hf:OWNER/NAME; {same}",
        )


def on_this_machine(path: StrPath, hint: str) -> Path:
    """Return a path where nothing but a path will do: an address would become a folder of that name, in silence.

    Args:
        path: What the user wrote. A `Path` is a path, whatever it looks like.
        hint: What does it with an address; `{}` stands for that.

    Raises:
        AddressError: It is empty, an address, or no path.

    Example:
        >>> on_this_machine("models/digits.zip", "").as_posix()
        'models/digits.zip'
    """
    text = path_text(path)
    if not text.strip():
        raise AddressError(
            "the path is empty",
            why="a file or a folder is needed here",
            hint='name one, as in "out/digits"; "." is the working folder',
        )
    if isinstance(path, str) and _ADDRESS.match(text):
        raise AddressError(
            f"{text} is an address, and this takes a path on this machine",
            why="a file or a folder of that very name would be made here, and nothing would arrive there",
            hint=f"{hint.format(text)}; for a path of this very name write ./ before it",
        )
    if isinstance(path, str):
        refuse_slips(text)
    return expand(path)
