"""lock(): what is installed, as a plain requirements file that pip reads without us."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._internal.disk.files import write_text
from colabkit._internal.disk.paths import expand
from colabkit._internal.foreign import reading
from colabkit._internal.hidden_locals import hides_locals
from colabkit._internal.log import notify
from colabkit._version import DISTRIBUTION
from colabkit.errors import AddressError, InstallError, RequirementError
from colabkit.packages import wheelhouse
from colabkit.packages.constraints import KERNEL_STACK
from colabkit.packages.environment import Environment
from colabkit.packages.installers.request import Failure
from colabkit.packages.request.requirement import normal
from colabkit.packages.request.requirements_file import FILE_SUFFIXES, comments, masked
from colabkit.runtime import detect, my_drive
from colabkit.storage import open_storage, scheme

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.packages.environment import Installed
    from colabkit.runtime.report import Runtime

_TITLE = "colabkit lock 1"
_LONGEST = 800  # characters of an installer's words


@hides_locals
def lock(path: StrPath = "requirements.lock", wheels: StrPath | None = None) -> Path:
    r"""Write every installed package with its version into a plain requirements file.

    The header names the Python, the platform and the image; `install(path)` restores the packages and says what
    differs, and `pip install -r` reads the file as well.

    Args:
        path: Where to write; an existing file is replaced. `drive:env/lock.txt` and `gs://…` outlive this machine.
        wheels: Where the packages' wheels are kept, so that `install(path)` needs no index: a folder, `drive:wheels`
            or `gs://…`. On a machine that is lent those are what this session installed; the image has the rest.

    Returns:
        The path, of this machine's copy where it is written into a storage.

    Raises:
        NotWritableError: The folder refuses to be written.
        StorageError: The storage does not take the lock or a wheel.
        InstallError: A wheel cannot be fetched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock(folder + "/requirements.lock").read_text().partition("\n")[0]
        '# colabkit lock 1'
    """
    target = here(path, write=True)
    header = [_TITLE, *(f"{key}: {value}" for key, value in _here().items())]
    header.append(f'restore with colabkit.install("{target.name}") or pip install -r {target.name}')
    if wheels is not None:
        header.append(f"{wheelhouse.HEADER}{_as_written(wheels, target)}")
    site = sorted(Environment(), key=lambda distribution: distribution.name)
    kept = _keep(site, wheels) if wheels is not None else []
    names = {wheel.name for wheel in kept}
    lines = [f"# {line}" for line in header]
    lines += [
        f"{distribution.name}=={distribution.version}" if distribution.name in names else _line(distribution)
        for distribution in site
    ]
    lines += [wheel.line for wheel in kept]
    write_text(target, "\n".join(lines) + "\n")
    if target != expand(path):
        folder, name = _parts(str(path))
        open_storage(folder).put(name, target)
    return target


def here(path: StrPath, *, write: bool = False) -> Path:
    """Return the path of a lock on this machine; one in a storage is brought here.

    Args:
        path: A path, or an address of a storage that ends in the lock's name.
        write: It is about to be written.

    Raises:
        NotFoundError: There is none in the storage.
        StorageError: The storage does not answer.
    """
    if not is_stored(path):
        target = expand(path)
        if write:
            my_drive.refuse_unmounted(target)
        return target
    folder, name = _parts(str(path))
    target = config.cache_dir() / "locks" / hashlib.sha256(folder.encode()).hexdigest()[:12] / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not write:
        open_storage(folder).get(name, target)
    return target


def is_stored(path: object) -> bool:
    """Say whether a lock or a requirements file lies in a storage.

    Example:
        >>> is_stored("drive:lock.txt"), is_stored("gs://b/lock.txt"), is_stored("lock.txt"), is_stored("drive:x")
        (True, True, False, False)
    """
    return isinstance(path, str) and path.startswith(("drive:", "gs://")) and path.endswith(FILE_SUFFIXES)


def _parts(address: str) -> tuple[str, str]:
    folder, slash, name = address.rpartition("/")
    if slash:
        return folder, name
    raise AddressError(
        f"{address} lies in no folder",
        why="a storage is a folder",
        hint=f'name one: "{address.replace(":", ":colabkit/")}"',
    )


def _as_written(wheels: StrPath, target: Path) -> str:
    """Return the wheelhouse as the header names it: relative to the lock where it lies below it."""
    if scheme(str(wheels)):
        return str(wheels)
    path = expand(wheels).absolute()
    folder = target.absolute().parent
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _keep(site: list[Installed], wheels: StrPath) -> list[wheelhouse.KeptWheel]:
    age = detect().session_age
    since = 0.0 if age is None else time.time() - age
    others = [
        distribution
        for distribution in site
        if distribution.name != normal(DISTRIBUTION) and distribution.name not in KERNEL_STACK
    ]
    added = [distribution for distribution in others if _written(distribution) > since]
    if age is not None:
        notify("colabkit: %d packages are the image's own, and their wheels are not kept", len(others) - len(added))
    try:
        return wheelhouse.keep(added, wheels)
    except Failure as failure:
        reason = masked(failure.done.err.strip())[-_LONGEST:]
        raise InstallError(
            "the wheels cannot be fetched", why=reason, hint="run it again; check the index"
        ) from failure


def _written(distribution: Installed) -> float:
    try:
        return os.stat(f"{distribution.folder}/RECORD").st_ctime  # noqa: PTH116 - for many
    except OSError:
        return 0.0


def differences(path: Path, runtime: Runtime | None = None) -> tuple[str, ...]:
    """Say how this runtime differs from the one a lock was written in; nothing for other requirements files."""
    with reading(lambda why: RequirementError(f"cannot read {path}", why=why, hint="check the file")):
        header = list(comments(path))
    if not header or header[0] != _TITLE:
        return ()
    recorded = dict(line.split(": ", 1) for line in header[1:] if ": " in line)
    return tuple(
        f"{path.name} was written with {key} {recorded[key]}, and here it is {value}"
        for key, value in _here(runtime).items()
        if key in recorded and recorded[key] != value
    )


def is_lock(path: Path) -> bool:
    """Say whether a requirements file is a lock of ours, which names all packages and needs no others."""
    with reading(lambda why: RequirementError(f"cannot read {path}", why=why, hint="check the file")):
        return next(iter(comments(path)), "") == _TITLE


def _here(runtime: Runtime | None = None) -> dict[str, str]:
    runtime = runtime or detect()
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
        "image": f"{runtime.host} {runtime.image or ''}".strip(),
        "platform": f"{sys.platform} {platform.machine()}",
    }


def _line(distribution: Installed) -> str:
    pinned = f"{distribution.name}=={distribution.version}"
    if distribution.name == normal(DISTRIBUTION):
        return f"# {pinned}: this package; install it as you did"
    origin = distribution.origin()
    url = str(origin.get("url", ""))
    if url.startswith("file:"):
        return f"# {pinned}: from {url} of that machine, which no other has"
    if url != masked(url):
        return f"# {pinned}: from an address with credentials"
    if vcs := origin.get("vcs_info"):
        return f"{distribution.name} @ {vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}"
    return f"{distribution.name} @ {url}" if url else pinned
