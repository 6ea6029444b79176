"""mount(): decide what must be done, then let google.colab do it, and tell what went wrong."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._internal.disk import working_dir
from colabkit._internal.disk.paths import path_text
from colabkit._internal.log import notify
from colabkit.drive import failures
from colabkit.drive import log as _log
from colabkit.drive.probe import PATIENCE, check_mount, force_unmount
from colabkit.errors import (
    DriveError,
    DriveTimeoutError,
    DriveUnansweredError,
    MountPointError,
    UnsupportedError,
)
from colabkit.runtime import base, detect, frontend, mounts, my_drive
from colabkit.runtime.frontend import rpc as frontend_rpc
from colabkit.runtime.hosts import colab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colabkit._types import StrPath
    from colabkit.runtime import Runtime

DEFAULT = colab.DRIVE

# google.colab writes the path into shell commands and into a list that is split at commas and colons.
_SAFE = re.compile(r"[\w./@%+=~-]+", re.ASCII)

stand_ins: list[Callable[..., Path]] = []
"""What makes a folder where Drive cannot be mounted, and says which; `colab_shim` puts it here."""


def mount(
    mountpoint: StrPath = DEFAULT,
    force_remount: bool = False,  # by position, too, as google.colab takes them
    timeout_ms: int = 120_000,
    readonly: bool = False,
) -> Path:
    """Mount your Google Drive; your files are in the folder `MyDrive` of what it returns.

    Stands in for `google.colab.drive.mount`. Where Drive is mounted and answers, nothing is asked and nothing done; a
    mount whose program has died is taken away and made anew. A working folder in it is left for that and entered again.

    Args:
        mountpoint: An empty or new folder, without spaces.
        force_remount: Mount anew even where Drive is mounted and answers.
        timeout_ms: Milliseconds for the user to allow the access, and for Drive to list its root folder; 1000 at least.
        readonly: Mount so that nothing can be changed.

    Returns:
        The mount point.

    Raises:
        MountPointError: The folder cannot be used, or Drive is mounted at another one.
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
        What to do: choose an empty folder inside an existing one, such as /content/drive
    """
    target = point(mountpoint)
    state, words = check_mount(target, timeout=1.0 if force_remount else PATIENCE)
    if state == "healthy" and not force_remount:
        _tell_mode(target, readonly=readonly)
        return target
    if state == "foreign":
        raise _unusable(target, words)
    if state == "stalled" and not force_remount:
        raise DriveTimeoutError(
            f"Drive is mounted at {target} and does not answer",
            why=words,
            hint="wait a while; if that does not help, drive.mount(force_remount=True) restarts Drive's program",
        )
    try:
        _check_runtime(detect(), target)
    except UnsupportedError:
        if not stand_ins:
            raise
        return stand_ins[-1](target, readonly=readonly)
    _check_asker(target)
    _check_others(target)
    if state == "dead":
        notify("Drive at %s is dead (%s): mounting it again.", target, words)
    with _stepped_out(target):
        if state != "absent":
            force_unmount(target)
        _check_folder(target)
        # google.colab rounds to seconds and takes none for "for ever"
        _mount(target, timeout_ms=max(int(timeout_ms), 1000), readonly=readonly)
    return target


def point(mountpoint: StrPath) -> Path:
    """Check the words of a mount point; nothing is touched.

    Raises:
        MountPointError: It is relative, or holds what google.colab cannot take.
    """
    try:
        text = str(Path(mountpoint).expanduser()) if path_text(mountpoint) else ""
    except RuntimeError:  # "~somebody", of whom this machine has no home
        text = os.fspath(mountpoint)
    if not text.startswith("/"):
        raise _unusable(text, "the path is relative" if text else "the path is empty")
    if wrong := _SAFE.sub("", text):
        name = {" ": "a space", "\n": "a line break", "\t": "a tab"}.get(wrong[0], repr(wrong[0]))
        raise _unusable(text, f"the path holds {name}")
    return Path(os.path.normpath(text))


def _unusable(target: StrPath, why: str, hint: str = "") -> MountPointError:
    return MountPointError(
        f"Drive cannot be mounted at {os.fspath(target)!r}",
        why=why,
        hint=hint or "choose an empty folder inside an existing one, such as /content/drive",
    )


@contextlib.contextmanager
def _stepped_out(target: Path) -> Iterator[None]:
    """Leave the mount while it is made anew, and go back to the same folder; what stands in it would fail with it."""
    folder = _folder_below(target)
    if folder is None:
        yield
        return
    outside = next(folder for folder in (*target.parents, Path("/")) if folder.is_dir())
    os.chdir(outside)
    try:
        yield
    except BaseException:
        notify("The working folder was %s, and is %s now.", folder, outside)
        raise
    try:
        os.chdir(folder)
    except OSError as error:
        why = error.strerror or error
        notify("The working folder was %s, which cannot be entered (%s); it is %s now.", folder, why, outside)
    else:
        notify("The working folder %s was left for the mount, and entered again.", folder)


def _folder_below(target: Path) -> Path | None:
    """Return the working folder if it lies in the mount, or did before somebody took the mount away."""
    visited = getattr(frontend.running_shell(), "user_ns", {}).get("_dh") or ["/"]
    candidates = [working_dir.current(), *([Path(visited[-1])] if working_dir.is_gone() else [])]
    return next((candidate for candidate in candidates if candidate.is_relative_to(target)), None)


def _check_others(target: Path) -> None:
    """Refuse a second mount point while the first one is well: Colab runs one Drive program, and would end it."""
    root = config.machine_root()
    for mount in mounts.table():
        other = Path(mount.folder)
        if mount.kind != mounts.DRIVE or other == target or not other.is_relative_to(root):
            continue
        state, words = check_mount(other)
        if state == "dead":
            notify("Drive at %s is dead (%s): unmounting it.", other, words)
            force_unmount(other)
        elif state == "healthy":
            raise MountPointError(
                f"Drive cannot be mounted at {str(target)!r} as well",
                why=f"it is mounted at {other}, and Colab runs one program for Drive: a second mount would end it",
                hint=f"use {other}, or call drive.unmount({str(other)!r}) first",
            )


def _check_folder(target: Path) -> None:
    """Look at a folder at which nothing is mounted."""
    if target.is_symlink():
        raise _unusable(target, "it is a symbolic link")
    if target.is_dir():
        with os.scandir(target) as entries:
            if (first := next(entries, None)) is not None:
                raise _unusable(
                    target,
                    f"it holds files ({first.name!r} is one), which are on this machine alone",
                    f"move them away, and mount again: !mv {target} {target}-before",
                )
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
        why=f"this is {runtime.name}; only Google Colab mounts Drive",
        hint=f"{instead}, or fetch a file by its Drive link",
    )


def _check_asker(target: Path) -> None:
    """Refuse at once where the question for access would reach nobody."""
    what = f"Drive was not mounted at {target}"
    shell = frontend.running_shell()
    if not frontend_rpc.is_kernel(shell):
        raise DriveUnansweredError(
            what,
            why="this is a process beside the notebook, and only the notebook's own kernel can ask for access",
            hint=my_drive.MOUNT,
        )
    if not frontend_rpc.may_ask():
        raise DriveUnansweredError(
            what,
            why="this is a thread, and requests from two threads lose each other's answers",
            hint="call drive.mount() in a cell, before the thread starts",
        )
    if not frontend.allows_stdin(shell.kernel):
        raise DriveUnansweredError(
            what,
            why="nobody watches this run, so nobody can allow the access",
            hint="run the notebook in a browser, in VS Code or by the colab command, or keep files elsewhere",
        )


def _mount(target: Path, *, timeout_ms: int, readonly: bool) -> None:
    home = base.here().home
    try:
        from google.colab import drive as colab_drive
    except ImportError as error:
        raise UnsupportedError(
            f"Drive was not mounted at {target}", why=f"google.colab cannot be imported ({error})", hint=failures.AGAIN
        ) from error
    before, begun = _log.end_of(home), time.monotonic()
    options: dict[str, Any] = {"readonly": True} if readonly else {}
    try:
        with frontend_rpc.lock:
            colab_drive.mount(str(target), force_remount=True, timeout_ms=timeout_ms, **options)
    except Exception as error:  # google.colab raises ValueError, pexpect's and its message's errors
        has_ended = time.monotonic() - begun < timeout_ms / 1000
        log = _log.read(home, since=before)
        raise failures.translate(error, target, log=log, has_ended=has_ended) from error
    state, words = check_mount(target)
    if state != "healthy":
        why = "; ".join(filter(None, (words, _log.quoted(_log.read(home, since=before)))))
        raise DriveError(f"Drive was mounted at {target} and is not healthy", why=why, hint=failures.AGAIN)


def _tell_mode(target: Path, *, readonly: bool) -> None:
    mount = mounts.find(target)
    if mount is not None and ("ro" in mount.options) != readonly:
        now = "can be read only" if "ro" in mount.options else "can be written to"
        notify("Drive at %s stays as it is and %s; force_remount=True changes that.", target, now)
