"""What a set-up would do: looked at, never touched."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.errors import AddressError, ColabKitError, SecretError, SetupFileError
from colabkit.packages.installation import make_available
from colabkit.packages.request.options import Options
from colabkit.packages.request.requirement import read_need
from colabkit.packages.request.requirements_file import read, read_file
from colabkit.packages.satisfied_cache import SatisfiedCache
from colabkit.runtime import detect
from colabkit.runtime.report import accelerators as named
from colabkit.runtime.secrets import secret
from colabkit.setup_file.report import plan_text
from colabkit.setup_file.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.packages import InstallReport
    from colabkit.runtime import Runtime
    from colabkit.setup_file.spec import Data, Spec

_CARRIERS = {
    "certifi",
    "charset-normalizer",
    "colabkit",
    "idna",
    "packaging",
    "requests",
    "tqdm",
    "urllib3",
    "zstandard",
}
"""What a download itself is made of: while one of these is replaced, nothing is downloaded."""

_known_secrets: set[str] = set()
"""The names that were found once in this process: Colab's browser is not asked again at each call."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A set-up and how far this runtime is from it.

    Attributes:
        spec: What is asked for.
        steps: One for each part, in the order in which they are shown.
        packages: What installing would change; None when no package is asked for.
        beside: The sources that are fetched while packages are installed.
        places: Where the sources lie that are here already.
        restart: Whether the kernel would have to start anew.
    """

    spec: Spec
    steps: tuple[Step, ...]
    packages: InstallReport | None = None
    beside: tuple[Data, ...] = ()
    places: dict[str, Path] = field(default_factory=dict)

    @property
    def restart(self) -> bool:
        """Whether packages that are loaded would be replaced."""
        return self.packages is not None and self.packages.restart_needed

    def to_do(self) -> list[Step]:
        """The steps that something has to be done for."""
        return [step for step in self.steps if step.state == "to do"]

    def __str__(self) -> str:
        beside = [source.name for source in self.beside]
        return plan_text(self.spec.origin, self.steps, beside=beside, restart=self.restart)


def plan(spec: Spec) -> Plan:
    """Find out what is there and what is not.

    Raises:
        SetupFileError: It is for another Python.
        AddressError: The run's address cannot be read.
        InstallError: The packages cannot be had; nothing was touched.
    """
    python = list(_python(spec))  # before anybody is asked for packages that are for another one
    runtime = _runtime()
    packages, package_steps = _packages(spec)
    places: dict[str, Path] = {}
    data = [_data(source, places) for source in spec.data]
    todo = {step.name for step in data if step.state == "to do"}
    is_safe = packages is not None and packages.changed and not _moves_carriers(packages)
    return Plan(
        spec=spec,
        steps=(
            *python,
            *_accelerator(spec, runtime),
            *(_secret(name) for name in spec.secrets),
            *_drive(spec),
            *package_steps,
            *data,
            *_run(spec),
        ),
        packages=packages,
        beside=tuple(source for source in spec.data if source.name in todo and is_safe and _is_public(source)),
        places=places,
    )


def _is_public(data: Data) -> bool:
    from colabkit.transfer import is_public

    return is_public(data.source)


@functools.cache
def _runtime() -> Runtime:
    return detect()  # kept, as nvidia-smi takes a tenth of a second, and a machine keeps its devices


def _moves_carriers(report: InstallReport) -> bool:
    return any(change.name in _CARRIERS for change in report.changed)


def _python(spec: Spec) -> Iterator[Step]:
    version = platform.python_version()
    if spec.python is None:
        return
    if not read_need(f"python {spec.python}").allows(version.rstrip("+")):
        raise SetupFileError(
            f"{spec.origin} is for Python {spec.python}, and this is {version}",
            why="a running kernel keeps its Python",
            hint="choose another runtime or image, or change the versions in the set-up",
        )
    yield Step(kind="python", state="ready", what=f"{version} fits {spec.python}")


def _accelerator(spec: Spec, runtime: Runtime) -> Iterator[Step]:
    if spec.accelerator is None:
        return
    fitting = [accelerator for accelerator in runtime.accelerators if spec.accelerator in (accelerator.kind, "any")]
    if fitting:
        yield Step(kind="accelerator", state="ready", what=named(runtime))
        return
    requirement = {"gpu": "a GPU is wanted", "tpu": "a TPU is wanted", "any": "a GPU or TPU is wanted"}[
        spec.accelerator
    ]
    do = "Runtime > Change runtime type" if runtime.host.startswith("colab") else "choose a machine that has one"
    if runtime.host == "kaggle":
        do = "Settings > Accelerator"
    yield Step(kind="accelerator", state="missing", what=f"{requirement}, and here is {named(runtime)}", do=do)


def _secret(name: str) -> Step:
    if name not in _known_secrets:
        try:
            secret(name, prompt=False)
        except SecretError as error:
            return Step(kind="secret", name=name, state="to do", what=f"not found: {error.why}", do=error.do)
        _known_secrets.add(name)
    return Step(kind="secret", name=name, state="ready", what="is there")


def remember(name: str) -> None:
    """Note that a secret is there."""
    _known_secrets.add(name)


def _drive(spec: Spec) -> Iterator[Step]:
    if spec.drive:
        from colabkit import drive

        state, words = drive.check_mount(Path(drive.DEFAULT))
        if state == "healthy":
            yield Step(kind="drive", state="ready", what=f"mounted at {drive.DEFAULT}")
        else:
            yield Step(kind="drive", state="to do", what=words)


def _packages(spec: Spec) -> tuple[InstallReport | None, list[Step]]:
    lock = spec.lock if spec.lock is not None and spec.lock.exists() else None
    requirements: list[str | Path] = [*spec.packages, *([lock] if lock else [])]
    report = make_available(*requirements, options=Options(dry_run=True)) if requirements else None
    steps = []
    if report is not None:
        what = ", ".join(map(str, report.changed)) or _all_there(spec, lock)
        steps.append(Step(kind="packages", state="to do" if report.changed else "ready", what=what))
    if spec.lock is not None:
        absent = [] if lock is None else _absent(spec, lock)
        if lock is None or absent:
            what = f"{', '.join(absent)} added to {spec.lock.name}" if absent else f"{spec.lock.name} is written"
            steps.append(Step(kind="lock", state="to do", what=what))
        else:
            steps.append(Step(kind="lock", state="ready", what=f"{spec.lock} holds"))
    return report, steps


def _all_there(spec: Spec, lock: Path | None) -> str:
    if lock is not None:
        return f"all of {lock.name} are there"
    return f"all {len(spec.packages)} are there" if len(spec.packages) > 1 else f"{spec.packages[0]} is there"


def _absent(spec: Spec, lock: Path) -> list[str]:
    """The packages that the lock does not know yet."""
    verdict = SatisfiedCache("the lock knows all of these", *spec.packages, lock)
    if verdict.is_satisfied:
        return []
    locked = {requirement.name for requirement in read_file(lock)}
    absent = [
        requirement.name
        for requirement in map(read, spec.packages)
        if requirement.name not in locked and requirement.need.applies()
    ]
    if not absent:
        verdict.keep()
    return absent


def _data(source: Data, places: dict[str, Path]) -> Step:
    from colabkit.transfer import here

    place = here(source.source, source.to, unpack=source.unpack, below=source.below)
    if place is not None:
        places[source.name] = place
        return Step(kind="data", name=source.name, state="ready", what=str(place))
    return Step(kind="data", name=source.name, state="to do", what=f"fetched from {display_source(source.source)}")


def display_source(source: str) -> str:
    """Return a source without what may be secret in it."""
    from colabkit.transfer.sources.registry import open_source

    try:
        parsed = open_source(source).source
    except ColabKitError:
        return "a source"
    return os.fspath(parsed) if isinstance(parsed, Path) else parsed.shown


def _run(spec: Spec) -> Iterator[Step]:
    if spec.run is None:
        return
    from colabkit.checkpoint.location import resolve_location

    try:
        exists = (resolve_location(spec.run).folder / "checkpoints").is_dir()
    except AddressError:
        raise  # no step mends it
    except ColabKitError:
        exists = False  # its place may come with an earlier step: the Drive
    yield Step(kind="run", state="ready" if exists else "to do", what=spec.run)
