"""Environment variables, defaults and file locations, all in one place."""

from __future__ import annotations

import os
from pathlib import Path

TYPE_CHECKING = False  # `typing` itself would cost 8 of the 20 ms that detect() may take
if TYPE_CHECKING:
    from collections.abc import Mapping

CACHE_DIR = "COLABKIT_CACHE"
"""Where downloads are kept; default `~/.cache/colabkit`, or under `XDG_CACHE_HOME`."""

MACHINE_ROOT = "COLABKIT_MACHINE_ROOT"
"""Where to look for the files that tell a host, instead of `/`; `colabkit.testing.FakeColab` sets it."""

OFFLINE = "COLABKIT_OFFLINE"
"""Any value but empty and `0`: never try the network."""

WORKER_REPORT = "COLABKIT_WORKER_REPORT"
"""Set by `colabkit launch`: the open pipe on which a worker says why colabkit refused."""

RUNS_DIR = "colabkit-runs"
"""The folder of a named run where no address was given."""


def cache_dir(env: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for downloads; it need not exist yet.

    Example:
        >>> cache_dir({"COLABKIT_CACHE": "/data/cache"}).as_posix()
        '/data/cache'
    """
    if chosen := env.get(CACHE_DIR):
        return Path(chosen).expanduser()
    base = env.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "colabkit"


def is_offline(env: Mapping[str, str] = os.environ) -> bool:
    """Say whether the user asked for no network at all.

    Example:
        >>> is_offline({"COLABKIT_OFFLINE": "1"}), is_offline({})
        (True, False)
    """
    return env.get(OFFLINE, "") not in ("", "0")


def machine_root(env: Mapping[str, str] = os.environ) -> Path:
    """Return the root folder of the machine's own files.

    Example:
        >>> machine_root({}).as_posix()
        '/'
    """
    return Path(env.get(MACHINE_ROOT) or "/")
