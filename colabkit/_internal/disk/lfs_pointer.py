"""The short text that git-lfs leaves in the place of a large file, and the way to the file itself."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.errors import ColabKitError

_BEGINS = b"version https://git-lfs.github.com/spec/"
_LONGEST = 1024
_SIZE = re.compile(rb"^size (\d{1,18})$", re.MULTILINE)
_ON_GITHUB = re.compile(
    r"https://(?:raw\.githubusercontent\.com/([^/?#]+/[^/?#]+)/|(?:www\.)?github\.com/([^/?#]+/[^/?#]+)/(?:raw|blob)/)"
    r"(?:refs/heads/)?([^?#]+)"
)
_ON_THE_HUB = re.compile(r"(https://(?:huggingface\.co|hf-mirror\.com)/[^?#]+?)/(?:raw|blob)/([^?#]+)")


def is_pointer(data: bytes | bytearray) -> bool:
    r"""Say whether this is such a text, or its beginning.

    Example:
        >>> is_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
        True
    """
    return data.startswith(_BEGINS)


def described(data: bytes) -> str:
    r"""Say what a pointer is, with the size of the file that it stands for.

    Example:
        >>> described(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
        'a git-lfs pointer to a file of 12345 bytes'
    """
    size = _SIZE.search(data)
    return f"a git-lfs pointer to a file of {size[1].decode() if size else 'unknown'} bytes"


def way_to_file(address: str = "") -> str:
    """Say how the file itself is had.

    Args:
        address: Where the pointer came from, if that is known.

    Example:
        >>> way_to_file("https://raw.githubusercontent.com/ada/digits/main/data/a.csv")
        'fetch https://media.githubusercontent.com/media/ada/digits/main/data/a.csv'
        >>> way_to_file("https://huggingface.co/ada/digits/raw/main/model.h5")
        'fetch https://huggingface.co/ada/digits/resolve/main/model.h5'
    """
    if match := _ON_GITHUB.match(address):
        return f"fetch https://media.githubusercontent.com/media/{match[1] or match[2]}/{match[3]}"
    if match := _ON_THE_HUB.match(address):
        return f"fetch {match[1]}/resolve/{match[2]}"
    return (
        "of GitHub fetch https://media.githubusercontent.com/media/OWNER/NAME/BRANCH/PATH, of Hugging Face an address "
        "with resolve in the place of raw, in a clone run: git lfs pull"
    )


def refuse(path: Path, kind: type[ColabKitError]) -> None:
    """Refuse to read a pointer as the file that it stands for.

    Args:
        path: What is about to be read; a folder, or what cannot be read, is left to its reader.
        kind: The error of that reader.

    Raises:
        ColabKitError: It is a pointer.
    """
    data = b""
    with contextlib.suppress(OSError), path.open("rb") as file:
        data = file.read(_LONGEST)
    if is_pointer(data):
        raise kind(f"{path} is not the file itself", why=f"it is {described(data)}", hint=way_to_file())
