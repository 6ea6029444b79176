"""The declarative set-up: what a notebook needs, written once, had by one call: `setup()`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from colabkit.errors import SetupFileError
from colabkit.packages._install import check_restart
from colabkit.setup_file import _clear_text, _sheet, _spec
from colabkit.setup_file._plan import Plan, Step, plan
from colabkit.setup_file._report import Setup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit._types import StrPath
    from colabkit.packages._install import Restart

__all__ = ["Plan", "Setup", "Step", "is_safe_to_show", "plan_setup", "setup"]


def is_safe_to_show(source: str) -> bool:
    """Say whether a text may stand in a file that is shared: no password, signature, cookie or token is seen in it.

    Example:
        >>> is_safe_to_show("https://me:1234@example.org/x")
        False
    """
    return not _clear_text.found_in(source)


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
    found = plan_setup(
        file,
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
            origin=found.spec.origin,
            steps=found.steps,
            data=found.places,
            packages=found.packages,
            address=found.spec.run,
            dry_run=True,
        )
    from colabkit.setup_file._act import act

    return act(found, restart)


def plan_setup(file: StrPath | None = None, **arguments: Any) -> Plan:
    """Say what `setup` would do; nothing is touched.

    Args:
        file: As for `setup`.
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
    base = None if sheet is None else _spec.read(sheet)
    return plan(_spec.from_arguments(base, given))


def _find(file: StrPath | None, *, given: bool) -> _sheet.Sheet | None:
    if file is not None:
        return _sheet.of_file(Path(file).expanduser())
    if given:
        return None
    sheet = _sheet.of_caller() or _sheet.in_folder(Path.cwd())
    if sheet is None:
        raise SetupFileError(
            "there is no set-up to read",
            why=f"this cell or script has no `# /// script` block, and {Path.cwd()} has no {_sheet.NAME}",
            do="write one with `colabkit setup --write`, or pass arguments: setup(packages=[…], data=…)",
        )
    return sheet
