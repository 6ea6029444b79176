"""The one place that starts other programs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What a program left: its exit code and its output as text.

    Attributes:
        code: The exit code; None when the program could not be started or ran past its time.
        out: Standard output.
        err: Standard error, or why it could not be started.
    """

    code: int | None
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether the program ran and ended with 0."""
        return self.code == 0


def run(command: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None) -> Completed:
    """Run a program without a shell and collect its output; never raises for the program's own failure.

    Args:
        command: The program and its arguments.
        timeout: Seconds after which it is ended.
        env: Variables to set or, with an empty value, to keep empty, on top of the present ones.

    Returns:
        The exit code and the output.

    Example:
        >>> import sys
        >>> run([sys.executable, "-c", "print(6 * 7)"], timeout=60).out.strip()
        '42'
        >>> run(["no-such-program"], timeout=1).code is None
        True
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **env} if env is not None else None,
        )
    except subprocess.TimeoutExpired:
        return Completed(code=None, out="", err=f"{command[0]} ran longer than {timeout:g} s")
    except OSError as error:
        return Completed(code=None, out="", err=f"{command[0]}: {error.strerror or error}")
    return Completed(code=done.returncode, out=done.stdout, err=done.stderr)


_left: list[subprocess.Popen[str]] = []
"""Programs that were ended and have not gone yet."""


def run_or_leave(command: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None) -> Completed:
    """Run a program that a stalled file system may hold, and go on without it when it does not come back.

    A process that waits for FUSE cannot even be killed before FUSE answers; `run` would wait for its end. It runs in
    `/`, since the working folder may be on the very file system that hangs.

    Args:
        command: The program and its arguments.
        timeout: Seconds after which it is ended and left.
        env: Variables on top of the present ones.

    Returns:
        The exit code and the output; without a code, the output so far.

    Example:
        >>> run_or_leave(["sleep", "60"], timeout=0.05).code is None
        True
    """
    _left[:] = [process for process in _left if process.poll() is None]
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **env} if env is not None else None,
            cwd="/",
        )
    except OSError as error:
        return Completed(code=None, out="", err=f"{command[0]}: {error.strerror or error}")
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as expired:
        _leave(process)
        said = expired.output or b""
        so_far = said.decode(errors="replace") if isinstance(said, bytes) else said
        return Completed(code=None, out=so_far, err=f"{command[0]} ran longer than {timeout:g} s")
    except BaseException:
        _leave(process)
        raise
    return Completed(code=process.returncode, out=out, err=err)


def stream(command: Sequence[str], take: Callable[[str], object]) -> int:
    """Run a program and hand on what it prints, line by line as it comes; its errors are among it.

    Args:
        command: The program and its arguments.
        take: Is given each piece of text.

    Returns:
        Its exit code; negative when a signal ended it.

    Example:
        >>> import sys
        >>> stream([sys.executable, "-c", "print(6 * 7)"], lambda text: print(text, end=""))
        42
        0
    """
    with subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            for line in process.stdout:
                take(line)
            return process.wait()
        except BaseException:
            process.terminate()  # it saves what it has, as at Ctrl-C
            process.wait()
            raise


def _leave(process: subprocess.Popen[str]) -> None:
    process.kill()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    _left.append(process)


async def spawn(
    command: Sequence[str], *, env: Mapping[str, str], keep: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Start a program that runs on, in a process group of its own, with its output in pipes.

    Args:
        command: The program and its arguments.
        env: Variables on top of the present ones.
        keep: Descriptors that stay open in it.
    """
    import asyncio  # not above: detect() runs programs too, and is to answer in milliseconds

    return await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **env},
        start_new_session=True,
        pass_fds=tuple(keep),
    )
