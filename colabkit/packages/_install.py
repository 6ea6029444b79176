"""install(): answer, plan, refuse, act, restart."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from colabkit import config
from colabkit._tools.log import say, warn
from colabkit.errors import ConflictError, InstallError, ProtectedPackageError, RequirementError, UnknownNameError
from colabkit.packages._protect import KERNEL_STACK, held
from colabkit.packages._report import Change, Conflict, InstallReport
from colabkit.packages._requirements import applicable, is_file, read, read_file
from colabkit.packages._site import Site
from colabkit.packages._stale import Stale, loaded, running_version, stale
from colabkit.packages._verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit.packages._request import Request
    from colabkit.packages._requirements import Wanted
    from colabkit.packages._target import Installer

Restart = Literal["auto", "never", "ask"]

_SHOWN = 12  # changes named in a line


def install(
    *requirements: str | Path,
    constrain: bool = True,
    restart: Restart = "auto",
    dry_run: bool = False,
    force: bool = False,
    index_url: str | None = None,
    extra_index_urls: Sequence[str] = (),
    find_links: Sequence[str] = (),
    env: Mapping[str, str] = os.environ,
) -> InstallReport:
    """Make packages available, and restart the kernel in place only if it must.

    When everything is there already, nothing is started and nothing changes. Otherwise the change is planned first,
    and refused in words if it cannot be or would break the kernel; then it is made. If a package that is loaded was
    replaced, the kernel starts anew in place: this cell runs again from its top, and the queued cells follow.

    Args:
        requirements: Packages as in PEP 508 ("keras>=3.10", "kaggle"), or one requirements file or lock.
        constrain: Keep the image's heavy packages (numpy, torch, jax, tensorflow, keras) as they are, except those
            asked for by name.
        restart: "auto" restarts if it must and may; "ask" asks first; "never" only reports.
        dry_run: Say what would change, and touch nothing.
        force: Change even what the running kernel stands on, and what breaks other packages.
        index_url: The package index instead of the installer's own.
        extra_index_urls: Package indexes beside it.
        find_links: Folders or pages of wheels.
        env: The environment variables.

    Returns:
        What changed, what conflicts, what is stale, and whether a restart is still needed.

    Raises:
        RequirementError: A requirement cannot be read, or carries an option or credentials.
        ConflictError: The versions cannot go together, or the change would break other packages.
        ProtectedPackageError: It would change what the running kernel stands on.
        PackageNotFoundError: There is no such package or version.
        NoWheelError: Nothing of it fits this Python.
        SiteError: This Python refuses to be changed.
        InstallerError: There is no installer, or its settings are broken.
        OfflineError: The package index cannot be reached.

    Example:
        >>> print(install("packaging"))
        everything is already there
    """
    check_restart(restart)
    report = make_available(
        *requirements,
        constrain=constrain,
        dry_run=dry_run,
        force=force,
        index_url=index_url,
        extra_index_urls=extra_index_urls,
        find_links=find_links,
        env=env,
    )
    return restart_if_needed(report, restart)


def check_restart(restart: str) -> None:
    """Refuse a word that is none of `Restart`, before anything is done."""
    if restart not in get_args(Restart):
        raise UnknownNameError(f"no restart={restart!r}", do=f"choose one of {', '.join(get_args(Restart))}")


def make_available(
    *requirements: str | Path,
    constrain: bool = True,
    dry_run: bool = False,
    force: bool = False,
    index_url: str | None = None,
    extra_index_urls: Sequence[str] = (),
    find_links: Sequence[str] = (),
    env: Mapping[str, str] = os.environ,
) -> InstallReport:
    """Do what install() does up to the restart, for callers that have more to do before it; arguments as there."""
    site = Site()
    words = [one if isinstance(one, str) and not is_file(one) else Path(one).expanduser() for one in requirements]
    verdict = Verdict(f"all of these are installed, force={force}", *words, site=site, env=env)
    if requirements and verdict.is_known:
        return InstallReport(dry_run=dry_run, stale=stale(site))
    wanted, differs, skipped = _read_all(requirements, site, force=force)
    notes = InstallReport(differs=differs, skipped=skipped, dry_run=dry_run, stale=stale(site))
    for line in (*differs, *(f"left out: {text}" for text in skipped)):
        warn("%s", line)
    if not site.missing(wanted):
        if not differs and not skipped:
            verdict.keep()
        return notes

    # Most calls end above, within milliseconds; what follows is loaded when something has to be done.
    from colabkit.packages._conflicts import broken_by
    from colabkit.packages._failures import explain
    from colabkit.packages._request import Failure, Options, Request
    from colabkit.packages._target import check_writable, find_installer

    check_writable(env)
    installer, program = find_installer(env)
    asked = {one.name for one in wanted}
    request = Request(
        wanted=tuple(wanted),
        held=held(site, asked, constrain=constrain, force=force),
        options=Options(
            index_url=index_url,
            extra_index_urls=tuple(extra_index_urls),
            find_links=tuple(find_links),
            offline=config.is_offline(env),
        ),
        env=env,
    )
    try:
        changes = installer.plan(program, request, site)
    except Failure as failure:
        raise explain(failure, request) from failure
    conflicts = broken_by(changes, site)
    if not force:
        _refuse_kernel_changes(changes, conflicts)
        _refuse_unasked_breakage(conflicts, asked, dry_run=dry_run)
    plan = replace(
        notes,
        installer=installer.NAME,
        changed=changes,
        conflicts=conflicts,
        stale=(*notes.stale, *_made_stale(changes, site, known=notes.stale)),
    )
    if dry_run:
        return plan
    known = {one.name for one in notes.stale}
    return _act(plan, installer, program, request, site, known=known)


def _read_all(
    requirements: Sequence[str | Path], site: Site, *, force: bool
) -> tuple[list[Wanted], tuple[str, ...], tuple[str, ...]]:
    if not requirements:
        raise RequirementError("nothing to install", do='name a package: install("keras>=3.10")')
    wanted: list[Wanted] = []
    differs: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    for text in requirements:
        if isinstance(text, str) and not is_file(text):
            wanted.append(read(text))
            continue
        from colabkit.packages._lock import differences

        path = Path(text).expanduser()
        lines = read_file(path)
        differs += differences(path)
        # A lock lists the kernel it was written in; this one keeps its own, or nobody would be there to go on.
        left_out = [] if force else [one for one in lines if one.name in KERNEL_STACK]
        skipped += tuple(
            f"{one.need.text}: the running kernel keeps its own" for one in left_out if site.missing([one])
        )
        wanted += [one for one in lines if one not in left_out]
    return applicable(wanted), differs, skipped


def _refuse_kernel_changes(changes: Sequence[Change], conflicts: Sequence[Conflict]) -> None:
    touched = [change for change in changes if change.name in KERNEL_STACK and change.before is not None]
    broken = [conflict for conflict in conflicts if conflict.package.split()[0] in KERNEL_STACK]
    if any(change.before != change.after for change in touched) or broken:
        raise ProtectedPackageError(
            f"this would change what the running kernel stands on: {', '.join(map(str, [*touched, *broken]))}",
            why="another version may keep the kernel from starting again, in a loop",
            do="leave it out or ask for another version; force=True changes it all the same",
        )


def _refuse_unasked_breakage(conflicts: Sequence[Conflict], asked: set[str], *, dry_run: bool) -> None:
    unasked = [conflict for conflict in conflicts if conflict.name not in asked]
    if unasked and not dry_run:
        raise ConflictError(
            f"this would break {len(unasked)} installed package{'s' * (len(unasked) > 1)}",
            why="; ".join(map(str, unasked)),
            do=f"ask for {unasked[0].name} by name with a version that fits all, or pass force=True",
        )


def _made_stale(changes: Sequence[Change], site: Site, *, known: Sequence[Stale]) -> tuple[Stale, ...]:
    """Return what is loaded as it is installed now, and would not be what is installed any more."""
    moving = {change.name: change for change in changes if change.before is not None}
    for one in known:
        moving.pop(one.name, None)
    modules = loaded(here for here in site if here.name in moving)
    return tuple(
        Stale(name=here.name, running=running_version(found) or here.version, installed=moving[here.name].after)
        for here, found in sorted(modules.items(), key=lambda item: item[0].name)
    )


def _act(
    plan: InstallReport, installer: Installer, program: str, request: Request, site: Site, *, known: set[str]
) -> InstallReport:
    from colabkit.packages._failures import explain
    from colabkit.packages._request import Failure

    for conflict in plan.conflicts:
        warn("colabkit: %s", conflict)
    names = [str(change) for change in plan.changed]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    say("colabkit: installing %s%s", ", ".join(names[:_SHOWN]) or "from a local folder", more)
    try:
        installer.install(program, request, plan.changed)
    except Failure as failure:
        error = explain(failure, request)
        importlib.invalidate_caches()
        if touched := _changed(site, Site()):
            error.why += f"; before it failed it changed {', '.join(map(str, touched))}"
        raise error from failure
    importlib.invalidate_caches()
    after = Site()
    changed = _changed(site, after)
    absent = [change.name for change in plan.changed if change.name not in after]
    if absent:
        raise InstallError(
            f"{installer.NAME} said it had installed {', '.join(absent)}, but this Python does not see it",
            do="compare the folders in `import sys; sys.path` with where the installer writes",
        )
    # What this call replaced is stale for certain; what somebody else had replaced may have been put back by it.
    made = {one.name: one for one in plan.stale if one.name not in known}
    return replace(
        plan, changed=changed, stale=(*made.values(), *(one for one in stale(after) if one.name not in made))
    )


def _changed(before: Site, after: Site) -> tuple[Change, ...]:
    old = before.versions()
    found = (
        Change(name=name, before=old.get(name), after=version)
        for name, version in after.versions().items()
        if old.get(name) != version
    )
    return tuple(sorted(found, key=lambda change: change.name))


def restart_if_needed(report: InstallReport, restart: Restart) -> InstallReport:
    """Restart the kernel in place where the report asks for it and it can be; else say why not."""
    if not report.stale or report.dry_run:
        return report
    for one in report.stale:
        warn("colabkit: %s", one)
    if restart == "never":
        warn("colabkit: restart the kernel before you use what was replaced: colabkit.detect().restart()")
        return report
    from colabkit.runtime import restart as kernel

    refusal = kernel.refusal()
    if refusal is not None:
        warn("colabkit: %s", refusal)
        return report
    if restart == "ask" and not (kernel.can_ask() and _says_yes()):
        warn("colabkit: not restarted; what was replaced is not safe to use until it is")
        return report
    return kernel.restart()


def _says_yes() -> bool:
    return input("Restart the kernel in place and run this cell again? [y/N] ").strip().lower() in ("y", "yes")
