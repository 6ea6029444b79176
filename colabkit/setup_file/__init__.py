"""The declarative set-up: what a notebook needs, written once, had by one call: `setup()`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from colabkit._internal.disk import working_dir
from colabkit._internal.disk.paths import expand
from colabkit._internal.hidden_locals import hides_locals
from colabkit.errors import SetupFileError
from colabkit.packages.installation import check_restart
from colabkit.setup_file import clear_text, manifest, spec
from colabkit.setup_file.plan import Plan, plan
from colabkit.setup_file.report import Setup
from colabkit.setup_file.step import Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit._types import StrPath
    from colabkit.packages.installation import Restart

__all__ = ["Plan", "Setup", "Step", "is_safe_to_show", "plan_setup", "setup"]


def is_safe_to_show(source: str) -> bool:
    """Say whether a text may stand in a file that is shared: no password, signature, cookie or token is seen in it.

    Example:
        >>> is_safe_to_show("https://me:1234@example.org/x")
        False
    """
    return not clear_text.secret_in(source)


@hides_locals
def setup(
    file: StrPath | None = None,
    *,
    packages: str | Sequence[str] | None = None,
    lock: StrPath | None = None,
    secrets: str | Sequence[str] | None = None,
    drive: bool | None = None,
    data: str | Sequence[str] | Mapping[str, str | Mapping[str, Any]] | None = None,
    accelerator: Literal["gpu", "tpu", "any"] | None = None,
    run: StrPath | None = None,
    restart: Restart = "auto",
    trusted: bool = False,
    dry_run: bool = False,
) -> Setup:
    """Make everything ready that a notebook needs, as a file, a block of the calling cell or arguments say.

    Shows the plan, installs packages while public data comes in, restarts the kernel in place if it must and goes on.
    A second call finds everything there and takes milliseconds.

    Args:
        file: A `colabkit.toml`, or a script or notebook with a `# /// script` block (PEP 723). Without it the block of
            the calling cell or script is read, else the `colabkit.toml` of the working folder; with arguments
            and no file only they count.
        packages: Requirements, as for `install`.
        lock: A lock file: restored where it exists, written where it does not.
        secrets: Names of secrets that must be there; one that nobody has is asked for.
        drive: Whether Google Drive must be mounted.
        data: Sources, as for `fetch`; a mapping gives them names.
        accelerator: What to train on. A runtime cannot change it, so it is only told if it is missing.
        run: Where the run lives, as for `open_run`.
        restart: As for `install`.
        trusted: Let the file name direct addresses of packages, whose code runs here, files outside its folder, and
            links that lead out of it. Arguments, and a block of the calling cell, may always.
        dry_run: Say what would be done, and touch nothing.

    Returns:
        Each step with its state, the paths of the data, and the run.

    Raises:
        SetupFileError: The set-up cannot be read, is for another Python, or there is none.
        ColabKitError: A step failed; the others were done all the same, and what else failed is in its notes.

    Example:
        >>> ready = setup(packages=["packaging"])
        >>> ready.complete
        True
    """
    check_restart(restart)
    planned = plan_setup(
        file,
        trusted=trusted,
        packages=packages,
        lock=lock,
        secrets=secrets,
        drive=drive,
        data=data,
        accelerator=accelerator,
        run=run,
    )
    if dry_run:
        return Setup(
            origin=planned.spec.origin,
            steps=planned.steps,
            data=planned.places,
            packages=planned.packages,
            address=planned.spec.run,
            dry_run=True,
        )
    from colabkit.setup_file.executor import act

    return act(planned, restart)


@hides_locals
def plan_setup(file: StrPath | None = None, *, trusted: bool = False, **arguments: Any) -> Plan:
    """Say what `setup` would do; nothing is touched.

    Args:
        file: As for `setup`.
        trusted: As for `setup`.
        arguments: As for `setup`.

    Returns:
        The plan; `print` shows it as a page.

    Raises:
        SetupFileError: As for `setup`.

    Example:
        >>> [step.state for step in plan_setup(packages=["packaging"]).steps]
        ['ready']
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    sheet = _find(file, given=bool(given))
    if sheet is not None and trusted:
        sheet = replace(sheet, is_trusted=True)
    base = None if sheet is None else spec.read(sheet)
    return plan(spec.from_arguments(base, given))


def _find(file: StrPath | None, *, given: bool) -> manifest.Document | None:
    if file is not None:
        return manifest.of_file(expand(file))
    if given:
        return None
    sheet = manifest.of_caller() or manifest.in_folder(working_dir.current())
    if sheet is None:
        raise SetupFileError(
            "there is no set-up to read",
            why=f"this cell or script has no `# /// script` block, and {working_dir.current()} has no {manifest.NAME}"
            + (", as that folder is gone" if working_dir.is_gone() else ""),
            hint="write one with `colabkit setup --write`, or pass arguments: setup(packages=[…], data=…)",
        )
    return sheet
