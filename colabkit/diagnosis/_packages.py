"""Packages that do not fit: to what is loaded, to the frontend, to the settings, to the lock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.optional import requirements
from colabkit._version import DISTRIBUTION
from colabkit.accelerator.backends import TITLES, VARIABLE
from colabkit.diagnosis.base import Finding
from colabkit.packages import stale
from colabkit.packages._lock import differences
from colabkit.runtime._colab import image_date

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.diagnosis.base import Scene

LOCK = "requirements.lock"

_WIDGETS = ((7, 7, 1), (9,))
"""ipywidgets from, and below: what colabkit's panel is tested with."""

_CONSTRAINTS = ("UV_CONSTRAINT", "UV_BUILD_CONSTRAINT")


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the installed packages, without importing one."""
    yield from _stale(scene)
    yield from _widgets(scene)
    yield from _backend(scene)
    yield from _fastai(scene)
    yield from _constraints(scene)
    yield from _conda(scene)
    yield from _lock(scene)
    yield from _extras(scene)


def _stale(scene: Scene) -> Iterator[Finding]:
    for one in stale(scene.site):
        yield Finding(
            severity="problem",
            what=f"{one.name} was replaced under this running process",
            why=f"{one}; its next import mixes the two",
            do="restart the kernel: colabkit.detect().restart() in the first cell, or the menu",
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
        here = ", ".join(one for one in TITLES if one in scene.site) or "none"
        yield Finding(
            severity="problem",
            what=f"{VARIABLE} is {name}, and {name} is not installed",
            why=f"keras cannot be imported so; installed backends: {here}",
            do=f"pip install {name}, or set {VARIABLE} to one that is installed and restart the kernel",
        )


def _fastai(scene: Scene) -> Iterator[Finding]:
    """Look into the files for what `colabkit.checkpoint.fastai` probes when it imports them."""
    fastai, fastcore = scene.site.get("fastai"), scene.site.get("fastcore")
    if fastai is None or fastcore is None:
        return
    calls = _source(Path(fastai.folder).with_name("fastai") / "optimizer.py")
    has = _source(Path(fastcore.folder).with_name("fastcore") / "foundation.py")
    if ".starmap(" in calls and has and "def starmap" not in has:
        yield Finding(
            severity="problem",
            what=f"fastai {fastai.version} cannot train beside fastcore {fastcore.version}",
            why="it calls L.starmap, which this fastcore has no more (fastai issue 4154)",
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
                why=f"every `uv pip` command fails with it ({file}); colabkit.install() leaves it out",
                do=f"unset {variable}",
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
        then, now = image_date(words), scene.runtime.image_date
        older = "with image" in words and then is not None and now is not None and now < then
        yield Finding(
            severity="warning",
            what=f"this image is older than the lock ({now}, and {then})"
            if older
            else "this is not the lock's runtime",
            why=words,
            do="choose the newest runtime version in the menu Runtime" if older else f"colabkit.install({LOCK!r})",
        )


def _extras(scene: Scene) -> Iterator[Finding]:
    own = scene.site.get(DISTRIBUTION)
    fields = [] if own is None else own.metadata().split("\n")
    for extra in (line[16:] for line in fields if line.startswith("Provides-Extra: ")):
        if extra in ("all", "test"):
            continue
        missing = [text for text in requirements(extra) if _name(text) not in scene.site]
        if "tensorflow" in map(_name, missing) and any(one.kind == "tpu" for one in scene.runtime.accelerators):
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
