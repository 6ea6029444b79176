"""Answers that are kept from one process to the next: that all already exists, for as long as nothing has changed.

A lock of 300 packages takes a tenth of a second to be read and compared with what is installed, in each new process.
The answer depends on the words of the question, on this Python, and on what is installed: whoever adds, removes or
replaces a package makes or removes a folder with its metadata. Only a good answer is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import sys
import time
from typing import TYPE_CHECKING

from colabkit import config

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from colabkit.packages.environment import Installed

_KEPT_DAYS = 30


class SatisfiedCache:
    """One question whose good answer may be known.

    Args:
        about: What is asked.
        words: What the answer depends on: texts, and files whose content counts.
        site: What is installed, where the answer depends on it.
        env: The environment variables.

    Example:
        >>> SatisfiedCache("nobody has asked this before", "keras").is_satisfied
        False
    """

    def __init__(
        self, about: str, *words: str | Path, site: Iterable[Installed] = (), env: Mapping[str, str] | None = None
    ) -> None:
        env = config.environment(env)
        content = [word if isinstance(word, str) else _content(word) for word in words]
        installed = [(distribution.folder, _changed(distribution.folder)) for distribution in site]
        named = [about, sys.version, sys.platform, platform.machine(), platform.release(), content, installed]
        name = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]
        self._path = config.cache_dir(env) / "verdicts" / name

    @property
    def is_satisfied(self) -> bool:
        """Whether the answer was good, and nothing has changed since."""
        return self._path.exists()

    def keep(self) -> None:
        """Keep the good answer; where nothing can be written it is found anew the next time."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for old in self._path.parent.iterdir():
                if time.time() - old.stat().st_mtime > _KEPT_DAYS * 86400:
                    old.unlink()
            self._path.touch()


def _content(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"{path}: {error}"


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - for each of 700
    except OSError:
        return 0
