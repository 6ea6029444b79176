"""`/content` and `/kaggle` in cells, where there are no such folders: the working folder stands in their place."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_BEFORE, _BEHIND = r"(?<![\w./~}-])", r"(?=[/\s'\"`;:,)\]]|$)"
_PLAIN = re.compile(r"[\w./+-]+")

_CONTENT, _MARK = Path("/content"), ".made-by-colabkit"

home: list[Path] = []
"""The folder where the notebook began, once it is known."""

_places: dict[str, str] = {}


def install(folder: Path) -> list[str]:
    """Let the cells that run from now on find their folders; say which stand for which."""
    home[:] = [folder.resolve()]
    shell = _shell()
    if shell is None or any(
        getattr(transformer, "is_colabkits", False) for transformer in shell.input_transformers_post
    ):
        return []
    places = {}
    if not os.access(_CONTENT, os.W_OK) or (_CONTENT / _MARK).exists():
        places["/content"] = _plain(folder)
    if not Path("/kaggle").is_dir():
        places |= {"/kaggle/working": _plain(folder), "/kaggle/input": f"{_plain(folder)}/kaggle/input"}
        places["/kaggle/temp"] = f"{_plain(folder)}/kaggle/temp"
    _places.update(places)
    if places:
        shell.input_transformers_post.append(_transformer(places))
    folders = ("/content", "/kaggle/input")
    return [f"{name} in a cell stands for {places[name]}" for name in folders if name in places]


def stand_in(path: Path) -> Path:
    """Return what stands for a path below such a folder, where no cell names it; any other path as it is."""
    for name in sorted(_places, key=len, reverse=True):
        if path.is_relative_to(name):
            return Path(_places[name], path.relative_to(name))
    return path


def mark(path: Path) -> None:
    """Note that `/content` is made for a script that is no notebook, so that it is not taken for Colab's later."""
    if path.is_relative_to(_CONTENT) and not _CONTENT.exists():
        _CONTENT.mkdir()
        (_CONTENT / _MARK).touch()


def _shell() -> Any:
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


def _plain(folder: Path) -> str:
    """Return the folder by a name without blanks, which commands could not take."""
    text = str(folder.resolve())
    if _PLAIN.fullmatch(text):
        return text
    name = hashlib.sha256(text.encode()).hexdigest()[:10]
    link = Path(tempfile.gettempdir(), f"colabkit-content-{os.getuid()}-{name}")
    if not link.is_symlink():
        link.symlink_to(text)
    return str(link)


def _transformer(places: dict[str, str]) -> Callable[[list[str]], list[str]]:
    longest_first = sorted(places, key=len, reverse=True)
    pattern = re.compile(f"{_BEFORE}({'|'.join(map(re.escape, longest_first))}){_BEHIND}")

    def replaced(lines: list[str]) -> list[str]:
        text = "".join(lines)
        mentioned = {match[1] for match in pattern.finditer(text)}
        for name in mentioned:
            Path(places[name]).mkdir(parents=True, exist_ok=True)
        return pattern.sub(lambda match: places[match[1]], text).splitlines(keepends=True) if mentioned else lines

    replaced.is_colabkits = True  # type: ignore[attr-defined]
    return replaced
