"""The one place that starts other programs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit._internal.disk import working_dir

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO


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


def run(
    command: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None, cwd: str | None = None
) -> Completed:
    """Run a program without a shell and collect its output; never raises for the program's own failure.

    Args:
        command: The program and its arguments.
        timeout: Seconds after which it is ended.
        env: Variables to set or, with an empty value, to keep empty, on top of the present ones.
        cwd: Its working folder; this process' own when None, or `/` where that is gone.

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
            cwd="/" if cwd is None and working_dir.is_gone() else cwd,
        )
    except subprocess.TimeoutExpired:
        return Completed(code=None, out="", err=f"{command[0]} ran longer than {timeout:g} s")
    except OSError as error:
        return _not_started(command, error)
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
        process = _started(command, env, "/")
    except OSError as error:
        return _not_started(command, error)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as expired:
        _leave(process)
        output = expired.output or b""
        so_far = output.decode(errors="replace") if isinstance(output, bytes) else output
        return Completed(code=None, out=so_far, err=f"{command[0]} ran longer than {timeout:g} s")
    except BaseException:
        _leave(process)
        raise
    return Completed(code=process.returncode, out=out, err=err)


def _started(command: Sequence[str], env: Mapping[str, str] | None, cwd: str | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **env} if env is not None else None,
        cwd=cwd,
    )


def _not_started(command: Sequence[str], error: OSError) -> Completed:
    return Completed(code=None, out="", err=f"{command[0]}: {error.strerror or error}")


def watch(
    command: Sequence[str],
    take: Callable[[str], object],
    tick: Callable[[], object],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Completed:
    """Run a program as `run` does, and look at it while it runs.

    Args:
        command: The program and its arguments.
        take: Is given each line that it prints, as it comes, from other threads.
        tick: Is called a few times a second, in this thread.
        timeout: Seconds after which it is ended.
        env: Variables on top of the present ones.
        cwd: Its working folder; this process' own when None, or `/` where that is gone.

    Returns:
        The exit code and the output.

    Example:
        >>> import sys
        >>> lines = []
        >>> watch([sys.executable, "-c", "print(6 * 7)"], lines.append, lambda: None, timeout=60).out == "".join(lines)
        True
    """
    import threading
    import time

    try:
        process = _started(command, env, "/" if cwd is None and working_dir.is_gone() else cwd)
    except OSError as error:
        return _not_started(command, error)
    output: tuple[list[str], list[str]] = ([], [])
    lock = threading.Lock()

    def read(pipe: IO[str], lines: list[str]) -> None:
        for line in pipe:
            with lock:
                lines.append(line)
                take(line)

    assert process.stdout is not None  # noqa: S101 - pipes were asked for
    assert process.stderr is not None  # noqa: S101
    pipes = (process.stdout, process.stderr)
    readers = [
        threading.Thread(target=read, args=(pipe, lines), daemon=True)
        for pipe, lines in zip(pipes, output, strict=True)
    ]
    ends = time.monotonic() + timeout
    try:
        for reader in readers:
            reader.start()
        while process.poll() is None and time.monotonic() < ends:
            tick()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
    finally:
        in_time = process.poll() is not None
        if not in_time:
            process.kill()
            process.wait()
        for reader in readers:
            if reader.ident is not None:
                reader.join(5)  # a grandchild may hold the pipe
        for pipe, reader in zip(pipes, readers, strict=True):
            if not reader.is_alive():
                pipe.close()
    if not in_time:
        return Completed(code=None, out="", err=f"{command[0]} ran longer than {timeout:g} s")
    return Completed(code=process.returncode, out="".join(output[0]), err="".join(output[1]))


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


def signal_name(number: int) -> str:
    """Return the name of a signal; Python has none for most of the real-time ones.

    Example:
        >>> signal_name(9), signal_name(100)
        ('SIGKILL', 'signal 100')
    """
    try:
        return signal.Signals(number).name
    except ValueError:  # Python names the first and the last of the real-time signals alone
        first, last = getattr(signal, "SIGRTMIN", 0), getattr(signal, "SIGRTMAX", -1)
        return f"SIGRTMIN+{number - first}" if first < number < last else f"signal {number}"


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
