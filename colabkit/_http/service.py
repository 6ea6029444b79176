"""Requests to one service: what HTTP they need, how long they wait, and when to stop trying."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._http import sent_secrets
from colabkit._http.errors import as_given, map_transport_errors, resolve_host, retries_exhausted
from colabkit._http.transport import proxy_for
from colabkit._internal.retry import Backoff
from colabkit._version import __version__
from colabkit.errors import OfflineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from colabkit._http.types import TransientError

CONNECT, READ = 15.0, 60.0
PATIENT = 6


class ApiSession:
    """Sends requests that are not media.

    Args:
        endpoint: The service, or an emulator.
        tries: Failures in a row that are forgiven.
    """

    def __init__(self, endpoint: str, *, tries: int = PATIENT) -> None:
        self.endpoint = endpoint
        self._tries = tries
        self._pause = threading.Event()  # never set: a sleep that Ctrl-C interrupts on every platform
        self._local = threading.local()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], data: Any, shown: str, *, read: float = READ
    ) -> requests.Response:
        """Send one request once.

        Raises:
            TransientError: No answer came.
        """
        with map_transport_errors(shown):
            session = self._session()
            sent_secrets.remember(url, headers)
            return session.request(
                method,
                url,
                headers={"User-Agent": f"colabkit/{__version__}", **headers},
                data=data,
                timeout=(CONNECT, read),
                allow_redirects=False,
                auth=as_given,
            )

    def tries(self) -> Backoff:
        """Return a fresh budget of tries."""
        return Backoff(tries=self._tries)

    def wait(self, backoff: Backoff, error: TransientError, shown: str) -> None:
        """Wait before the next try.

        Raises:
            TransferError: There is none.
        """
        pause = backoff.wait(error.retry_after)
        if pause is None:
            raise retries_exhausted(f"cannot reach {shown}: tried {backoff.failures + 1} times", error)
        self._pause.wait(pause)

    def _session(self) -> requests.Session:
        """Return this thread's session; requests does not promise that threads may share one."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            import requests

            if config.is_offline():
                raise OfflineError(
                    f"{self.endpoint} is not asked", why=f"{config.OFFLINE} is set", hint=f"unset {config.OFFLINE}"
                )
            session = requests.Session()
            resolve_host(self.endpoint, proxy_for(self.endpoint))
            self._local.session = session
        return session
