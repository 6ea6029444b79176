"""The machine of a Colab runtime: its files, its variables, and Drive's program on it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit.runtime.hosts import colab
from colabkit.testing._drive_mount import daemon
from colabkit.testing.drive_folder import DriveFolder
from colabkit.testing.web import FakeWeb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit._types import StrPath
    from colabkit.testing.web import World

USER = "user-consent"
_DOUBLES = Path(__file__).parent / "doubles" / "colab"

MOUNT_FAULTS: Mapping[str, tuple[str, str]] = {
    "policy": ("The domain policy has disabled Drive File Stream", "DriveFS is disabled by policy"),
    "timeout": ("", "QueryManager timed out during the initial read of the root folder"),
    "quota": ("", "fetch of root failed: QUOTA_EXCEEDED"),
    "unseen": ("", "fatal: ended before anybody looked"),
    "stops": ("Drive File Stream encountered a problem and has stopped", "fatal: database is corrupt"),
}
"""What Drive's program says and what it logs, by the fault that ends it at its start."""


class Machine:
    """The machine's files and variables.

    Args:
        folder: Where everything is kept; a temporary folder that goes at the end, when None.
        drive: Fields of `DriveSettings`.
        fault: What ends Drive's program at its start; one of `MOUNT_FAULTS`, or None.
        colabtools: A checkout of the real google.colab, to be used in the place of the double.
        web: What plays the internet; the real one, when empty.
        env: More variables.

    Attributes:
        folder: Where everything is kept.
        root: The root of the machine's files.
        mountpoint: Where its Drive is to be mounted.
        drive: What is behind the mount.
    """

    def __init__(
        self,
        folder: StrPath | None,
        *,
        drive: Mapping[str, Any],
        fault: str | None,
        colabtools: StrPath | None,
        web: Sequence[World],
        env: Mapping[str, str],
    ) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="colab-") if folder is None else folder).absolute()
        self.root = self.folder / "root"
        self.mountpoint = self.root / "content" / "drive"
        self.drive = DriveFolder(self.folder / "drive", mountpoint=self.mountpoint, **drive)
        self._fault = fault
        self._double = _DOUBLES if colabtools is None else Path(colabtools).absolute()
        self._web, self._open = tuple(web), ExitStack()
        self._env = dict(env)

    @property
    def mount_fault(self) -> str | None:
        """What ends Drive's program at its start."""
        return self._fault

    @mount_fault.setter
    def mount_fault(self, fault: str | None) -> None:
        self._fault = fault
        file, unseen = self.drive.state / daemon.FAULT, self.drive.state / "unseen"
        unseen.unlink(missing_ok=True)
        if fault == "unseen":
            unseen.touch()
        if fault is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text("\n".join(MOUNT_FAULTS[fault]))

    def environment(self) -> dict[str, str]:
        """Return the variables of the machine."""
        modules = map(str, (self._double, Path(config.__file__).parents[1]))
        return {
            colab.TAG: "release-colab_20260825-060134_RC00",
            "COLAB_BACKEND_VERSION": "next",
            "COLAB_GPU": "",
            "COLAB_IMAGE_TYPE": "cpu",
            "COLAB_NOTEBOOK_ID": "1aBcD",
            "CLOUDSDK_CONFIG": str(self.root / "content" / ".config"),
            "TBE_RUNTIME_ADDR": "127.0.0.1:9",
            "TBE_CREDS_ADDR": "127.0.0.1:9",
            "TBE_EPHEM_CREDS_ADDR": "127.0.0.1:9",
            "USE_AUTH_EPHEM": "1",
            "UV_SYSTEM_PYTHON": "true",
            "IPYTHONDIR": str(self.folder / "ipython"),
            "PYTHONPATH": os.pathsep.join(modules),
            config.MACHINE_ROOT: str(self.root),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            **self.drive.environment(),
            **self._env,
        }

    def start(self) -> None:
        """Lay its files out, and play the internet to it."""
        for name, text in {"var/colab/hostname": "m-s-1x2y3z4a5b6c", "opt/google/drive/drive": self._program()}.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.root / "opt/google/drive/drive").chmod(0o755)
        for name in ("content/sample_data", "content/.config"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name in ("proc", "sys"):  # memory and cores are this machine's
            if not (self.root / name).is_symlink():
                (self.root / name).symlink_to(f"/{name}")
        (self.drive.state / daemon.CONSENT).unlink(missing_ok=True)
        self.mount_fault = self._fault
        gcloud = self.folder / "bin" / "gcloud"  # authenticate_user runs it; it needs to do nothing here
        gcloud.parent.mkdir(exist_ok=True)
        gcloud.write_text("#!/bin/sh\nexit 0\n")
        gcloud.chmod(0o755)
        if self._web:
            self._env = {**self._open.enter_context(FakeWeb(*self._web)).env, **self._env}

    def _program(self) -> str:
        """Write Drive's program: what google.colab starts has few of the kernel's variables, so it brings its own."""
        variables = {**self.drive.environment(), "PYTHONPATH": str(Path(config.__file__).parents[1])}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        return "\n".join(["#!/bin/sh", *lines, f'exec {shlex.quote(sys.executable)} -m {daemon.__name__} "$@"', ""])

    def note_consent(self, scope: str) -> None:
        """Let the programs of the machine have the user's credentials."""
        (self.drive.state / (daemon.CONSENT if scope == "dfs_ephemeral" else USER)).touch()

    def set_back(self) -> None:
        """Make it what it was: no Drive, an empty cloud, nothing allowed."""
        self.drive.unmount()
        for folder in (self.drive.home, self.drive.state / "cloud", self.drive.trash, self.mountpoint):
            shutil.rmtree(folder, ignore_errors=True)
        self.drive.home.mkdir()
        for name in (daemon.CONSENT, USER):
            (self.drive.state / name).unlink(missing_ok=True)
        self.mount_fault = None

    def close(self) -> None:
        """End Drive, and remove what was made."""
        self._open.close()
        self.drive.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
