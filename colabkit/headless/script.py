"""Run a script as a process of its own, and again when it was killed."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import map_os_errors
from colabkit._internal.log import warn
from colabkit._internal.process import proc
from colabkit.errors import KernelDiedError
from colabkit.headless.outcome import Ran
from colabkit.headless.parameters import as_typed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def run_script(path: Path, parameters: Mapping[str, Any], output: Path, *, retries: int, quiet: bool) -> Ran:
    """Run a script; arguments and errors as for `run_file`."""
    command = [sys.executable, "-u", str(path), *(f"--{name}={value}" for name, value in as_typed(parameters).items())]
    begun = time.monotonic()
    with map_os_errors(output), open(output, "w", encoding="utf-8") as file:

        def take(text: str) -> None:
            file.write(text)
            file.flush()
            if not quiet:
                sys.stderr.write(text)
                sys.stderr.flush()

        for attempt in range(1, retries + 2):
            code = proc.stream(command, take)
            if code >= 0:
                return Ran(output=output, attempts=attempt, seconds=time.monotonic() - begun, code=code)
            name = proc.signal_name(-code)
            if attempt <= retries:
                warn("colabkit: %s was ended by %s; running it again, %d of %d", path.name, name, attempt, retries)
    raise KernelDiedError(
        f"{path.name} was ended by {name}, {retries + 1} times in all",
        why="memory may have run out" if name == "SIGKILL" else "",
        hint=f"look at {output}, give the work less memory, or allow more with --retries N",
    )
