"""What is asked of Colab's frontend: from the main thread only, one request at a time.

google.colab loses replies when two threads ask at once, and stalls where nobody answers: VS Code, the `colab` command
and headless runs know `request_auth` only. So everything here shares one lock. A page that answers once is there for
the session; a silence counts for the cell that met it and a minute, and an answer that comes late ends it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

SHELL = "google.colab._shell"
"""The module of the class of Colab's shell; a subprocess has no shell."""

PROBE = "COLABKIT_IS_ANYBODY_THERE"
"""A secret that nobody has: a browser answers that it does not exist."""

PROBE_SECONDS = 10.0
"""How long google.colab itself waits for a secret: a slow line or a busy tab takes seconds."""

AGAIN = 60.0
"""Seconds after a silence during which the page is not asked again, but for an answer that comes late."""

lock = threading.RLock()


class _Probe:
    """What is known of the page.

    Attributes:
        has_replied: It has answered in this session.
        number: The last question's, where it was not answered; 0 otherwise.
        cell: The request in which it was asked.
        until: When it may be asked again.
    """

    has_replied = False
    number = 0
    cell = "none yet"
    until = 0.0


_probe = _Probe()


def is_kernel(shell: Any) -> bool:
    """Say whether this process is Colab's kernel, which alone can ask."""
    return type(shell).__module__ == SHELL


def may_ask() -> bool:
    """Say whether this is the thread that may ask."""
    return threading.current_thread() is threading.main_thread()


def has_browser() -> bool:
    """Say whether a browser shows the notebook: asked until one answers, for 10 seconds, at most once a minute."""
    with lock:
        if not _probe.has_replied and _probe.number:
            _probe.has_replied = _read(_probe.number, 0.05)
        is_due = _probe.cell != running_cell() and time.monotonic() >= _probe.until
        if not _probe.has_replied and is_due:
            _ask()
        return _probe.has_replied


def is_known_without_browser() -> bool:
    """Say whether nobody answered the last question; nothing is asked."""
    return not _probe.has_replied and _probe.number > 0


def forget() -> None:
    """Forget what is known of the page."""
    global _probe  # noqa: PLW0603 - one page a process
    _probe = _Probe()


def running_cell() -> str:
    """Return the id of the request that runs now; "" where none does."""
    import sys

    try:
        shell = sys.modules["IPython"].get_ipython()
        return str(shell.kernel.get_parent("shell")["header"]["msg_id"])
    except (AttributeError, KeyError, TypeError):
        return ""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End what google.colab waits for without an end, as a dialog that nobody answers.

    Args:
        seconds: How long the block may take.

    Raises:
        TimeoutError: It took longer. Outside of the main thread nothing limits it.
    """
    if not may_ask():
        yield
        return

    def over(*_signal: object) -> NoReturn:
        raise TimeoutError(f"nobody answered within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _ask() -> None:
    try:
        from google.colab import _message
    except ImportError:
        _probe.has_replied = True  # a google.colab of another make: it has to tell by itself
        return
    _probe.number, _probe.cell = _message.send_request("GetSecret", {"key": PROBE}), running_cell()
    _probe.has_replied = _read(_probe.number, PROBE_SECONDS)
    _probe.until = time.monotonic() + AGAIN


def _read(number: int, seconds: float) -> bool:
    from google.colab import _message, errors

    try:
        return _message.read_reply_from_input(number, timeout_sec=seconds) is not None
    except errors.Error:
        return False  # somebody answered, that they do not know what a secret is
