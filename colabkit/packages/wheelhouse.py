"""Wheels kept beside a lock: fetched once, and installed in the next session without the index.

A lock names its wheelhouse in the header and each kept wheel with its SHA-256 below the packages. The wheelhouse itself
has a `SHA256SUMS`, as `sha256sum -c` reads it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from colabkit import config
from colabkit._internal.disk.files import atomic_path, sha256
from colabkit._internal.display.few import few
from colabkit._internal.log import notify, warn
from colabkit._internal.process import proc
from colabkit.errors import IntegrityError, NoWheelError, StorageError
from colabkit.packages.installers.request import INSTALL_TIMEOUT, Failure
from colabkit.packages.request.requirement import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.tags import Tag

    from colabkit._types import StrPath
    from colabkit.packages.environment import Installed
    from colabkit.storage import Storage

HEADER = "wheels: "
SUMS = "SHA256SUMS"
_LINE = re.compile(r"# wheel sha256:([0-9a-f]{64}) (\S+\.whl)")
_NOT_FOUND = re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+)")
_SUM = re.compile(r"([0-9a-f]{64}) [ *](\S+)")
_MAX_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class KeptWheel:
    """A wheel in a wheelhouse.

    Attributes:
        file: Its file's name.
        digest: Its SHA-256.
    """

    file: str
    digest: str

    @property
    def name(self) -> str:
        """The distribution's normal name."""
        return normal(self.file.split("-")[0])

    @property
    def line(self) -> str:
        """The comment of a lock that names it."""
        return f"# wheel sha256:{self.digest} {self.file}"

    @property
    def fits(self) -> bool:
        """Whether it can be installed into this Python, on this platform."""
        return _fits(self.file)


def keep(packages: Sequence[Installed], where: StrPath) -> list[KeptWheel]:
    """Bring the wheels of installed packages into a storage, those that are not there yet.

    Args:
        packages: What is installed.
        where: The wheelhouse: a folder, `drive:FOLDER` or `gs://BUCKET/FOLDER`.

    Returns:
        The wheels that are there now, one for each package that has one.

    Raises:
        NoWheelError: There is no program that fetches wheels.
        StorageError: The storage does not take them.
    """
    from colabkit.storage import open_storage

    storage = open_storage(where)
    stored = {entry.name for entry in storage.list()}
    sums = {file: digest for file, digest in _sums(storage, stored).items() if file in stored}
    kept: dict[str, KeptWheel] = {}
    for package in packages:
        files = [file for file in sums if _is_of(file, package) and _fits(file)]
        if files:
            kept[package.name] = KeptWheel(file=files[0], digest=sums[files[0]])
    missing = [package for package in packages if package.name not in kept]
    if missing:
        notify("colabkit: fetching the wheels of %d packages for %s", len(missing), where)
        with tempfile.TemporaryDirectory(prefix="colabkit-wheels-") as folder:
            for path in _fetch(missing, Path(folder)):
                new = KeptWheel(file=path.name, digest=sha256(path))
                storage.put(new.file, path)
                kept[new.name] = new
                sums[new.file] = new.digest
        lines = "".join(f"{digest}  {file}\n" for file, digest in sorted(sums.items()))
        storage.put(SUMS, lines.encode())
    absent = [package.name for package in packages if package.name not in kept]
    if absent:
        warn("colabkit: no wheel is kept for %s: the index has none", few(absent, _MAX_NAMED))
    return [kept[name] for name in sorted(kept)]


def kept_by(lock: Path) -> tuple[str, list[KeptWheel]]:
    """Return the wheelhouse that a lock names, and the wheels; "" where it keeps none."""
    where, wheels = "", list[KeptWheel]()
    for line in lock.read_text(encoding="utf-8-sig").splitlines():
        if line.startswith(f"# {HEADER}") and not where:
            where = line.removeprefix(f"# {HEADER}").strip()
        elif match := _LINE.fullmatch(line.strip()):
            wheels.append(KeptWheel(file=match[2], digest=match[1]))
    return where, wheels


def fetch_kept(lock: Path, names: Iterable[str]) -> tuple[Path | None, set[str]]:
    """Bring the kept wheels of some packages here, each with the content that the lock promises.

    Args:
        lock: The lock.
        names: The packages.

    Returns:
        The folder that holds them, None where there are none, and the packages whose wheels are in it.

    Raises:
        IntegrityError: A wheel is not the one that was kept; nothing is installed.
    """
    where, wheels = kept_by(lock)
    requested = [wheel for wheel in wheels if wheel.name in set(names)]
    if not where or not requested:
        return None, set()
    fitting = [wheel for wheel in requested if wheel.fits]
    if len(fitting) < len(requested):
        others = [wheel.file for wheel in requested if not wheel.fits]
        warn("colabkit: kept for another Python or platform, so left to the index: %s", few(others, 1))
    house = _house(lock, where, fitting)
    folder = config.cache_dir() / "wheels" / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    fetched: set[str] = set()
    try:
        for wheel in fitting:
            if _fetch_one(wheel, house, folder):
                fetched.add(wheel.name)
    except StorageError as error:
        warn("colabkit: the kept wheels cannot be fetched, so the index is used: %s", error.what)
        return None, set()
    if left := [wheel.file for wheel in fitting if wheel.name not in fetched]:
        warn("colabkit: not in %s, so left to the index: %s", where, few(left, 1))
    return (folder if fetched else None), fetched


