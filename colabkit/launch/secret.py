"""What the supervisors of one launch know and nobody else on the network does."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import time
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import atomic_write
from colabkit.config import LAUNCH_SECRET, LAUNCH_SECRET_FILE, environment, own_path
from colabkit.errors import ClusterConfigError, ColabKitError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from colabkit.launch.plan import Plan

_FEWEST = 16  # characters; less could be tried through
_MOST = 4096
_WRITTEN = 10.0  # seconds for another host, or the file system between, to finish the file


def launch_secret(plan: Plan, env: Mapping[str, str] | None = None) -> bytes:
    """Return the secret of a launch: made for it when all workers are here, else the one that all hosts have.

    Args:
        plan: The launch.
        env: Where `COLABKIT_LAUNCH_SECRET` and `COLABKIT_LAUNCH_SECRET_FILE` are looked for. Without them it is a file
            in the user's home, which hosts that share the home share; it is made when it is not there.

    Raises:
        ClusterConfigError: It is too short, cannot be read, or others could read it.
    """
    if not plan.workers:
        return secrets.token_bytes(32)
    env = environment(env)
    if text := env.get(LAUNCH_SECRET, "").strip():
        return _key(text, LAUNCH_SECRET)
    if chosen := env.get(LAUNCH_SECRET_FILE):
        path = own_path(chosen, env)
        return _key(_read(path), str(path))
    path = default_file(env)
    if not path.exists():
        _make(path)
    return _key(_read(path), str(path))


def default_file(env: Mapping[str, str] | None = None) -> Path:
    """Return the file that holds the secret when none is named.

    Example:
        >>> default_file({"XDG_CONFIG_HOME": "/home/me/.config"}).as_posix()
        '/home/me/.config/colabkit/launch-secret'
    """
    base = environment(env).get("XDG_CONFIG_HOME") or "~/.config"
    return own_path(base, env) / "colabkit" / "launch-secret"


def _key(text: str, where: str) -> bytes:
    if len(text) < _FEWEST:
        raise ClusterConfigError(
            f"the launch secret, from {where}, is too short",
            why=f"it has {len(text)} characters, and {_FEWEST} are needed",
            hint="make one: python -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return hashlib.sha256(text.encode()).digest()


def _read(path: Path) -> str:
    until = time.monotonic() + _WRITTEN
    while True:
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                text = file.read(_MOST).decode("utf-8", "replace").strip()
        except OSError as error:
            raise ClusterConfigError(
                f"the launch secret cannot be read from {path}",
                why=error.strerror or str(error),
                hint=f"correct {LAUNCH_SECRET_FILE}, or set {LAUNCH_SECRET}",
            ) from error
        if text or time.monotonic() > until:
            break
        time.sleep(0.1)
    if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
        raise ClusterConfigError(
            f"others can read the launch secret in {path}",
            why=f"its mode is {stat.S_IMODE(status.st_mode):o}",
            hint=f"run: chmod 600 {path}",
        )
    return text


def _make(path: Path) -> None:
    """Make the file in one step, so that hosts that share the folder agree on one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with atomic_write(fresh, mode=0o600) as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
        try:
            with contextlib.suppress(FileExistsError):  # another host was there first
                os.link(fresh, path)
        finally:
            fresh.unlink()
    except (OSError, ColabKitError) as error:
        raise ClusterConfigError(
            f"a launch secret cannot be kept in {path}",
            why=str(error).partition("\n")[0],
            hint=f"set {LAUNCH_SECRET} to the same long random text on every host",
        ) from error
