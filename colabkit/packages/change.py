"""The change that install() makes: plan it, refuse it or make it, and look what came of it."""

from __future__ import annotations

import importlib
import shutil
import sysconfig
from dataclasses import replace
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._internal.display.few import few
from colabkit._internal.log import notify, warn
from colabkit.errors import ConflictError, InstallError, ProtectedPackageError
from colabkit.packages.alternatives import with_alternatives
from colabkit.packages.conflicts import broken_by
from colabkit.packages.constraints import KERNEL_STACK, constraints_for
from colabkit.packages.environment import Environment
from colabkit.packages.failures import explain
from colabkit.packages.installers.request import Failure, Request
from colabkit.packages.installers.selection import check_writable, find_installer
from colabkit.packages.report import Change
from colabkit.packages.request.requirements_file import masked
from colabkit.packages.stale import Stale, loaded, running_version, stale
from colabkit.runtime.report import size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit.packages.installers.selection import Installer
    from colabkit.packages.report import Conflict, InstallReport
    from colabkit.packages.request.options import Options
    from colabkit.packages.request.requirements_file import InstallRequirement

_GIB = 1024**3
_SIZES = {
    "torch": 6,
    "tensorflow": 2,
    "jaxlib": 1,
    "jax-cuda12-plugin": 3,
    "jax-cuda13-plugin": 3,
    "vllm": 3,
    "triton": 1,
}
"""GiB that the big ones take with their archives and what they bring along, as their wheels for GPUs are."""

_MAX_NAMED = 12  # changes named in a line
_PINS_OF_COLAB = "google-colab"
"""Requires exact versions of requests and others, which it does not need; no set of packages meets them all."""


def change(
    requirements: Sequence[InstallRequirement],
    options: Options,
    notes: InstallReport,
    site: Environment,
    env: Mapping[str, str],
) -> InstallReport:
    """Plan what makes the requirements available, and do it unless it is a dry run.

    Args:
        requirements: The requirements.
        options: How they are installed.
        notes: What is to be said of this call already.
        site: What is installed.
        env: The environment variables.

    Raises:
        InstallError: It cannot be done, or must not; nothing was changed, or the message says what.
    """
    check_writable(env)
    installer, program = find_installer(env)
    request = Request(
        requirements=tuple(requirements),
        constraints={},
        options=replace(options, offline=config.is_offline(env)),
        env=env,
    )
    questions: tuple[str, ...] = ()
    if options.dry_run:
        request, questions = _without_builds(request)
    try:
        request = _with_names(request, installer, program, site)
        named = set(request.named)
        request = replace(
            request, constraints=constraints_for(site, named, constrain=options.constrain, force=options.force)
        )
        changes = installer.plan(program, request, site) if request.requirements else ()
    except Failure as failure:
        raise with_alternatives(explain(failure, request), failure, request, installer, program) from failure
    conflicts = broken_by(changes, site)
    if not options.force:
        _refuse_kernel_changes(changes, conflicts)
        _refuse_unasked_breakage(conflicts, named, dry_run=options.dry_run)
    plan = replace(
        notes,
        installer=installer.NAME,
        changed=changes,
        conflicts=conflicts,
        questions=questions,
        stale=(*notes.stale, *_made_stale(changes, site, already_stale=notes.stale)),
    )
    if options.dry_run or not changes:
        return plan
    return _act(plan, installer, program, request, site, already_stale={package.name for package in notes.stale})


def _with_names(request: Request, installer: Installer, program: str, site: Environment) -> Request:
    """Learn the names of packages that are given by an address alone; that runs the code of those very packages."""
    requirements: list[InstallRequirement] = []
    for requirement in request.requirements:
        if requirement.name or requirement.editable:
            requirements.append(requirement)
            continue
        # Without its requirements nothing else is built.
        alone = replace(
            request, requirements=(requirement,), options=replace(request.options, source=True, no_deps=True)
        )
        requirements += [requirement.with_name(planned.name) for planned in installer.plan(program, alone, site)]
    return replace(request, requirements=tuple(requirements))


def _without_builds(request: Request) -> tuple[Request, tuple[str, ...]]:
    """Take out of a plan what could only be planned by running its code; say so for each."""
    left_out = [requirement for requirement in request.requirements if requirement.is_source]
    questions = tuple(
        f"{masked(requirement.need.text)}: what it needs can only be had by running its code, which a plan does not"
        for requirement in left_out
    )
    requirements = tuple(requirement for requirement in request.requirements if not requirement.is_source)
    return replace(request, requirements=requirements, options=replace(request.options, source=False)), questions


