"""Running an installer: its output is collected, a display shows that it works, and a build's log is kept in a file."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._internal.display.progress import progress
from colabkit._internal.log import notify
from colabkit._internal.process import proc
from colabkit.packages.request.requirements_file import masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from colabkit._internal.display.progress import Progress

_SILENT = 3.0
"""Seconds without a display: most plans take less."""

_KEPT = 10  # logs


def run(
    command: Sequence[str],
    *,
    label: str,
    timeout: float,
    env: Mapping[str, str],
    cwd: str | None,
    log: Path | None = None,
) -> proc.Completed:
    """Run an installer; after some seconds a bar counts them.

    Args:
        command: The program and its arguments.
        label: What it does, a word or two.
        timeout: Seconds after which it is ended.
        env: Variables on top of the present ones.
        cwd: Its working folder.
        log: Where its output is written as it comes.

    Returns:
        The exit code and the output.
    """
    began = time.monotonic()
    bars: list[Progress] = []
    with contextlib.ExitStack() as stack, _opened(log) as file:

        def take(line: str) -> None:
            if file is not None:
                file.write(masked(line))

        def tick() -> None:
            seconds = time.monotonic() - began
            if not bars and seconds > _SILENT:
                if log is not None:
                    notify("colabkit: the log of the build: %s", log)
                bars.append(stack.enter_context(progress(label, unit="s")))
            if bars:
                bars[0].update(int(seconds))

        return proc.watch(command, take, tick, timeout=timeout, env=env, cwd=cwd)


def new_log() -> Path | None:
    """Return the path for the log of a build; None where none can be written."""
    folder = config.cache_dir() / "build-logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.log"))[: -_KEPT + 1]:
            old.unlink()
    except OSError:
        return None
    return folder / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{time.monotonic_ns() % 1000:03}.log"


@contextlib.contextmanager
def _opened(log: Path | None) -> Iterator[IO[str] | None]:
    if log is None:
        yield None
        return
    with log.open("a", encoding="utf-8", buffering=1) as file:
        yield file
