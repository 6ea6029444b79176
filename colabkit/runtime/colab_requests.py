"""What is asked of Colab's frontend: from the main thread only, one request at a time.

google.colab loses replies when two threads ask at once, and stalls where nobody answers: VS Code, the `colab` command
and headless runs know `request_auth` only. So everything here shares one lock, and whether there is a browser is
found out once.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHELL = "google.colab._shell"
"""The module of the class of Colab's shell; a subprocess has no shell."""

PROBE = "COLABKIT_IS_ANYBODY_THERE"
"""A secret that nobody has: a browser answers that it does not exist."""

PROBE_SECONDS = 2.0

lock = threading.RLock()

_answers: list[bool] = []


def is_kernel(shell: Any) -> bool:
    """Say whether this process is Colab's kernel, which alone can ask."""
    return type(shell).__module__ == SHELL


def may_ask() -> bool:
    """Say whether this is the thread that may ask."""
    return threading.current_thread() is threading.main_thread()


def has_browser() -> bool:
    """Say whether a browser shows the notebook; asked once for 2 seconds at most, then remembered."""
    with lock:
        if not _answers:
            _answers.append(_ask())
        return _answers[0]


def is_known_without_browser() -> bool:
    """Say whether it was found out already that there is no browser; nothing is asked."""
    return _answers == [False]


def _ask() -> bool:
    try:
        from google.colab import _message, errors
    except ImportError:
        return True  # a google.colab of another make: it has to tell by itself
    try:
        reply = _message.blocking_request("GetSecret", request={"key": PROBE}, timeout_sec=PROBE_SECONDS)
    except errors.Error:
        return False  # somebody answered, that they do not know what a secret is
    return reply is not None
