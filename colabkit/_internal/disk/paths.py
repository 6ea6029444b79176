"""Paths as users write them."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from colabkit.errors import AddressError

TYPE_CHECKING = False  # `typing` itself would cost 8 ms
if TYPE_CHECKING:
    from colabkit._types import StrPath

_LONGEST = 255

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
