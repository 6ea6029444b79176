"""mount(): decide what must be done, then let google.colab do it, and tell what went wrong."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._tools.log import say
from colabkit.drive import _failures, _log
from colabkit.drive._look import PATIENCE, look, take_away
from colabkit.errors import (
    DriveError,
    DriveTimeoutError,
    DriveUnansweredError,
    MountPointError,
    UnsupportedError,
)
from colabkit.runtime import _colab, base, colab_requests, detect, frontend, mounts, my_drive

if TYPE_CHECKING:
    from colabkit._types import StrPath
    from colabkit.runtime import Runtime

DEFAULT = _colab.DRIVE

# google.colab writes the path into shell commands and into a list that is split at commas and colons.
_SAFE = re.compile(r"[\w./@%+=~-]+", re.ASCII)


def mount(
    mountpoint: StrPath = DEFAULT,
    *,
    force_remount: bool = False,
    timeout_ms: int = 120_000,
    readonly: bool = False,
) -> Path:
    """Mount your Google Drive; your files are in the folder `MyDrive` of what it returns.

    Stands in for `google.colab.drive.mount`. Where Drive is mounted and answers, nothing is asked and nothing done; a
    mount whose program has died is taken away and made anew.

    Args:
        mountpoint: An empty or new folder, without spaces.
        force_remount: Mount anew even where Drive is mounted and answers.
        timeout_ms: Milliseconds for the user to allow the access, and for Drive to list its root folder.
        readonly: Mount so that nothing can be changed.

    Returns:
        The mount point.

    Raises:
        MountPointError: The folder cannot be used.
        UnsupportedError: This is not Colab; the message names the runtime and what to use instead.
        DriveConsentError: The access was refused.
        DriveUnansweredError: Nobody can be asked, or nobody answered.
        DrivePolicyError: The account's organisation forbids it.
        DriveTimeoutError: The root folder is crowded, or a mount that exists does not answer.
        DriveQuotaError: A quota is used up.
        DriveStoppedError: Drive's program ended; its log is quoted.
        DriveError: Anything else, and the root of those above but UnsupportedError.

    Example:
        >>> import colabkit as ck
        >>> ck.drive.mount("/content/my drive")
        Traceback (most recent call last):
            ...
        colabkit.errors.MountPointError: Drive cannot be mounted at '/content/my drive'
        Why: the path holds a space
        What to do: choose an empty folder in one that exists, as /content/drive
    """
    target = point(mountpoint)
    state, words = look(target, timeout=1.0 if force_remount else PATIENCE)
    if state == "healthy" and not force_remount:
        _tell_mode(target, readonly=readonly)
        return target
    if state == "foreign":
        raise _unusable(target, words)
    if state == "stalled" and not force_remount:
        raise DriveTimeoutError(
            f"Drive is mounted at {target} and does not answer",
            why=words,
            do="wait a while; if it stays so, drive.mount(force_remount=True) starts Drive's program anew",
        )
    _check_runtime(detect(), target)
    _check_asker(target)
    if state == "dead":
        say("Drive at %s is dead (%s): mounting it anew.", target, words)
    if state != "absent":
        take_away(target)
    _check_folder(target)
    _mount(target, timeout_ms=timeout_ms, readonly=readonly)
    return target


def point(mountpoint: StrPath) -> Path:
    """Check the words of a mount point; nothing is touched.

    Raises:
        MountPointError: It is relative, or holds what google.colab cannot take.
    """
    try:
        text = str(Path(mountpoint).expanduser()) if os.fspath(mountpoint) else ""
    except RuntimeError:  # "~somebody", of whom this machine has no home
        text = os.fspath(mountpoint)
    if not text.startswith("/"):
        raise _unusable(text, "the path is relative" if text else "the path is empty")
    if wrong := _SAFE.sub("", text):
        name = {" ": "a space", "\n": "a line break", "\t": "a tab"}.get(wrong[0], repr(wrong[0]))
        raise _unusable(text, f"the path holds {name}")
    return Path(os.path.normpath(text))


def _unusable(target: StrPath, why: str) -> MountPointError:
    return MountPointError(
        f"Drive cannot be mounted at {os.fspath(target)!r}",
        why=why,
        do="choose an empty folder in one that exists, as /content/drive",
    )


def _check_folder(target: Path) -> None:
    """Look at a folder at which nothing is mounted."""
    if target.is_symlink():
        raise _unusable(target, "it is a symbolic link")
    if target.is_dir():
        with os.scandir(target) as entries:
            if (first := next(entries, None)) is not None:
                raise _unusable(target, f"it holds files ({first.name!r} is one)")
    elif target.exists():
        raise _unusable(target, "it is a file")
    if not target.parent.is_dir():
        raise _unusable(target, f"there is no folder {str(target.parent)!r}")


def _check_runtime(runtime: Runtime, target: Path) -> None:
    if runtime.host == "colab":
        return
    instead = "use a folder of this machine"
    if runtime.host == "colab_enterprise":
        instead = "keep files in Cloud Storage (gs://)"
    elif runtime.persistent_dir is not None:
        instead = f"keep files in {runtime.persistent_dir}, which lasts here"
    raise UnsupportedError(
        f"Drive cannot be mounted at {target}",
        why=f"this is {runtime.name}; Drive is mounted by Google Colab alone",
        do=f"{instead}, or fetch a file by its Drive link",
    )


def _check_asker(target: Path) -> None:
    """Refuse at once where the question for access would reach nobody."""
    what = f"Drive was not mounted at {target}"
    shell = base.running_shell()
    if not colab_requests.is_kernel(shell):
        raise DriveUnansweredError(
            what,
            why="this is a process beside the notebook, and only the notebook's own kernel can ask for access",
            do=my_drive.MOUNT,
        )
    if not colab_requests.may_ask():
        raise DriveUnansweredError(
            what,
            why="this is a thread, and requests of two threads lose each other's answers",
            do="call drive.mount() in a cell, before the thread starts",
        )
    if not frontend.allows_stdin(shell.kernel):
        raise DriveUnansweredError(
            what,
            why="nobody watches this run, so nobody can allow the access",
            do="run the notebook in a browser, in VS Code or by the colab command, or keep files elsewhere",
        )


def _mount(target: Path, *, timeout_ms: int, readonly: bool) -> None:
    home = base.here().home
    try:
        from google.colab import drive as colab_drive
    except ImportError as error:
        raise UnsupportedError(
            f"Drive was not mounted at {target}", why=f"google.colab cannot be imported ({error})", do=_failures.AGAIN
        ) from error
    before, begun = _log.end_of(home), time.monotonic()
    options: dict[str, Any] = {"readonly": True} if readonly else {}
    try:
        with colab_requests.lock:
            colab_drive.mount(str(target), force_remount=True, timeout_ms=timeout_ms, **options)
    except Exception as error:
        answered = time.monotonic() - begun < timeout_ms / 1000
        log = _log.read(home, since=before)
        raise _failures.translate(error, target, log=log, answered=answered) from error
    state, words = look(target)
    if state != "healthy":
        why = "; ".join(filter(None, (words, _log.quoted(_log.read(home, since=before)))))
        raise DriveError(f"Drive was mounted at {target} and is not healthy", why=why, do=_failures.AGAIN)


def _tell_mode(target: Path, *, readonly: bool) -> None:
    mount = mounts.find(target)
    if mount is not None and ("ro" in mount.options) != readonly:
        now = "can be read only" if "ro" in mount.options else "can be written to"
        say("Drive at %s stays as it is and %s; force_remount=True changes that.", target, now)
