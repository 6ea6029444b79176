"""install(): answer, plan, refuse, act, restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from colabkit import config
from colabkit._internal.disk.paths import expand
from colabkit._internal.hidden_locals import hides_locals
from colabkit._internal.log import notify, warn
from colabkit._internal.nearest import suggest
from colabkit.errors import ColabKitError, RestartError, UnknownNameError
from colabkit.packages.environment import Environment
from colabkit.packages.report import InstallReport
from colabkit.packages.request.gathering import flat, gather
from colabkit.packages.request.options import Options
from colabkit.packages.request.requirements_file import applicable, is_file, read_file
from colabkit.packages.satisfied_cache import SatisfiedCache
from colabkit.packages.stale import stale

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit._types import StrPath
    from colabkit.packages.request.requirements_file import InstallRequirement

Restart = Literal["auto", "never", "ask"]


@hides_locals
def install(
    *requirements: StrPath | Sequence[StrPath],
    upgrade: bool = False,
    constrain: bool = True,
    restart: Restart = "auto",
    dry_run: bool = False,
    force: bool = False,
    pre: bool = False,
    no_deps: bool = False,
    reinstall: bool = False,
    source: bool = False,
    index_url: str | None = None,
    extra_index_urls: Sequence[str] = (),
    find_links: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> InstallReport:
    """Make packages available, and restart the kernel in place only if it must.

    When everything already exists, nothing is started and nothing changes. Otherwise the change is planned first,
    and refused in words if it cannot be or would break the kernel; then it is made. If a package that is loaded was
    replaced, the kernel starts anew in place: this cell runs again from its top, and the queued cells follow.

    Args:
        requirements: Packages as in PEP 508 ("keras>=3.10", "kaggle"), lists of them, a requirements file or lock, a
            wheel, a folder, `git+https://…`, or a pasted line such as "!pip install -q -U keras": its options become
            arguments, and those that only concern its output are dropped.
        upgrade: Take the newest versions that fit, of what is named.
        constrain: Keep the image's heavy packages (numpy, torch, jax, tensorflow, keras) as they are, except those
            asked for by name.
        restart: "auto" restarts if it must, and ends the queue if it cannot; "ask" asks first; "never" only reports.
        dry_run: Say what would change, and touch nothing.
        force: Change even what the running kernel depends on, and what breaks other packages.
        pre: Allow pre-releases.
        no_deps: Install only what is named, not what it requires.
        reinstall: Install what is named again, if it is there.
        source: Build packages that have no wheel for this Python. What you name by the address of its source code
            is built in any case, and never by `dry_run`.
        index_url: The package index instead of the installer's own.
        extra_index_urls: Package indexes beside it.
        find_links: Folders or pages of wheels.
        env: The environment variables.

    Returns:
        What changed, what conflicts, what is stale, and whether a restart is still needed.

    Raises:
        RequirementError: A requirement cannot be read, or carries credentials or an option that cannot be had.
        ConflictError: The versions cannot go together, or the change would break other packages.
        ProtectedPackageError: It would change what the running kernel depends on.
        PackageNotFoundError: There is no such package or version.
        NoWheelError: Nothing of it fits this Python; the message names versions that do.
        SiteError: This Python refuses to be changed.
        InstallerError: There is no installer, or its settings are broken.
        OfflineError: The package index cannot be reached.
        RestartError: The kernel must restart and cannot; the cells that follow do not run on packages of before.

    Example:
        >>> print(install("packaging"))
        everything is already there
    """
    check_restart(restart)
    options = Options(
        upgrade=upgrade,
        constrain=constrain,
        dry_run=dry_run,
        force=force,
        pre=pre,
        no_deps=no_deps,
        reinstall=reinstall,
        source=source,
        index_url=index_url,
        extra_index_urls=tuple(extra_index_urls),
        find_links=tuple(find_links),
    )
    return restart_if_needed(make_available(*requirements, options=options, env=env), restart)


def check_restart(restart: str) -> None:
    """Refuse a word that is none of `Restart`, before anything is done."""
    if restart not in get_args(Restart):
        raise UnknownNameError(f"no restart={restart!r}", hint=suggest(str(restart), get_args(Restart)))


def make_available(
    *requirements: Any, options: Options | None = None, env: Mapping[str, str] | None = None
) -> InstallReport:
    """Do what install() does up to the restart, for callers that have more to do before it; arguments as there."""
    env, options = config.environment(env), options or Options()
    site = Environment()
    requirements = tuple(_here(requirement) for requirement in flat(requirements))
    words = [
        requirement if isinstance(requirement, str) and not is_file(requirement) else expand(requirement)
        for requirement in flat(requirements)
    ]
    about = f"all of these are installed, force={options.force}, no_deps={options.no_deps}"
    verdict = SatisfiedCache(about, *words, site=site, env=env)
    if words and verdict.is_satisfied and not options.asks_anew:
        return InstallReport(dry_run=options.dry_run, stale=stale(site))
    gathered = gather(requirements, site, force=options.force)
    if gathered.locks:  # a lock names all packages, so none brings another one
        options = replace(options, no_deps=True)
    for line in (*gathered.differs, *(f"left out: {text}" for text in gathered.skipped)):
        warn("%s", line)
    options = options if gathered.line is None else options.with_line(gathered.line)
    notes = InstallReport(
        differs=gathered.differs, skipped=gathered.skipped, dry_run=options.dry_run, stale=stale(site)
    )
    is_there = not site.missing(gathered.requirements, no_deps=options.no_deps)
    if is_there and not options.asks_anew and _allowed(site, options.constraints):
        if not gathered.differs and not gathered.skipped and (gathered.line is None or not gathered.line.notices):
            verdict.keep()
        return notes
    if gathered.line is not None:
        for line in gathered.line.notices:
            notify("colabkit: %s", line)
        env = config.environment({**env, **gathered.line.env})
    # Most calls end above, within milliseconds; what follows is loaded when something has to be done.
    from colabkit.packages.change import change

    if not gathered.locks:
        return change(gathered.requirements, options, notes, site, env)
    missing = [
        requirement
        for requirement in gathered.requirements
        if options.asks_anew or site.missing([requirement], no_deps=True)
    ]
    return change(missing, _with_kept_wheels(gathered.locks, missing, options), notes, site, env)


def _allowed(site: Environment, files: Sequence[str]) -> bool:
    """Say whether files of constraints allow all that is installed; the installer tells what cannot be read here."""
    for file in files:
        try:
            constraints = applicable(read_file(Path(file)))  # an address is no file here
        except ColabKitError:
            return False
        if site.missing([constraint for constraint in constraints if constraint.name in site], no_deps=True):
            return False
    return True


def _here(item: Any) -> Any:
    """Return the path of a lock that lies in a storage, brought here; all else as it is."""
    if not (isinstance(item, str) and item.startswith(("drive:", "gs://"))):
        return item
    from colabkit.packages import lock_file

    return lock_file.here(item) if lock_file.is_stored(item) else item


def _with_kept_wheels(locks: Sequence[Path], requirements: Sequence[InstallRequirement], options: Options) -> Options:
    """Bring the wheels that locks keep, and ask the index only for the others."""
    from colabkit.packages import wheelhouse

    names = {requirement.name for requirement in requirements}
    for lock in locks:
        folder, fetched = wheelhouse.fetch_kept(lock, names)
        names -= fetched
        if folder is not None:
            options = replace(options, find_links=(str(folder), *options.find_links))
    return options if names else replace(options, no_index=True)


def restart_if_needed(report: InstallReport, restart: Restart) -> InstallReport:
    """Restart the kernel in place where the report asks for it and it can be; else say why not."""
    if not report.stale or report.dry_run:
        return report
    for package in report.stale:
        warn("colabkit: %s", package)
    if restart == "never":
        warn("colabkit: restart the kernel before you use what was replaced: colabkit.detect().restart()")
        return report
    from colabkit.runtime import detect
    from colabkit.runtime import restart as kernel

    def is_headless() -> bool:
        return detect().frontend == "headless"

    cause = ", ".join(map(str, report.stale))
    refusal = kernel.refusal(cause=cause, is_headless=is_headless)
    if refusal is not None and kernel.is_in_a_cell():
        raise RestartError(
            f"{refusal.what}; the cells that follow do not run",
            why="; ".join(filter(None, (refusal.why, f"they would use the old packages: {cause}"))),
            hint=f'{refusal.hint}; restart="never" continues as it is',
        ) from None
    if refusal is not None:
        warn("colabkit: %s", refusal)
        return report
    if restart == "ask" and not (kernel.can_ask() and _says_yes()):
        warn("colabkit: kernel not restarted; restart it before you use what was replaced")
        return report
    kernel.restart(cause=cause, is_headless=is_headless)
    return report


def _says_yes() -> bool:
    return input("Restart the kernel in place and run this cell again? [y/N] ").strip().lower() in ("y", "yes")
