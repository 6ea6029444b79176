"""Finds the modules that are missing, for an import that would otherwise fail, and for nobody who merely asks."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

from colabkit._internal.process.guarded import guarded
from colabkit.drive import mounting
from colabkit.shims import callers
from colabkit.shims.google_colab.drive import make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_INSIDE = "colabkit.shims.google_colab"
_PARTS = ("auth", "data_table", "drive", "errors", "files", "output", "patches", "runtime", "userdata")
_MODULES = {
    "google.colab": _INSIDE,
    **{f"google.colab.{part}": f"{_INSIDE}.{part}" for part in _PARTS},
    "kaggle_secrets": "colabkit.shims.kaggle_secrets",
}
_ON_COLAB_ALONE = frozenset(
    f"google.colab.{part}" for part in ("ai", "html", "kernel", "sheets", "snippets", "widgets")
)
_WHY_NOT = (
    "is on Colab alone\nWhy: it works by Colab's page and servers, and colabkit gives nothing in its place\n"
    "What to do: leave its cells out here, or put its import into try: … except ImportError:"
)
_NOTICES = {
    "google.colab": "google.colab is missing here; colabkit gives drive, userdata, auth, files, output and data_table",
    "kaggle_secrets": "kaggle_secrets is missing here; colabkit gives it, from its own secrets",
}


def install() -> list[str]:
    """Put the finder behind all others; say what it gives."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return []
    missing = [name for name in _NOTICES if not _exists(name)]
    if missing:
        sys.meta_path.append(_Finder(tuple(missing)))
    if "google.colab" in missing:
        mounting.stand_ins.append(make_folder)
    return [_NOTICES[name] for name in missing]


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


class _Finder(MetaPathFinder):
    def __init__(self, missing: tuple[str, ...]) -> None:
        self._missing = missing

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer an import statement that nothing guards.

        Raises:
            ImportError: It is a part of google.colab that cannot be had here.
        """
        del path, target
        if fullname == "google" and "google.colab" in self._missing and _is_wanted():
            return ModuleSpec("google", None, is_package=True)
        if fullname in _ON_COLAB_ALONE and "google.colab" in self._missing and _is_wanted():
            raise ImportError(f"{fullname} {_WHY_NOT}", name=fullname)
        if fullname not in _MODULES or not fullname.startswith(self._missing) or not _is_wanted():
            return None
        return ModuleSpec(fullname, _Copy(_MODULES[fullname]), is_package=fullname == "google.colab")


class _Copy(Loader):
    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> None:
        """Let Python make it."""

    def exec_module(self, module: ModuleType) -> None:
        """Give it the names of ours."""
        ours = importlib.import_module(self._name)
        module.__doc__ = ours.__doc__
        module.__dict__.update({name: getattr(ours, name) for name in ours.__all__})


def _is_wanted() -> bool:
    """Say whether the line that imports is an import statement outside of a `try` that catches its failure."""
    for frame in callers.frames():
        tree = callers.parsed(frame.f_code.co_filename)
        statements = [
            node
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            and node.lineno <= frame.f_lineno <= (node.end_lineno or node.lineno)
        ]
        asking = guarded(tree)
        return bool(statements) and not any(id(node) in asking for node in statements)
    return False