def _house(lock: Path, where: str, wheels: Sequence[KeptWheel]) -> Storage | Path:
    """Return where the wheels are: beside the lock, as in a dataset of Kaggle, or where the lock says."""
    from colabkit.storage import open_storage, scheme

    plain = where.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    beside = [lock.parent / plain, lock.parent]
    if not scheme(where):
        beside.insert(0, lock.parent / where)
    for folder in beside:
        if any((folder / wheel.file).is_file() for wheel in wheels):
            return folder
    return open_storage(where) if scheme(where) else lock.parent / where


def _fetch_one(wheel: KeptWheel, house: Storage | Path, folder: Path) -> bool:
    target = folder / wheel.file
    if target.is_file() and sha256(target) == wheel.digest:
        return True
    target.unlink(missing_ok=True)
    if isinstance(house, Path):
        if not (house / wheel.file).is_file():
            return False
        _check(wheel, house / wheel.file, house)
        target.symlink_to((house / wheel.file).resolve())
        return True
    if house.entry(wheel.file) is None:
        return False
    with atomic_path(target) as temporary:
        house.get(wheel.file, temporary)
        _check(wheel, Path(temporary), house.address)
    return True


def _check(wheel: KeptWheel, path: Path, where: object) -> None:
    if sha256(path) != wheel.digest:
        raise IntegrityError(
            f"{wheel.file} in {where} is not the wheel that was kept",
            why="its SHA-256 differs from the one in the lock",
            hint="delete it there and write the lock again; without the lock, ck.install(…) takes it from the index",
        )


def _sums(storage: Storage, stored: set[str]) -> dict[str, str]:
    if SUMS not in stored:
        return {}
    lines = storage.read(SUMS).decode("utf-8", "replace").splitlines()
    return {match[2]: match[1] for line in lines if (match := _SUM.fullmatch(line))}


def _is_of(file: str, package: Installed) -> bool:
    parts = file.split("-")
    return len(parts) >= 5 and normal(parts[0]) == package.name and parts[1] == package.version


def _fits(file: str) -> bool:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        tags = parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return False
    return not tags.isdisjoint(_tags())


@functools.cache
def _tags() -> frozenset[Tag]:
    """Tell what wheels this Python takes on this platform: a thousand tags, for hundreds of wheels."""
    from packaging.tags import sys_tags

    return frozenset(sys_tags())


def _fetch(packages: Sequence[Installed], folder: Path) -> list[Path]:
    """Fetch the wheels of packages as they are installed; those that no index has are left out."""
    specs: dict[str, str] = {}
    for package in packages:
        url = str(package.origin().get("url", ""))
        local = Path(unquote(urlsplit(url).path))
        if url.startswith("file:"):
            if local.suffix == ".whl" and local.is_file():
                shutil.copy(local, folder)
        elif "vcs_info" not in package.origin():
            specs[package.name] = f"{package.name} @ {url}" if url else f"{package.name}=={package.version}"
    while specs:
        done = _download(list(specs.values()), folder)
        if done.ok:
            break
        match = _NOT_FOUND.search(done.err)
        if match is None or specs.pop(normal(match[1]), None) is None:
            raise Failure("pip", done)
    return sorted(folder.glob("*.whl"))


def _download(requirements: Sequence[str], folder: Path) -> proc.Completed:
    if importlib.util.find_spec("pip"):
        program = [sys.executable, "-m", "pip"]
    else:
        from colabkit.packages.installers import uv

        program_path = uv.find(config.environment())
        if program_path is None:
            raise NoWheelError(
                "wheels cannot be fetched here", why="there is neither pip nor uv", hint="run: python -m ensurepip"
            )
        program = [
            program_path,
            "run",
            "--quiet",
            "--no-project",
            "--isolated",
            "--python",
            sys.executable,
            "--with",
            "pip",
        ]
        program += ["python", "-m", "pip"]
    names = folder / "requirements.txt"
    names.write_text("".join(f"{requirement}\n" for requirement in requirements), encoding="utf-8")
    words = ["download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    return proc.run([*program, *words, "-d", str(folder), "-r", str(names)], timeout=INSTALL_TIMEOUT)