def _refuse_kernel_changes(changes: Sequence[Change], conflicts: Sequence[Conflict]) -> None:
    touched = [change for change in changes if change.name in KERNEL_STACK and change.before is not None]
    broken = [conflict for conflict in conflicts if conflict.package.split()[0] in KERNEL_STACK]
    if any(change.before != change.after for change in touched) or broken:
        raise ProtectedPackageError(
            f"this would change what the running kernel depends on: {', '.join(map(str, [*touched, *broken]))}",
            why="changing it can stop the kernel from starting",
            hint="leave it out or ask for another version; force=True changes it anyway",
        )


def _refuse_unasked_breakage(conflicts: Sequence[Conflict], named: set[str], *, dry_run: bool) -> None:
    unasked = [
        conflict
        for conflict in conflicts
        if conflict.name not in named and conflict.package.split()[0] != _PINS_OF_COLAB
    ]
    if unasked and not dry_run:
        raise ConflictError(
            f"this would break {len(unasked)} installed package{'s' * (len(unasked) > 1)}",
            why="; ".join(map(str, unasked)),
            hint=f"ask for {unasked[0].name} by name with a version that fits all, or pass force=True",
        )


def _made_stale(changes: Sequence[Change], site: Environment, *, already_stale: Sequence[Stale]) -> tuple[Stale, ...]:
    """Return what is loaded as it is installed now, and would not be what is installed any more."""
    moving = {change.name: change for change in changes if change.before is not None}
    for package in already_stale:
        moving.pop(package.name, None)
    modules = loaded(here for here in site if here.name in moving)
    return tuple(
        Stale(
            name=here.name, running=running_version(loaded_modules) or here.version, installed=moving[here.name].after
        )
        for here, loaded_modules in sorted(modules.items(), key=lambda item: item[0].name)
    )


def _act(
    plan: InstallReport,
    installer: Installer,
    program: str,
    request: Request,
    site: Environment,
    *,
    already_stale: set[str],
) -> InstallReport:
    from colabkit.packages.alternatives import with_alternatives
    from colabkit.packages.failures import explain
    from colabkit.packages.installers.request import Failure

    for conflict in plan.conflicts:
        warn("colabkit: %s", conflict)
    names = [str(change) for change in plan.changed]
    restart = " (loaded, so a restart is needed)" if {package.name for package in plan.stale} - already_stale else ""
    notify("colabkit: installing %s%s", few(names, _MAX_NAMED), restart)
    _notify_low_disk(plan.changed)
    if built := [*request.built, *(["what has no wheel"] if request.options.source else [])]:
        notify("colabkit: %s is built from its source code, which may take many minutes", ", ".join(built))
    try:
        installer.install(program, request, plan.changed)
    except Failure as failure:
        error = with_alternatives(explain(failure, request), failure, request, installer, program)
        importlib.invalidate_caches()
        if touched := _changed(site, Environment()):
            error.why += f"; before it failed it changed {', '.join(map(str, touched))}"
        raise error from failure
    importlib.invalidate_caches()
    after = Environment()
    changed = _changed(site, after)
    moved = {changed_package.name for changed_package in changed}
    origins = {change.name: change.origin for change in plan.changed}
    changed = tuple(
        replace(changed_package, origin=origins.get(changed_package.name, "")) for changed_package in changed
    )
    changed += tuple(
        replace(change, after=change.before)
        for change in plan.changed
        if change.origin and change.before is not None and change.name not in moved
    )
    absent = [change.name for change in plan.changed if change.name not in after]
    if absent:
        raise InstallError(
            f"{installer.NAME} said it had installed {', '.join(absent)}, but this Python does not see it",
            hint="compare the folders in `import sys; sys.path` with where the installer writes",
        )
    # What this call replaced is stale for certain; what somebody else had replaced may have been put back by it.
    made = {package.name: package for package in plan.stale if package.name not in already_stale}
    return replace(
        plan,
        changed=changed,
        stale=(*made.values(), *(package for package in stale(after) if package.name not in made)),
    )


def _notify_low_disk(changes: Sequence[Change]) -> None:
    """Say before anything is written that the disk may not hold it."""
    free = shutil.disk_usage(sysconfig.get_path("purelib")).free
    needed = _GIB + sum(_SIZES.get(change.name, 0) * _GIB for change in changes)
    if free < needed:
        warn("colabkit: %s are free on the disk, and this may take %s with what it downloads", size(free), size(needed))


def _changed(before: Environment, after: Environment) -> tuple[Change, ...]:
    old = before.versions()
    changes = (
        Change(name=name, before=old.get(name), after=version)
        for name, version in after.versions().items()
        if old.get(name) != version
    )
    return tuple(sorted(changes, key=lambda change: change.name))
