"""What a runtime is: the place to look at, what a host's file answers, and the whole that `detect()` returns."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

from colabkit._tools.record import Record
from colabkit.config import machine_root
from colabkit.runtime.frontend import told_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from colabkit.runtime.devices import Accelerator, Devices
    from colabkit.runtime.frontend import Frontend
    from colabkit.runtime.resources import Disk


class Place(Record):
    """Everything that a host may be recognised by; tests hand in a recorded one.

    Attributes:
        env: The environment variables.
        root: The root folder.
        shell: The running IPython shell, or None: only a kernel itself has one, a `!python` subprocess has not.
        cwd: The working folder of this process.
        home: The user's home folder.
    """

    env: Mapping[str, str]
    root: Path
    shell: Any
    cwd: Path
    home: Path

    def __repr__(self) -> str:
        return f"Place(root={self.root!r})"  # the environment holds secrets

    def path(self, absolute: str) -> Path:
        """Return an absolute path under this place's root."""
        return self.root / absolute.lstrip("/")

    def has(self, absolute: str) -> bool:
        """Say whether a file or folder exists."""
        return self.path(absolute).exists()

    def read(self, absolute: str) -> str:
        """Return a file's text without its ends, or "" where it cannot be read."""
        try:
            return self.path(absolute).read_text(errors="replace").strip()
        except OSError:
            return ""

    def frontend(self, *, hosted: Frontend | None = None) -> Callable[[], Frontend]:
        """Return what names the frontend from what is known here, see `colabkit.runtime.frontend.told_by`."""
        return functools.partial(told_by, self.shell, self.env, hosted=hosted)

    def is_set(self, name: str) -> str:
        """Return the evidence that a variable is set, without its value, which may be personal; "" if it is not."""
        return f"{name} is set" if self.env.get(name) else ""

    def shows(self, name: str) -> str:
        """Return the evidence `NAME=value` for a variable whose value is harmless; "" if it is not set."""
        return f"{name}={self.env[name]}" if self.env.get(name) else ""

    def exists(self, absolute: str) -> str:
        """Return the evidence that a path exists; "" if it does not."""
        return f"{absolute} exists" if self.has(absolute) else ""

    def folder(self, absolute: str) -> Path | None:
        """Return a folder where it exists, else None."""
        return self.path(absolute) if self.path(absolute).is_dir() else None


class Host(Record):
    """What a host's file says about the place it recognised.

    Attributes:
        host: The short name to compare with: "colab", "kaggle", "local".
        name: The name to show.
        evidence: What it was recognised by, in words that a person can check.
        work_dir: The folder for data and temporary work: fast, local.
        persistent_dir: What is still there in the next session; None where nothing is.
        ephemeral: Whether the machine forgets what is outside `persistent_dir`.
        image: The host's name for its software image.
        image_date: The day that image was made, as YYYY-MM-DD.
        max_session_hours: When the host ends a session at the latest, as far as it says so.
        idle_minutes: After how long without work it ends a session, as far as it is known.
        notes: What else a user of this host has to know, one line each.
    """

    host: str
    name: str
    evidence: tuple[str, ...]
    work_dir: Path
    persistent_dir: Path | None = None
    ephemeral: bool = True
    image: str | None = None
    image_date: str | None = None
    max_session_hours: float | None = None
    idle_minutes: float | None = None
    notes: tuple[str, ...] = ()
    _frontend: Callable[[], Frontend]


class Runtime(Host):
    """Where this process runs and what it has: a host's facts and what was measured here.

    Attributes:
        python: The version of this interpreter.
        cpus: The cores it may use; a fraction where a container is given one.
        memory: The bytes it may use; the container's limit where that is lower.
        disk: Total and free bytes of the file system of `work_dir`.
        session_age: Seconds since the container started; None where the machine is the user's own.
    """

    python: str
    cpus: float
    memory: int | None
    disk: Disk | None
    session_age: float | None
    _look: Callable[[], Devices]

    @functools.cached_property
    def frontend(self) -> Frontend:
        """Where the notebook is shown; on Colab it is asked at the first use, for 2 seconds at most once."""
        return self._frontend()

    @functools.cached_property
    def devices(self) -> Devices:
        """The accelerators and where we looked; nvidia-smi, where it exists, is asked at the first use only."""
        return self._look()

    @property
    def accelerators(self) -> tuple[Accelerator, ...]:
        """One entry for each GPU and each TPU chip."""
        return self.devices.found

    @property
    def image_age_days(self) -> int | None:
        """Days since the image was made, or None where its date is unknown."""
        if self.image_date is None:
            return None
        import datetime as dt

        return (dt.datetime.now(dt.UTC).date() - dt.date.fromisoformat(self.image_date)).days

    def restart(self, *, force: bool = False) -> NoReturn:
        """Start this notebook's kernel anew, in place; see `colabkit.runtime.restart`.

        The calling cell runs again from its top in a fresh interpreter, and the queued cells of "Run all" follow.
        The process keeps its id and its environment variables.

        Args:
            force: Restart even if earlier cells made names that will be lost.

        Raises:
            RestartError: It cannot or must not be done here; nothing was lost.
        """
        from colabkit.runtime.restart import restart

        restart(force=force)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        values = {"host": self.host, "name": self.name, "frontend": self.frontend, **self.fields()}
        for name in ("work_dir", "persistent_dir"):
            values[name] = None if values[name] is None else str(values[name])
        values["disk"] = None if self.disk is None else self.disk.fields()
        values["evidence"], values["notes"] = list(self.evidence), list(self.notes)
        values["image_age_days"] = self.image_age_days
        values["accelerators"] = [_plain(accelerator) for accelerator in self.accelerators]
        values["accelerator_evidence"] = self.devices.evidence
        return values

    def __str__(self) -> str:
        from colabkit.runtime import report

        return report.text(self)


def _plain(accelerator: Accelerator) -> dict[str, Any]:
    values = accelerator.fields()
    if accelerator.compute_capability is not None:
        values["compute_capability"] = ".".join(str(number) for number in accelerator.compute_capability)
    return values


def here(
    *,
    env: Mapping[str, str] = os.environ,
    root: Path | None = None,
    shell: Any = None,
    cwd: Path | None = None,
) -> Place:
    """Return this process' place; each part can be replaced by a recorded one, as in `detect()`."""
    return Place(
        env=env,
        root=machine_root(env) if root is None else root,
        shell=running_shell() if shell is None else shell,
        cwd=Path.cwd() if cwd is None else cwd,
        home=Path(env["HOME"]) if env.get("HOME") else Path.home(),
    )


def running_shell() -> Any:
    """Return this process' IPython shell, or None; IPython is looked up, never imported."""
    ipython = sys.modules.get("IPython")
    get = getattr(ipython, "get_ipython", None)
    return get() if get is not None else None
