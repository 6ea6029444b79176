"""Packages that do not fit: to what is loaded, to the frontend, to the settings, to the lock."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.optional import requirements
from colabkit._internal.process import frameworks
from colabkit._version import DISTRIBUTION
from colabkit.accelerator.backends import TITLES, VARIABLE
from colabkit.diagnosis.base import Finding
from colabkit.packages import stale
from colabkit.packages.constraints import KERNEL_STACK
from colabkit.packages.lock_file import differences
from colabkit.runtime.hosts.colab import image_date

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.diagnosis.base import Scene

LOCK = "requirements.lock"

_WIDGETS = ((7, 7, 1), (9,))
"""ipywidgets from, and below: what colabkit's panel is tested with."""

_CONSTRAINTS = ("UV_CONSTRAINT", "UV_BUILD_CONSTRAINT")


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the installed packages, without importing one."""
    yield from _kernel_stack(scene)
    yield from _stale(scene)
    yield from _clash()
    yield from _autoreload(scene)
    yield from _widgets(scene)
    yield from _backend(scene)
    yield from _fastai(scene)
    yield from _constraints(scene)
    yield from _conda(scene)
    yield from _lock(scene)
    yield from _extras(scene)


def _stale(scene: Scene) -> Iterator[Finding]:
    for package in stale(scene.site):
        if package.name in KERNEL_STACK:
            continue
        yield Finding(
            severity="problem",
            what=f"{package.name} was replaced under this running process",
            why=f"{package}; its next import mixes the two",
            do="restart the kernel: colabkit.detect().restart() in the first cell, or the menu",
        )


def _kernel_stack(scene: Scene) -> Iterator[Finding]:
    """What the running kernel depends on must be put back before it restarts, or it may not start again."""
    changed = [package for package in stale(scene.site) if package.name in KERNEL_STACK]
    if not changed:
        return
    wishes = ", ".join(f'"{package.name}=={package.running}"' for package in changed if package.running)
    yield Finding(
        severity="problem",
        what=f"{', '.join(package.name for package in changed)} was replaced, and the running kernel depends on it",
        why=f"{'; '.join(map(str, changed))}: the kernel may not start again",
        do=f"put it back before any restart: colabkit.install({wishes}, force=True)" if wishes else "reinstall it",
    )


def _clash() -> Iterator[Finding]:
    if why := frameworks.clash():
        yield Finding(
            severity="warning",
            what="`import torch` would end this process",
            why=why,
            do="run `import triton` first; colabkit does that where it brings torch in itself",
        )


def _autoreload(scene: Scene) -> Iterator[Finding]:
    ipython = scene.site.get("ipython")
    if ipython is None or _numbers(scene.runtime.python) < (3, 12) or scene.place.shell is None:
        return
    source = _source(Path(ipython.folder).with_name("IPython") / "extensions" / "autoreload.py")
    if "from imp import" in source and "imp" not in sys.modules:
        yield Finding(
            severity="note",
            what="%load_ext autoreload fails here",
            why=f"IPython {ipython.version} wants the module imp, which Python {scene.runtime.python} no longer has"
            " (colabtools#6074)",
            do="run before it: import importlib, sys, types; sys.modules['imp'] = types.SimpleNamespace("
            "reload=importlib.reload)",
        )


def _widgets(scene: Scene) -> Iterator[Finding]:
    widgets = scene.site.get("ipywidgets")
    if widgets is None:
        return
    version = _numbers(widgets.version)
    lowest, beyond = _WIDGETS
    if scene.runtime.host == "colab" and version >= (8,):
        yield Finding(
            severity="problem",
            what=f"ipywidgets {widgets.version} does not work on Colab",
            why="Colab's page speaks the protocol of ipywidgets 7, and newer widgets stay blank",
            do='pip install "ipywidgets==7.7.1", then restart the kernel',
        )
    elif not lowest <= version < beyond:
        yield Finding(
            severity="warning",
            what=f"ipywidgets {widgets.version} is not a version that colabkit is tested with",
            why="its panel may not be drawn",
            do='pip install "ipywidgets>=7.7.1,<9"',
        )


def _backend(scene: Scene) -> Iterator[Finding]:
    name = scene.place.env.get(VARIABLE, "")
    if name in TITLES and name not in scene.site and f"{name}-cpu" not in scene.site:
        here = ", ".join(backend for backend in TITLES if backend in scene.site) or "none"
        yield Finding(
            severity="problem",
            what=f"{VARIABLE} is {name}, and {name} is not installed",
            why=f"keras cannot be imported this way; installed backends: {here}",
            do=f"pip install {name}, or set {VARIABLE} to one that is installed and restart the kernel",
        )


def _fastai(scene: Scene) -> Iterator[Finding]:
    """Look into the files for what `colabkit.checkpoint.fastai.install_check` probes when it imports them."""
    fastai, fastcore = scene.site.get("fastai"), scene.site.get("fastcore")
    if fastai is None or fastcore is None:
        return
    calls = _source(Path(fastai.folder).with_name("fastai") / "optimizer.py")
    has = _source(Path(fastcore.folder).with_name("fastcore") / "foundation.py")
    if ".starmap(" in calls and has and "def starmap" not in has:
        yield Finding(
            severity="problem",
            what=f"fastai {fastai.version} cannot train beside fastcore {fastcore.version}",
            why="it calls L.starmap, which this fastcore no longer has (fastai issue 4154)",
            do='pip install -U "fastai>=2.8.8", then restart the kernel',
        )


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _constraints(scene: Scene) -> Iterator[Finding]:
    for variable in _CONSTRAINTS:
        file = scene.place.env.get(variable)
        if file and not scene.place.has(file):
            yield Finding(
                severity="warning",
                what=f"{variable} names a file that does not exist",
                why=f"every `uv pip` command fails with it ({file}); so does colabkit.install()",
                do=f"run: import os; del os.environ[{variable!r}]",
            )


def _conda(scene: Scene) -> Iterator[Finding]:
    if scene.runtime.host == "colab" and scene.place.has("/usr/local/conda-meta"):
        yield Finding(
            severity="warning",
            what="condacolab has replaced this runtime's Python",
            why="/usr/local/conda-meta exists; Colab's own packages are not those that run",
            do="disconnect and delete the runtime to get Colab's Python back",
        )


def _lock(scene: Scene) -> Iterator[Finding]:
    path = scene.place.cwd / LOCK
    if not path.is_file():
        return
    for words in differences(path, scene.runtime):
        locked_at, image_at = image_date(words), scene.runtime.image_date
        older = "with image" in words and locked_at is not None and image_at is not None and image_at < locked_at
        yield Finding(
            severity="warning",
            what=f"this image is older than the lock ({image_at}, and {locked_at})"
            if older
            else "this is not the lock's runtime",
            why=words,
            do="choose the newest runtime version in the menu Runtime" if older else f"colabkit.install({LOCK!r})",
        )


def _extras(scene: Scene) -> Iterator[Finding]:
    own = scene.site.get(DISTRIBUTION)
    fields = [] if own is None else own.metadata().split("\n")
    for extra in (line[16:] for line in fields if line.startswith("Provides-Extra: ")):
        if extra in ("all", "test", "neptune"):  # neptune's service has ended
            continue
        names = [_name(text) for text in requirements(extra)]
        if not any(name.replace("-", "_") in sys.modules for name in names):
            continue  # nobody uses it here
        missing = [text for text in requirements(extra) if _name(text) not in scene.site]
        if "tensorflow" in map(_name, missing) and any(
            accelerator.kind == "tpu" for accelerator in scene.runtime.accelerators
        ):
            continue  # it is left out of TPU images on purpose, and clashes with what is there
        if missing:
            yield Finding(
                severity="note",
                what=f"the packages of the extra {extra!r} are not all installed",
                why=f"missing: {', '.join(map(_name, missing))}",
                do=f"pip install {' '.join(missing)}",
            )


def _name(requirement: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(requirement.strip('"')).name


def _numbers(version: str) -> tuple[int, ...]:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version).release
    except InvalidVersion:
        return ()
