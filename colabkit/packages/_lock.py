"""lock(): what is installed, as a plain requirements file that pip reads without us."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.files import write_text
from colabkit._version import DISTRIBUTION
from colabkit.packages._need import normal
from colabkit.packages._requirements import comments, masked
from colabkit.packages._site import Site
from colabkit.runtime import detect

if TYPE_CHECKING:
    from colabkit._types import StrPath
    from colabkit.packages._site import Installed
    from colabkit.runtime.base import Runtime

_TITLE = "colabkit lock 1"


def lock(path: StrPath = "requirements.lock") -> Path:
    r"""Write every installed package with its version into a plain requirements file.

    The header names the Python, the platform and the image; `install(path)` restores the packages and says what
    differs, and `pip install -r` reads the file as well.

    Args:
        path: Where to write; an existing file is replaced.

    Returns:
        The path.

    Raises:
        NotWritableError: The folder refuses to be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock(folder + "/requirements.lock").read_text().partition("\n")[0]
        '# colabkit lock 1'
    """
    target = Path(path).expanduser()
    header = [_TITLE, *(f"{key}: {value}" for key, value in _here().items())]
    header.append(f'restore with colabkit.install("{target.name}") or pip install -r {target.name}')
    lines = [f"# {line}" for line in header] + [_line(one) for one in sorted(Site(), key=lambda one: one.name)]
    write_text(target, "\n".join(lines) + "\n")
    return target


def differences(path: Path, runtime: Runtime | None = None) -> tuple[str, ...]:
    """Say how this runtime differs from the one a lock was written in; nothing for other requirements files."""
    said = list(comments(path))
    if not said or said[0] != _TITLE:
        return ()
    then = dict(line.split(": ", 1) for line in said[1:] if ": " in line)
    return tuple(
        f"{path.name} was written with {key} {then[key]}, and here it is {value}"
        for key, value in _here(runtime).items()
        if key in then and then[key] != value
    )


def _here(runtime: Runtime | None = None) -> dict[str, str]:
    runtime = runtime or detect()
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
        "image": f"{runtime.host} {runtime.image or ''}".strip(),
        "platform": f"{sys.platform} {platform.machine()}",
    }


def _line(one: Installed) -> str:
    pinned = f"{one.name}=={one.version}"
    if one.name == normal(DISTRIBUTION):
        return f"# {pinned}: this package; install it as you did"
    origin = one.origin()
    url = str(origin.get("url", ""))
    if url.startswith("file:"):
        return f"# {pinned}: from {url} of that machine, which no other has"
    if url != masked(url):
        return f"# {pinned}: from an address with credentials"
    if vcs := origin.get("vcs_info"):
        return f"{one.name} @ {vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}"
    return f"{one.name} @ {url}" if url else pinned
