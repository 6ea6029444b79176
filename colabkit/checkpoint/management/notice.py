"""A notice when a training ends, is stopped or fails: to a web address, a topic of ntfy, or a command.

The address is a secret, since whoever knows it can write there: of it only the host is ever shown. What is sent holds
the run's name, numbers, and of an error its kind.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import warn
from colabkit.config import is_offline
from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TIMEOUT = 5.0  # seconds; a training that has ended does not wait longer for a server that is down
_EVERY = 60.0  # seconds between two notices of one kind
_MOST = 20  # notices of one process
_NTFY = "https://ntfy.sh/"
_FORM = 'write it as notify="https://…" (a webhook), "ntfy:TOPIC", or a command: notify=["notify-send", "colabkit"]'


class Notice:
    """Sends notices to one place, never too many, and never ends a training by it.

    Args:
        where: An https address, to which JSON with `text` is posted; `ntfy:TOPIC`; a command as a list of words, which
            is given the text as its last word; or a function of the text.
        clock: Tells the time in seconds.

    Raises:
        AddressError: It is none of these.

    Example:
        >>> sent = []
        >>> notice = Notice(sent.append)
        >>> notice.send("ended", "digits is trained")
        >>> notice.send("ended", "digits is trained")
        >>> sent
        ['digits is trained']
    """

    def __init__(
        self, where: str | Sequence[str] | Callable[[str], object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._where = _read(where)
        self._clock = clock
        self._sent: dict[str, float] = {}
        self._count = 0
        self._failed = False

    def __repr__(self) -> str:
        return f"<notice to {self.place}>"

    @property
    def place(self) -> str:
        """Where they go, without what must not be known."""
        if isinstance(self._where, str):
            return urllib.parse.urlsplit(self._where).hostname or "a web address"
        return self._where[0] if isinstance(self._where, list) else getattr(self._where, "__name__", "a function")

    def send(self, kind: str, text: str) -> None:
        """Send a notice, unless one of its kind was just sent; a failure is told once.

        Args:
            kind: As "ended", "stopped", "failed".
            text: What to say, in a line.
        """
        now = self._clock()
        if now - self._sent.get(kind, -_EVERY) < _EVERY or self._count >= _MOST:
            return
        self._sent[kind], self._count = now, self._count + 1
        try:
            self._deliver(text)
        except Exception as error:  # noqa: BLE001 - a notice that does not arrive ends no training
            if not self._failed:
                self._failed = True
                warn("no notice was sent to %s: %s", self.place, _cause(error))

    def _deliver(self, text: str) -> None:
        where = self._where
        if isinstance(where, list):
            subprocess.run([*where, text], check=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL, capture_output=True)
        elif isinstance(where, str):
            _post(where, text)
        else:
            where(text)


def notice_text(name: str, how: str, metrics: Mapping[str, Any] | None = None) -> str:
    """Write what a notice says.

    Example:
        >>> notice_text("digits", "is trained, 3 epochs", {"loss": 0.25}).partition(" (")[0]
        'digits is trained, 3 epochs: loss 0.25'
    """
    numbers = [f"{key} {value:.4g}" for key, value in (metrics or {}).items() if isinstance(value, int | float)]
    measured = f": {', '.join(numbers[:4])}" if numbers else ""
    return f"{name} {how}{measured} ({socket.gethostname()})"


def _read(where: Any) -> str | list[str] | Callable[[str], object]:
    if callable(where):
        function: Callable[[str], object] = where
        return function
    if isinstance(where, list | tuple) and where and all(isinstance(word, str) for word in where):
        if shutil.which(where[0]) is None:  # better to hear now than after the night that nothing came
            warn("no notice will be sent: this machine has no program %s", where[0])
        return list(where)
    text = where.strip() if isinstance(where, str) else ""
    if text.startswith("ntfy:"):
        topic = text.removeprefix("ntfy:").strip("/")
        if topic and topic.replace("-", "").replace("_", "").isalnum():
            return _NTFY + topic
    parts = urllib.parse.urlsplit(text)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and local)):
        return text
    if parts.hostname:
        what = "an address that is not https"
    elif isinstance(where, str):  # it may be a secret that was cut, so it is not shown
        what = "a text that is neither an https address nor ntfy:TOPIC" if text else "an empty text"
    else:
        what = f"a value of type {type(where).__name__}"
    raise AddressError(f"notify is {what}", why="a notice goes to a place that only you know", hint=_FORM)


def _post(address: str, text: str) -> None:
    if is_offline():
        raise ConnectionError("COLABKIT_OFFLINE is set")
    host = urllib.parse.urlsplit(address).hostname or ""
    plain = host.startswith("ntfy.")
    # Slack, Mattermost and Google Chat read `text`, Discord `content`.
    body = text.encode() if plain else json.dumps({"text": text, "content": text}).encode()
    kind = "text/plain; charset=utf-8" if plain else "application/json"
    request = urllib.request.Request(address, body, {"Content-Type": kind, "User-Agent": "colabkit"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - https, or this machine
        answer.read(1)


def _cause(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code}"
    if isinstance(error, urllib.error.URLError):
        return f"it cannot be reached ({type(error.reason).__name__})"
    if isinstance(error, subprocess.CalledProcessError):
        return f"the command ends with {error.returncode}"
    return str(error) if isinstance(error, ConnectionError) else type(error).__name__
