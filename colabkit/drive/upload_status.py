"""uploaded(): the bytes are in Drive, or they are not yet, or nobody can tell."""

from __future__ import annotations

import json
import sys
import time
import unicodedata
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from colabkit._internal.disk import working_dir
from colabkit._internal.display.show import Shown
from colabkit._internal.process.proc import run_or_leave
from colabkit.drive.metadata import CannotAskError, DriveMetadata
from colabkit.drive.probe import MY_DRIVE
from colabkit.errors import AddressError, DriveError, DriveTimeoutError
from colabkit.runtime import mounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit._types import StrPath

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 10.0

# In a process of its own, since a stalled mount holds whoever reads it.
_HASH = """
import hashlib, json, os, sys
path = sys.argv[1]
def files():
    if os.path.isfile(path):
        yield path
    else:
        if not os.path.isdir(path):
            raise FileNotFoundError(2, "there is no such file or folder", path)
        for place, _, names in os.walk(path):
            for name in sorted(names):
                yield os.path.join(place, name)
try:
    for file in files():
        with open(file, "rb") as opened:
            digest = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            print(json.dumps([file, digest, os.fstat(opened.fileno()).st_size]), flush=True)
except OSError as error:
    sys.exit(error.strerror or str(error))
"""


@dataclass(frozen=True, kw_only=True, repr=False)
class Upload(Shown):
    """Whether bytes have reached Drive; true in an `if` only when that is proven.

    Attributes:
        path: The file or folder that was asked about.
        state: "arrived" when Drive itself shows the same checksum for each file; "pending" when Drive shows another
            version or none; "unknown" when Drive could not be asked.
        pending: The files that have not arrived; empty where it is not known.
        checked: How many files were compared.
        why: The evidence, or why there is none.
        do: The next step; "" when all has arrived.
        seconds: How long it took.
    """

    path: Path
    state: Literal["arrived", "pending", "unknown"]
    pending: tuple[str, ...] = ()
    checked: int = 0
    why: str
    do: str = ""
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return self.state == "arrived"

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        return {**asdict(self), "path": str(self.path), "pending": list(self.pending)}

    def __str__(self) -> str:
        text = f"{self.path}: {self.state}\nWhy: {self.why}"
        return f"{text}\nWhat to do: {self.do}" if self.do else text


@dataclass(frozen=True, kw_only=True)
class _File:
    name: str
    folder: tuple[str, ...]
    base: str
    md5: str
    size: int


def uploaded(path: StrPath, timeout: float = 60.0) -> Upload:
    """Find out whether a file, or all files of a folder, have reached Google Drive.

    The mount cannot tell: what is written looks finished at once, and DriveFS uploads it later without saying so. So
    Drive itself is asked, by its API with your credentials, for the checksum of what it has. Without credentials the
    answer is "unknown", never a guess.

    Args:
        path: A file or folder on a mounted Drive, below `MyDrive`.
        timeout: Seconds to wait for it to arrive.

    Returns:
        What is proven, which is true in an `if` when everything has arrived.

    Raises:
        AddressError: It is not on a mounted Drive.
        DriveTimeoutError: The mount did not give the bytes to compare in that time.
        DriveError: The mount failed, or there is no such file.

    Example:
        >>> uploaded("/tmp")
        Traceback (most recent call last):
            ...
        colabkit.errors.AddressError: /tmp is not on a mounted Drive
        Why: no Drive mount holds it
        What to do: mount Drive by drive.mount(), and name a file below its MyDrive
    """
    target, root = working_dir.absolute(path), _my_drive(path)
    begun = time.monotonic()
    until = begun + timeout

    def result(state: Literal["arrived", "pending", "unknown"], why: str, do: str = "", **more: Any) -> Upload:
        return Upload(path=target, state=state, why=why, do=do, seconds=time.monotonic() - begun, **more)

    if root is None:
        return result(
            "unknown", "it is not in My Drive, and shared drives are not asked for", "look at drive.google.com"
        )
    files = _hash(target, root, timeout)
    try:
        pending = _wait(DriveMetadata(until), files, until)
    except CannotAskError as error:
        return result("unknown", f"the mount does not tell, and {error}", _SIGN_IN)
    if pending:
        why = f"Drive shows no file of these bytes for {len(pending)} of {len(files)} after {timeout:g} s"
        names = tuple(file.name for file in pending)
        return result("pending", why, _WAIT, pending=names, checked=len(files))
    why = f"Drive shows the same md5 checksum and size for {len(files)} file{'' if len(files) == 1 else 's'}"
    return result("arrived", why, checked=len(files))


_SIGN_IN = (
    "in a cell, run: from google.colab import auth; auth.authenticate_user(); then ask again. "
    "drive.unmount() uploads everything and takes the word of Drive's own program"
)
_WAIT = "keep the session alive and ask again; drive.health() shows whether there is room and what the log says"


def _my_drive(path: StrPath) -> Path | None:
    """Return the folder MyDrive of the mount that holds a path, None where it is in another part of the mount."""
    absolute = working_dir.absolute(path)
    mount = mounts.holding(absolute, mounts.DRIVE)
    if mount is None or ".." in absolute.parts:
        raise AddressError(
            f"{path} is not on a mounted Drive",
            why="no Drive mount holds it" if mount is None else "it leaves the mount by ..",
            hint="mount Drive by drive.mount(), and name a file below its MyDrive",
        )
    parts = absolute.relative_to(mount.folder).parts
    return Path(mount.folder, parts[0]) if parts and parts[0] in MY_DRIVE else None


def _hash(target: Path, root: Path, timeout: float) -> list[_File]:
    done = run_or_leave([sys.executable, "-I", "-S", "-c", _HASH, str(target)], timeout=max(timeout, 1.0))
    if done.code is None:
        why = f"the mount did not give its bytes within {timeout:g} s"
        raise DriveTimeoutError(f"{target} cannot be compared", why=why, hint="look at drive.health(), and ask again")
    if not done.ok:
        do = "look at drive.health(); drive.mount() heals a dead mount"
        raise DriveError(f"{target} cannot be compared", why=done.err.strip(), hint=do)
    files = []
    for line in done.out.splitlines():
        path, md5, size = json.loads(line)
        inside = PurePosixPath(path).relative_to(root)
        files.append(_File(name=str(inside), folder=inside.parts[:-1], base=inside.name, md5=md5, size=size))
    return files


def _wait(
    cloud: DriveMetadata, files: list[_File], until: float, *, sleep: Callable[[float], None] = time.sleep
) -> list[_File]:
    """Ask until all have arrived or the time is over; return those that have not."""
    wait = _FIRST_WAIT
    while True:
        files = _missing(cloud, files)
        left = until - time.monotonic()
        if not files or left <= 0:
            return files
        sleep(min(wait, left))
        wait = min(wait * 2, _LONGEST_WAIT)


def _missing(cloud: DriveMetadata, files: list[_File]) -> list[_File]:
    """Return the files of which Drive has no copy with these very bytes."""
    missing = []
    for folder in dict.fromkeys(file.folder for file in files):
        in_folder = [file for file in files if file.folder == folder]
        names = {form for file in in_folder for form in _forms(file.base)}
        uploaded = {(stored.name, stored.md5, stored.size) for stored in cloud.files(folder, names)}
        missing += [
            file for file in in_folder if not any((form, file.md5, file.size) in uploaded for form in _forms(file.base))
        ]
    return missing


def _forms(name: str) -> tuple[str, ...]:
    """Return a name as it is and as Drive may have stored it."""
    return tuple(dict.fromkeys((name, unicodedata.normalize("NFC", name))))
