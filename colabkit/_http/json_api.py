"""Questions to a server's API or its pages: small answers, no file. Redirects are shown, not followed."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from colabkit import config
from colabkit._http import error_page
from colabkit._http import headers as _headers
from colabkit._http.client import CROWDED, REDIRECTS, TRANSIENT, HTTPClient
from colabkit._http.errors import map_transport_errors, retries_exhausted
from colabkit._http.types import TransientError
from colabkit._http.url import shown
from colabkit._internal.retry import Backoff
from colabkit._version import __version__
from colabkit.errors import OfflineError, TransferError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 16 << 20


@dataclass(frozen=True, kw_only=True)
class ApiResponse:
    """A small answer.

    Attributes:
        status: The status code.
        headers: Its headers, whatever the case of their names.
        body: Its body, cut at the size that was asked for.
        url: The address that gave it.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)

    @property
    def location(self) -> str:
        """Where a redirect leads, or ""."""
        return self.headers.get("Location", "") if self.status in REDIRECTS else ""

    def value(self) -> dict[str, Any]:
        """Return the JSON object that it holds; anything else is an empty one."""
        try:
            decoded = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return decoded if isinstance(decoded, dict) else {}

    def words(self) -> str:
        """Return what it says, as one short line for a message."""
        value = self.value()
        error = value.get("error")
        for text in (value.get("message"), error.get("message") if isinstance(error, dict) else error):
            if isinstance(text, str) and text.strip():
                return error_page.words(text.encode(errors="replace"))
        return "" if value else error_page.words(self.body)


class Client(Protocol):
    """Sends one request, without a retry of its own."""

    def has_reached(self, url: str) -> bool:
        """Say whether this host ever answered."""

    def send(self, url: str, headers: dict[str, str], body: bytes | None, read_timeout: float) -> Any:
        """Return the answer, its body still to be read."""


def ask(
    url: str,
    *,
    what: str,
    headers: Mapping[str, str] | None = None,
    value: Mapping[str, Any] | None = None,
    most: int = _MOST,
    tries: int = 5,
    timeout: float = 30.0,
    final: frozenset[int] = frozenset(),
    client: Client | None = None,
) -> ApiResponse:
    """Ask with GET, or POST a JSON value.

    Args:
        url: The address.
        what: What cannot be done when it fails, for the message.
        headers: What else is sent.
        value: What is posted; None asks with GET.
        most: How many bytes of the answer are read.
        tries: How many failures in a row are forgiven when the server is busy or the connection breaks.
        timeout: Seconds to wait for the answer.
        final: Answers that mean something here although they usually pass, such as 500.
        client: Sends the requests, as one that has signed in does; ours by default.

    Raises:
        OfflineError: There is no network, or it is not to be tried.
        BusyError: The server asks to come back later.
        TransferError: It cannot be asked.
    """
    if config.is_offline():
        raise OfflineError(
            what, why=f"{config.OFFLINE} is set, so the network is not used", hint=f"unset {config.OFFLINE}"
        )
    own, backoff = HTTPClient(1), Backoff(tries=tries)  # it opens nothing before it is asked
    sender: Client = client or own
    pause = threading.Event()  # never set: it is a sleep that Ctrl-C interrupts on every platform
    try:
        while True:
            try:
                return _once(sender, url, headers or {}, value, most, timeout, final)
            except TransientError as error:
                fresh = error.unreachable and not sender.has_reached(url)
                wait = None if fresh and backoff.failures >= min(2, tries) else backoff.wait(error.retry_after)
                if wait is None:
                    if fresh:
                        raise OfflineError(what, why=error.why, hint="check the network, then run it again") from None
                    raise retries_exhausted(f"{what}: tried {backoff.failures + 1} times", error) from None
                pause.wait(wait)
    finally:
        own.close()


def _once(
    client: Client,
    url: str,
    headers: Mapping[str, str],
    value: Mapping[str, Any] | None,
    most: int,
    timeout: float,
    final: frozenset[int],
) -> ApiResponse:
    send = {"User-Agent": f"colabkit/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity", **headers}
    body = None
    if value is not None:
        body = json.dumps(value).encode()
        send["Content-Type"] = "application/json"
    response = client.send(url, send, body, timeout)
    try:
        with map_transport_errors(shown(url)):
            data: bytes = response.read(most, decode_content=True)
    finally:
        response.close()
    status: int = response.status
    reply = ApiResponse(status=status, headers=response.headers, body=data, url=url)
    if status in TRANSIENT - final:
        said = reply.words()
        raise TransientError(
            f"the server answered {status}" + (f": {said}" if said else ""),
            retry_after=_headers.retry_after(response.headers),
            crowded=status in CROWDED,
        )
    return reply


def unexpected(what: str, reply: ApiResponse) -> TransferError:
    """Make the error for an answer that none of the known cases fits."""
    said = reply.words()
    return TransferError(
        what,
        why=f"the server answered {reply.status}" + (f": {said}" if said else ""),
        hint="open its page in a browser to see whether it is there, then run it again",
    )
