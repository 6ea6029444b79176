"""Where a run lives: the one reader of its address."""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.disk import working_dir
from colabkit._internal.disk.paths import path_text, refuse_slips
from colabkit._internal.log import warn
from colabkit.checkpoint import kaggle_run
from colabkit.config import RUNS_DIR, cache_dir
from colabkit.errors import AddressError
from colabkit.runtime import my_drive
from colabkit.storage import open_storage, scheme

if TYPE_CHECKING:
    from colabkit._types import StrPath
    from colabkit.checkpoint.kaggle_run import KaggleRun
    from colabkit.storage import Storage


_STAMPS = ("%Y%m%d%H%M", "%y%m%d%H%M", "%m%d%H%M", "%d%m%Y%H%M", "%d%m%y%H%M", "%d%m%H%M", "%b%d%H%M", "%d%b%Y%H%M")
"""Ways to write a date and a minute, without what stands between their numbers."""


@dataclass(frozen=True, kw_only=True)
class RunLocation:
    """A run's folder on this machine, and the storage that it is mirrored to.

    Attributes:
        folder: The folder.
        storage: The storage; None for a run that is only here.
        name: The last part of its address.
        earlier: The Kaggle notebook whose earlier version may have left the run; None for every other run.
    """

    folder: Path
    storage: Storage | None
    name: str
    earlier: KaggleRun | None = None


def resolve_location(where: StrPath, mirror: StrPath | Storage | None = None) -> RunLocation:
    """Read a run's address; nothing is written, and no server is asked.

    A run at an address that is no path works in a folder on the machine's own disk. What lies on a mounted Drive is
    treated the same: a training must not wait for a mount, nor end because of one.

    Args:
        where: A path, or the address of a storage.
        mirror: A storage for copies of a run whose address is a path.

    Raises:
        AddressError: It cannot be read.
        UnsupportedError: It cannot be opened here.
    """
    text = path_text(where)
    if not text.strip():
        raise AddressError(
            "the run has no address", why="it is empty", hint='name a folder, as in open_run("./runs/digits")'
        )
    if isinstance(where, str):
        refuse_slips(text)
    if isinstance(where, str) and text.startswith(kaggle_run.PREFIX):
        return _on_kaggle(kaggle_run.parse(text), mirror)
    is_address = bool(scheme(where))
    folder = Path(text) if is_address else working_dir.absolute(text)
    if not is_address:
        my_drive.refuse_unmounted(folder)
    if not is_address and (inside := _inside_drive(folder)) is not None:
        text, is_address = f"drive:{inside}", True
    if not is_address:
        return RunLocation(folder=folder, storage=None if mirror is None else open_storage(mirror), name=folder.name)
    if mirror is not None:
        raise AddressError(
            f"a run at {text} has its mirror there already",
            hint=f'drop mirror=, or choose a folder here and mirror="{text}"',
        )
    name = text.partition(":")[2].rstrip("/").rpartition("/")[2]
    storage = open_storage(text)
    if not name:
        example = "drive:runs" if text.rstrip("/").endswith(":") else text.rstrip("/")
        raise AddressError(f"{text} names no run", hint=f'add a name, as in open_run("{example}/digits")')
    # A folder that stands for Drive is a place of its own, and its run is not that of another one.
    place = storage.address if text.startswith("drive:") and not storage.address.startswith("drive:") else text
    return RunLocation(folder=_working_folder(place, name), storage=storage, name=name)


def tell_of_new(where: StrPath, place: RunLocation) -> None:
    """Say of a new run what no later process will find: a name that has the time in it, a disk that is thrown away.

    Args:
        where: What the user wrote.
        place: Where that is.
    """
    from colabkit.runtime import detect

    if _has_the_time(os.fspath(where), time.time()):
        warn(
            "%s has the time in its name, so each process opens a run of its own, and none goes on with a killed one. "
            'Give it a name that stays, as in open_run("./runs/digits")',
            where,
        )
    runtime = detect()
    kept = runtime.persistent_dir
    if runtime.ephemeral and place.storage is None and not (kept and place.folder.is_relative_to(kept)):
        name = f"{RUNS_DIR}/{place.name}"
        way = f'open_run("drive:{name}")' if runtime.host == "colab" else f'open_run(…, mirror="gs://BUCKET/{name}")'
        text = "the run %s is on this machine's own disk, which is thrown away when the session ends; %s outlives it"
        warn(text, place.name, way)


def _has_the_time(text: str, now: float) -> bool:
    """Say whether a name was made of the present minute: no one that a person has written has it."""
    digits = re.sub(r"[\W_a-z]|(?<=\d)T(?=\d)", "", text.rstrip("/").rpartition("/")[2])
    moments = [make(now - ago) for ago in (0, 60) for make in (time.localtime, time.gmtime)]
    stamps = {time.strftime(form, moment) for moment in moments for form in _STAMPS}
    stamps |= {str(int(now - ago))[:-2] for ago in (0, 60)}
    return any(re.sub(r"[a-z]", "", stamp) in digits for stamp in stamps)


def default_folder(name: str) -> str:
    """Choose where a run lives when the user named no place: what persists here, else the working folder.

    Args:
        name: The run's name.

    Returns:
        Its address.
    """
    from colabkit.runtime import detect

    runtime = detect()
    if runtime.host == "colab" and runtime.persistent_dir is not None:
        return f"drive:{RUNS_DIR}/{name}"
    if runtime.host == "colab":
        warn("Google Drive is not mounted, so this run is lost when the session ends; %s", my_drive.MOUNT)
    return str(working_dir.absolute(Path(RUNS_DIR, name)))


def _on_kaggle(run: KaggleRun, mirror: StrPath | Storage | None) -> RunLocation:
    from colabkit.runtime import detect

    runtime = detect()
    # On Kaggle what lies in the working folder becomes the output of this version; elsewhere it is a run like others.
    folder = runtime.work_dir / run.path if runtime.host == "kaggle" else _working_folder(str(run), run.path)
    storage = None if mirror is None else open_storage(mirror)
    return RunLocation(folder=folder, storage=storage, name=folder.name, earlier=run)


def _inside_drive(folder: Path) -> Path | None:
    from colabkit.runtime import detect

    runtime = detect()
    if runtime.host == "colab" and runtime.persistent_dir is not None and runtime.persistent_dir in folder.parents:
        return folder.relative_to(runtime.persistent_dir)
    return None


def _working_folder(address: str, name: str) -> Path:
    """Return a folder of this machine's own disk that belongs to this address alone."""
    from colabkit.runtime import detect

    runtime = detect()
    # On Colab it is where the file browser shows it; elsewhere the working folder may be one that persists and counts.
    base = runtime.work_dir / RUNS_DIR if runtime.host == "colab" else cache_dir() / "runs"
    readable = re.sub(r"[^\w.-]", "_", name)[:80]
    return base / f"{readable}-{hashlib.sha256(address.rstrip('/').encode()).hexdigest()[:8]}"
