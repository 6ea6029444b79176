"""Environment variables, defaults and file locations, all in one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

TYPE_CHECKING = False  # `typing` itself would cost 8 of the 20 ms that detect() may take
if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE_DIR = "COLABKIT_CACHE"
"""Where downloads are kept; default `~/.cache/colabkit`, or under `XDG_CACHE_HOME`."""

KEEP = "COLABKIT_KEEP"
"""Where all that is fetched is kept for later sessions, when `keep=` names no place."""

KEEP_IN_BACKGROUND = "COLABKIT_KEEP_IN_BACKGROUND"
"""1: `fetch` returns when the file is here, and what is to be kept travels meanwhile; the process ends after it."""

MACHINE_ROOT = "COLABKIT_MACHINE_ROOT"
"""Where to look for the files that tell a host, instead of `/`; `colabkit.testing.FakeColab` sets it."""

OFFLINE = "COLABKIT_OFFLINE"
"""Any value but empty and `0`: never try the network."""

WORKER_REPORT = "COLABKIT_WORKER_REPORT"
"""Set by `colabkit launch`: the open pipe on which a worker says why colabkit refused."""

LAUNCH_SECRET = "COLABKIT_LAUNCH_SECRET"  # noqa: S105 - the name of a variable
"""What the hosts of one `colabkit launch` prove to each other that they know; the same long text on each."""

LAUNCH_SECRET_FILE = "COLABKIT_LAUNCH_SECRET_FILE"  # noqa: S105 - same
"""A file that holds it; default `~/.config/colabkit/launch-secret`, which is made when it is not there."""

RUNS_DIR = "colabkit-runs"
"""The folder of a named run where no address was given."""


class Environment(Mapping[str, str]):
    """Environment variables whose repr shows no value, so that no traceback with locals does.

    Args:
        values: The variables.

    Example:
        >>> Environment({"HF_TOKEN": "hf_1234"})
        <1 environment variables>
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        value = self._values.get(name)  # a lookup that fails would leave the whole environment in its frame
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{len(self)} environment variables>"


def environment(env: Mapping[str, str] | None = None) -> Environment:
    """Return environment variables in a form that is safe to hold in a local variable.

    `os.environ` is never the default of an argument: `help()`, Shift-Tab and tracebacks would show all its values.

    Args:
        env: The variables; this process' own when None.

    Example:
        >>> environment({"HOME": "/root"})["HOME"]
        '/root'
    """
    return env if isinstance(env, Environment) else Environment(os.environ if env is None else env)


def home_folder(env: Mapping[str, str] | None = None) -> Path:
    """Return the user's home folder; `/`, as containers have it, for a user of whom the machine knows none.

    Example:
        >>> home_folder({"HOME": "/home/ada"}).as_posix()
        '/home/ada'
    """
    home = environment(env).get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path's raises where there is none
    return Path("/" if home == "~" else home)


def own_path(text: str, env: Mapping[str, str] | None = None) -> Path:
    """Return the path of a file that programs keep for their user, with its `~` replaced.

    Example:
        >>> own_path("~/.kaggle", {"HOME": "/home/ada"}).as_posix()
        '/home/ada/.kaggle'
    """
    first, _, rest = text.partition("/")
    return home_folder(env) / rest if first == "~" else Path(os.path.expanduser(text))  # noqa: PTH111


def cache_dir(env: Mapping[str, str] | None = None) -> Path:
    """Return the folder for downloads; it need not exist yet.

    Where no variable names one, and the home folder is not the user's to write, as in a container that runs as another
    user, it is one of the machine's temporary folders.

    Example:
        >>> cache_dir({"COLABKIT_CACHE": "/data/cache"}).as_posix()
        '/data/cache'
    """
    env = environment(env)
    if chosen := env.get(CACHE_DIR):
        return own_path(chosen, env)
    if base := env.get("XDG_CACHE_HOME"):
        return own_path(base, env) / "colabkit"
    folder = home_folder(env) / ".cache" / "colabkit"
    return folder if _may_write(folder) else _temporary() or folder


def _may_write(folder: Path) -> bool:
    while not os.path.exists(folder) and folder != folder.parent:  # noqa: PTH110 - Path's raises where it may not look
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)


def _temporary() -> Path | None:
    """Return a temporary folder of this user; None where somebody else has made what has its name."""
    import tempfile

    if not hasattr(os, "getuid"):
        return None
    user = os.getuid()
    folder = Path(tempfile.gettempdir(), f"colabkit-{user}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    return folder if status.st_uid == user and not folder.is_symlink() and not status.st_mode & 0o022 else None


def is_offline(env: Mapping[str, str] | None = None) -> bool:
    """Say whether the user asked for no network at all.

    Example:
        >>> is_offline({"COLABKIT_OFFLINE": "1"}), is_offline({})
        (True, False)
    """
    env = environment(env)
    return env.get(OFFLINE, "") not in ("", "0")


def machine_root(env: Mapping[str, str] | None = None) -> Path:
    """Return the root folder of the machine's own files.

    Example:
        >>> machine_root({}).as_posix()
        '/'
    """
    env = environment(env)
    return Path(env.get(MACHINE_ROOT) or "/")
