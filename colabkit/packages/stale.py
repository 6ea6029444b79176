"""Which loaded modules are not the ones that are installed now.

A package that is replaced under a running process lives on half old, half new: the next import of one of its
submodules mixes the two. Files tell it exactly: a module belongs to the distribution whose RECORD lists the file that
it was loaded from, so a namespace such as `google` belongs to none.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from colabkit.packages.environment import Environment, Installed
from colabkit.runtime.process_start import interpreter_start

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BINARY = (".so", ".pyd", ".dylib")
_COMPARED = 12  # modules of a package whose code is compared; more of them say nothing new
_VERSION = re.compile(r"^__version__(?: *: *\w+)? *= *[\"']([^\"']+)[\"']", re.MULTILINE)
_checked: dict[tuple[str, int], bool] = {}  # what was found out about one state of one distribution on disk


@dataclass(frozen=True, kw_only=True)
class Stale:
    """A package whose loaded modules are not the installed ones.

    Attributes:
        name: The distribution.
        running: The version that is loaded, where it can be told.
        installed: The version on disk; in a plan, the one that would be.
    """

    name: str
    running: str | None
    installed: str

    def __str__(self) -> str:
        return f"{self.name} {self.running or 'of another build'} is loaded, {self.installed} is installed"


def stale(site: Environment | None = None) -> tuple[Stale, ...]:
    """Find every package that was replaced since this process started and whose old modules are still loaded.

    It does not matter who replaced it: `!pip`, `!uv`, `%pip` or install().

    Args:
        site: What is installed, where the caller has looked already.

    Returns:
        The packages, in the order of their names; empty when this process can be trusted.

    Example:
        >>> stale()
        ()
    """
    replaced = {distribution: stamp for distribution in site or Environment() if (stamp := _replaced_at(distribution))}
    outdated = []
    for here, modules in sorted(loaded(replaced).items(), key=lambda item: item[0].name):
        key = (here.folder, replaced[here])
        if key not in _checked:
            _checked[key] = _is_old(modules)
        if _checked[key]:
            outdated.append(Stale(name=here.name, running=running_version(modules), installed=here.version))
    return tuple(outdated)


def loaded(distributions: Iterable[Installed]) -> dict[Installed, list[ModuleType]]:
    """Return the loaded modules of each distribution that has any."""
    owner = {
        path: distribution for distribution in distributions for path in _files(distribution, _written_at(distribution))
    }
    modules: dict[Installed, list[ModuleType]] = {}
    if owner:
        for module in list(sys.modules.values()):
            origin = _origin(module)
            if origin in owner:
                modules.setdefault(owner[origin], []).append(module)
    return modules


def running_version(modules: Iterable[ModuleType]) -> str | None:
    """Return the version that the loaded code says it is, asking no code to run."""
    for module in sorted(modules, key=lambda module: len(module.__name__)):
        version = vars(module).get("__version__")
        if isinstance(version, str):
            return version
    return None


def _replaced_at(distribution: Installed) -> int:
    written = _written_at(distribution)
    return written if written > interpreter_start() * 1e9 else 0


def _written_at(distribution: Installed) -> int:
    # Installers write RECORD last and never link it from a cache, so its ctime is the moment of the installation.
    try:
        return os.stat(f"{distribution.folder}/RECORD").st_ctime_ns  # noqa: PTH116 - 700 times in 2 ms
    except OSError:
        return 0


@functools.lru_cache(1024)
def _files(distribution: Installed, written: int) -> tuple[str, ...]:  # noqa: ARG001 - an install writes it anew
    root = os.path.dirname(distribution.folder)  # noqa: PTH120 - as it stands on sys.path: modules carry the same text
    try:
        record = Path(distribution.folder, "RECORD").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ()
    paths = (line.rsplit(",", 2)[0].strip('"') for line in record.splitlines())
    return tuple(f"{root}/{path}" for path in paths if path.endswith((".py", *_BINARY)))


def _origin(module: object) -> str | None:
    # vars(): some modules answer getattr by importing half a package
    if not isinstance(module, ModuleType):
        return None
    origin = getattr(vars(module).get("__spec__"), "origin", None)
    return origin if isinstance(origin, str) else None


def _is_old(modules: list[ModuleType]) -> bool:
    binary = [module for module in modules if str(_origin(module)).endswith(_BINARY)]
    mapped = _mapped_files()
    if mapped is not None and any(os.path.realpath(str(_origin(module))) not in mapped for module in binary):
        return True
    if _lost_modules(modules):
        return True
    plain = [module for module in modules if str(_origin(module)).endswith(".py")]
    plain.sort(key=lambda module: module.__name__.count("."))
    return any(_code_differs(module) for module in plain[:_COMPARED])


def _lost_modules(modules: list[ModuleType]) -> bool:
    """Whether a submodule is loaded that the package has no more."""
    packages = tuple(f"{module.__name__}." for module in modules if "__path__" in vars(module))
    below = (module for name, module in list(sys.modules.items()) if name.startswith(packages))
    origins = (origin for module in below if (origin := _origin(module)) is not None)
    return any(origin.endswith((".py", *_BINARY)) and not os.path.exists(origin) for origin in origins)  # noqa: PTH110


def _mapped_files() -> set[str] | None:
    """The files this process runs machine code from; one that was replaced is not among them (Linux)."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    return {line.split(None, 5)[5] for line in lines if "/" in line and not line.endswith(" (deleted)")}


def _code_differs(module: ModuleType) -> bool:
    """Whether a loaded module has a function, or says a version, that its file on disk has not."""
    path = str(_origin(module))
    try:
        source = Path(path).read_bytes()
        compiled = compile(source, path, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return False  # not readable as Python; nothing can be said of it
    on_disk: dict[str, list[CodeType]] = {}
    for code in _nested(compiled):
        on_disk.setdefault(code.co_qualname, []).append(code)
    if any(code not in on_disk.get(code.co_qualname, ()) for code in _own_code(module, path)):
        return True
    version = _VERSION.search(source.decode("utf-8", "replace"))
    return version is not None and isinstance(own := vars(module).get("__version__"), str) and own != version[1]


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _own_code(module: ModuleType, path: str) -> Iterator[CodeType]:
    for value in list(vars(module).values()):
        members = list(vars(value).values()) if isinstance(value, type) and value.__module__ == module.__name__ else ()
        for function in (value, *members):
            if isinstance(function, FunctionType) and function.__code__.co_filename == path:
                yield function.__code__
