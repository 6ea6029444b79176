"""The place to look at, and what a host's file answers about it."""

from __future__ import annotations

import functools

from colabkit import config
from colabkit._internal.disk import working_dir
from colabkit._internal.record import Record
from colabkit.config import machine_root
from colabkit.runtime.frontend import detect_frontend, running_shell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from colabkit.runtime.frontend import Frontend


class Probe(Record):
    """Everything that a host may be recognised by; tests hand in a recorded one.

    Attributes:
        env: The environment variables.
        root: The root folder.
        shell: The running IPython shell, or None: only a kernel itself has one, a `!python` subprocess has not.
        cwd: The working folder of this process; it may be gone.
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
        """Return what names the frontend from what is known here, see `colabkit.runtime.frontend.detect_frontend`."""
        return functools.partial(detect_frontend, self.shell, self.env, hosted=hosted)

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


def here(
    *,
    env: Mapping[str, str] | None = None,
    root: Path | None = None,
    shell: Any = None,
    cwd: Path | None = None,
) -> Probe:
    """Return this process' place; each part can be replaced by a recorded one, as in `detect()`."""
    env = config.environment(env)
    return Probe(
        env=env,
        root=machine_root(env) if root is None else root,
        shell=running_shell() if shell is None else shell,
        cwd=working_dir.current() if cwd is None else cwd,
        home=config.home_folder(env),
    )
