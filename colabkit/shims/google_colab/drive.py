"""google.colab.drive: a folder in the place of Drive, with the user's files where somebody is signed in to Google."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._clients import gdrive
from colabkit._internal.disk.files import map_os_errors
from colabkit._internal.log import notify
from colabkit._internal.process.threads import start_thread
from colabkit.errors import BusyError, ColabKitError, TransferError
from colabkit.runtime import frontend, my_drive
from colabkit.shims import callers, named_places, paths

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable

    from colabkit._clients.gdrive import DriveAccount
    from colabkit.shims.drive_files import DriveFiles

__all__ = ["flush_and_unmount", "mount"]

_LINK = "My Drive"
"""What notebooks of older years call MyDrive."""

_mounted: dict[Path, tuple[DriveFiles, ...]] = {}
"""The folders that stand for Drive: My Drive and the shared drives; none where nothing of Drive can be had."""


def mount(mountpoint: str, force_remount: bool = False, timeout_ms: int = 120_000, readonly: bool = False) -> None:
    """Make the folder with `MyDrive` in it, and bring the files of Drive that cells name, by Drive's interface.

    Where nobody is signed in to Google, or Drive does not answer in time, nothing of Drive is in it, which is said.
    """
    folder = paths.stand_in(Path(mountpoint))
    if " " in str(mountpoint):
        raise ValueError("Mountpoint must not contain a space.")
    if folder in _mounted and not force_remount:
        print(f"Drive already mounted at {folder}; to attempt to forcibly remount, call with force_remount=True.")  # noqa: T201
        return
    if folder in _mounted:
        _send(again=True)
        del _mounted[folder]
    make_folder(folder, seconds=timeout_ms / 1000, readonly=readonly)


def mounted() -> dict[str, bool]:
    """Return the folders that stand for Drive, each with whether nothing goes back from it."""
    return {str(mountpoint): any(files.readonly for files in both) for mountpoint, both in _mounted.items()}


def make_folder(mountpoint: Path, *, quiet: bool = False, seconds: float = 120.0, readonly: bool = False) -> Path:
    """Make the folder, say what it is, and return it; once the modules are given, `ck.drive.mount` does so, too.

    Args:
        mountpoint: The folder.
        quiet: Do not say what it is.
        seconds: How long Drive may take for its first answer.
        readonly: Send nothing to Drive.

    Raises:
        NotWritableError: It cannot be made there.
    """
    mountpoint = paths.stand_in(mountpoint)
    top = mountpoint / "MyDrive"
    with map_os_errors(mountpoint):
        paths.mark(mountpoint)
        top.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(mountpoint / _LINK):
            (mountpoint / _LINK).symlink_to(top.name)
    if mountpoint in _mounted:
        return mountpoint
    account, why = _signed_in(seconds)
    if top not in my_drive.stand_ins:
        my_drive.stand_ins.append(top)
    if account is None:
        _mounted[mountpoint] = ()
        if not quiet:
            _tell_that_it_is_empty(mountpoint, why)
        return mountpoint
    from colabkit.shims.drive_files import DriveFiles

    both = _mounted[mountpoint] = (
        DriveFiles(top, account, readonly=readonly),
        DriveFiles(mountpoint / "Shareddrives", account, readonly=readonly, shared=True),
    )
    if not quiet:
        back = "nothing is sent back" if readonly else "what is written there goes back when a cell has ended"
        what = "the files that cells name below MyDrive and Shareddrives come by Drive's interface"
        print(f"Drive at {mountpoint}: {what}; {back}.")  # noqa: T201
    for files in both:
        if waiting := files.waiting():
            notify("not on your Drive yet, from before: %d files in %s; they are sent now", len(waiting), files.top)
            files.send()
    _follow_cells()
    _bring(_code_so_far())
    return mountpoint


def flush_and_unmount(timeout_ms: int = 86_400_000) -> None:
    """Send what is not on Drive yet, and forget the folder; its files stay.

    Raises:
        TransferError: Files are left; the folder is not forgotten.
    """
    del timeout_ms
    if not _mounted:
        print("Drive not mounted, so nothing to flush and unmount.")  # noqa: T201 - the real one's words
    if (error := _send(again=True)) is not None:
        raise TransferError(
            "not all files are on your Drive", why=error.what, hint="mend that, then call it again; they stay here"
        ) from error
    _mounted.clear()
    my_drive.stand_ins.clear()


def _tell_that_it_is_empty(mountpoint: Path, why: str) -> None:
    reason = f" ({why})" if why else ""
    print(  # noqa: T201 - as the real one
        f"Drive cannot be mounted here{reason}: {mountpoint} is a folder of this machine, without your Drive's files.\n"
        'Bring them by ck.fetch("drive:FOLDER/FILE"), and send results by ck.push(FILE, "drive:FOLDER"), once you are\n'
        f"signed in; until then both take this folder. To sign in, {gdrive.SIGN_IN_TO_WRITE}"
    )


def _signed_in(seconds: float) -> tuple[DriveAccount | None, str]:
    """Return the account that Drive answers to, or why there is none; "" where nobody is signed in."""
    answers: list[tuple[DriveAccount | None, str]] = []

    def look() -> None:
        try:
            account = gdrive.account()
            if account is not None:
                with contextlib.suppress(BusyError):  # which passes
                    account.child("root", "MyDrive")  # any question: whether it is answered is what counts
            answers.append((account, ""))
        except ColabKitError as error:
            answers.append((None, " - ".join(filter(None, (error.what, error.why)))))

    thread = start_thread(look, name="colabkit-drive")
    if thread is None:
        look()
    else:
        thread.join(seconds)
    return answers[0] if answers else (None, f"Drive does not answer within {seconds:g} s")


def _code_so_far() -> list[ast.AST]:
    """Return the code that calls, and that of the cells before it."""
    main = sys.modules["__main__"].__dict__
    cells = main.get("In")
    files = {frame.f_code.co_filename for frame in callers.frames() if frame.f_globals is main}
    before = [callers.parsed_text(cell) for cell in cells if isinstance(cell, str)] if isinstance(cells, list) else []
    return [*before, *map(callers.parsed, files)]


def _bring(code: Iterable[ast.AST]) -> None:
    variables = sys.modules["__main__"].__dict__
    trees = list(code)
    for files in _all_files():
        tops = [files.top, *([files.top.with_name(_LINK)] if files.top.name == "MyDrive" else [])]
        files.bring(
            {place for tree in trees for top in tops for place in named_places.places_in(tree, str(top), variables)}
        )


def _send(*, again: bool = False) -> ColabKitError | None:
    errors = [files.send(again=again) for files in _all_files()]
    return next(filter(None, errors), None)


def _all_files() -> list[DriveFiles]:
    return [files for both in _mounted.values() for files in both]


class _Cells:
    """Reads each cell before it runs, as a transformer of its tree, and sends what it has written."""

    def visit(self, tree: ast.AST) -> ast.AST:
        """Bring what the cell names; the cell stays as it is."""
        _bring([tree])
        return tree

    def ended(self, _: Any) -> None:
        """Send what is new; Ctrl-C leaves it for the next time."""
        with contextlib.suppress(KeyboardInterrupt):
            _send()


def _follow_cells() -> None:
    """Look at each cell from now on, once in a process; without cells, the end of the process sends."""
    shell = frontend.running_shell()
    if shell is not None and not any(isinstance(each, _Cells) for each in shell.ast_transformers):
        cells = _Cells()
        shell.ast_transformers.append(cells)
        shell.events.register("post_run_cell", cells.ended)
    if os.getpid() not in _at_exit:
        _at_exit.add(os.getpid())
        atexit.register(_send_at_exit, os.getpid())


_at_exit: set[int] = set()


def _send_at_exit(process: int) -> None:
    if os.getpid() == process:  # no child that was forked
        _send()
