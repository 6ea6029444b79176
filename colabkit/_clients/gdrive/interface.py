"""One account's requests to Drive's interface, by google-auth's session under the rules of the engine."""

from __future__ import annotations

import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._clients import google_auth
from colabkit._http import sent_secrets
from colabkit._http.errors import map_transport_errors, resolve_host
from colabkit._http.service import CONNECT
from colabkit._http.transport import proxy_for
from colabkit._http.url import origin
from colabkit._http.url import shown as display
from colabkit._version import __version__
from colabkit.errors import OfflineError, TransferError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

ENDPOINT = "https://www.googleapis.com"


class DriveInterface:
    """Sends requests as one account; whoever calls decides whether one is sent again.

    google-auth's session adds the token, and after a 401 renews it and sends the request once more; nothing else is
    tried twice here. A token goes to this host alone: redirects are shown, not followed.

    Args:
        credentials: Credentials of google-auth.
        sign_in: How to sign in where they are refused.
    """

    def __init__(self, credentials: Any, *, sign_in: str) -> None:
        self._credentials = credentials
        self._sign_in = sign_in
        self._local = threading.local()
        self._connect = CONNECT
        self._reached = False

    def has_reached(self, url: str) -> bool:  # noqa: ARG002 - there is one host
        """Say whether it ever answered."""
        return self._reached

    def send(self, url: str, headers: dict[str, str], body: bytes | None, read_timeout: float) -> Any:
        """Send one request, GET or POST, and return its answer, the body still to be read.

        Raises:
            TransientError: Worth another try.
            TransferError: It will not work.
        """
        method, place = "GET" if body is None else "POST", display(url)
        connect = CONNECT if self._reached else 0.0
        return _Answer(self.request(method, url, headers, body, place, read=read_timeout, connect=connect, stream=True))

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: Any,
        shown: str,
        *,
        read: float,
        connect: float = CONNECT,
        stream: bool = False,
    ) -> requests.Response:
        """Send one request.

        Args:
            method: The verb.
            url: The address, on the interface's host.
            headers: What is sent beside the token.
            data: The body; it may be asked for twice.
            shown: What it is about, for messages.
            read: Seconds to wait for each piece of the answer.
            connect: Seconds to wait for the connection; 0 for as long as the first one may take.
            stream: Leave the body to be read.

        Raises:
            TransientError: No answer came.
            AccessError: The sign-in is no longer valid.
            OfflineError: There is no network, or it is not to be used.
        """
        if origin(url) != origin(ENDPOINT):
            raise TransferError(
                f"{shown} is not asked",
                why=f"the address leads to {origin(url)}, which is not Drive's interface",
                hint="check the proxy",
            )
        with map_transport_errors(shown), google_auth.translated(self._sign_in):
            session = self._session()
            answer: requests.Response = session.request(
                method,
                url,
                headers={"User-Agent": f"colabkit/{__version__}", **headers},
                data=data,
                timeout=(connect or self._connect, read),
                allow_redirects=False,
                auth=_remembered,
                stream=stream,
                hooks={"response": _read_if_refused},
            )
        self._reached = True
        return answer

    def _session(self) -> Any:
        """Return this thread's session; requests does not promise that threads may share one."""
        session = getattr(self._local, "session", None)
        if session is None:
            if config.is_offline():
                raise OfflineError(
                    f"{ENDPOINT} is not asked", why=f"{config.OFFLINE} is set", hint=f"unset {config.OFFLINE}"
                )
            self._connect = resolve_host(ENDPOINT, proxy_for(ENDPOINT))
            session = google_auth.authorized_session(self._credentials)
            self._local.session = session
        return session


class _Answer:
    """An answer whose body is still to be read, with the face that the engine's client gives to one."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.status, self.headers = response.status_code, response.headers

    def read(self, amt: int, *, decode_content: bool = False) -> bytes:
        """Return its first bytes."""
        refused = self.status == HTTPStatus.UNAUTHORIZED
        data: bytes = self._response.content if refused else self._response.raw.read(amt, decode_content=decode_content)
        return data[:amt]

    def close(self) -> None:
        """Give the connection back, or end it."""
        self._response.close()


def _read_if_refused(response: requests.Response, **_: Any) -> None:
    """Read what refuses a token at once: the session drops that answer, and the connection would stay open with it."""
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        response.content  # noqa: B018 - reading it is what it is for


def _remembered(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep ~/.netrc out of a request, and what it carries out of every message."""
    sent_secrets.remember(request.url or "", request.headers)
    return request
