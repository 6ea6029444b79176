"""A run that goes from one version of a Kaggle notebook to the next: `open_run("kaggle:me/my-notebook/runs/digits")`.

A Kaggle session keeps /kaggle/working as the output of its version, and forgets it otherwise. So the run works in that
folder, and the next version begins with what the last one left: attached as input, or fetched.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import atomic_write, map_os_errors
from colabkit._internal.log import notify
from colabkit.checkpoint.format import naming
from colabkit.errors import AccessError, AddressError, NotFoundError, OfflineError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "kaggle:"
INPUT = Path("/kaggle/input")
_LOOKED_AT = 6
"""Versions that are looked at: those that failed, or were stopped, may have left nothing."""

_EXPECTED = 'write it as open_run("kaggle:OWNER/NOTEBOOK/runs/NAME")'


@dataclass(frozen=True, kw_only=True)
class KaggleRun:
    """A run below the output of a notebook.

    Attributes:
        owner: Whose notebook it is.
        notebook: The last part of the notebook's address.
        path: Where the run lies in its output.
    """

    owner: str
    notebook: str
    path: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.owner}/{self.notebook}/{self.path}"


def parse(text: str) -> KaggleRun:
    """Read the address of a run in a notebook's output.

    Raises:
        AddressError: It is none.

    Example:
        >>> parse("kaggle:ada/digits-notebook/runs/digits").path
        'runs/digits'
    """
    parts = text.removeprefix(PREFIX).strip("/").split("/")
    if parts[0] == "code":
        del parts[0]
    if len(parts) < 3 or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise AddressError(f"cannot read the run {text[:200]!r}", why="it names no run in a notebook", hint=_EXPECTED)
    return KaggleRun(owner=parts[0], notebook=parts[1], path=str(PurePosixPath(*parts[2:])))


def copy_earlier_version(run: KaggleRun, folder: Path, inputs: Path = INPUT) -> bool:
    """Put what an earlier version of the notebook left into a folder that has no checkpoint yet.

    Args:
        run: The run.
        folder: Its folder in this session.
        inputs: Where Kaggle shows attached data.

    Returns:
        Whether an earlier version had the run.

    Raises:
        AccessError: Kaggle asks for a login, so nobody knows whether there is an earlier version.
        OfflineError: The session has no internet, and nothing is attached.
    """
    if any((folder / naming.FOLDER).glob("*")):
        return False
    earlier = next((place / run.path for place in _attached(run, inputs) if _holds(place, run)), None)
    if earlier is None and (output := _fetched(run)) is not None:
        earlier = output / run.path
    if earlier is None:
        notify("%s begins: no earlier version of the notebook has left this run in its output", run)
        return False
    for path in sorted(earlier.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != "lock":
            _copy(path, folder / path.relative_to(earlier))
    notify("%s continues from the output of an earlier version of the notebook, in %s", run, earlier)
    return True


def _attached(run: KaggleRun, inputs: Path) -> Iterable[Path]:
    # The folders in which Kaggle shows a notebook's output; newer sessions name the owner, too.
    return (inputs / "notebooks" / run.owner / run.notebook, inputs / run.notebook)


def _holds(output: Path, run: KaggleRun) -> bool:
    return (output / run.path / naming.FOLDER).is_dir()


def _fetched(run: KaggleRun) -> Path | None:
    """Fetch the newest output that holds the run: that of a version that failed, or that runs now, may lack it."""
    hint = f"attach the output of {run.owner}/{run.notebook} to this notebook (Add Input, Your Work)"
    try:
        return _newest_output(run)
    except (OfflineError, UnreachableError) as error:
        raise OfflineError(
            f"cannot tell whether {run} has an earlier version", why=error.what, hint=f"{hint}, or turn internet on"
        ) from error
    except AccessError as error:
        raise AccessError(
            f"cannot tell whether {run} has an earlier version", why=error.what, hint=f"{hint}, or log in to Kaggle"
        ) from error


def _newest_output(run: KaggleRun) -> Path | None:
    from colabkit._clients.kaggle import KaggleApi
    from colabkit._clients.kaggle import requests as kaggle_requests
    from colabkit._clients.kaggle.handle import parse
    from colabkit.transfer import fetch

    address = f"kaggle:code/{run.owner}/{run.notebook}"
    with contextlib.suppress(NotFoundError):
        output = fetch(address)
        if _holds(output, run):
            return output
    try:
        handle = parse(address)
        request = kaggle_requests.about(handle)
        newest = kaggle_requests.newest(handle, request, KaggleApi(handle).call(request).value()) or 0
    except NotFoundError:
        return None  # there is no such notebook yet
    for version in range(newest, max(0, newest - _LOOKED_AT), -1):
        with contextlib.suppress(NotFoundError):
            output = fetch(f"{address}/{version}")
            if _holds(output, run):
                notify("%s: the newest version of the notebook left no state of it, version %d did", run, version)
                return output
    return None


def _copy(source: Path, target: Path) -> None:
    with map_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file, source.open("rb") as origin:
        shutil.copyfileobj(origin, file)
