"""What can go wrong between here and a server, in words; and how to know soon that there is no network."""

from __future__ import annotations

import socket
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

from colabkit._http.types import TransientError
from colabkit._internal.process.threads import start_thread
from colabkit.errors import BusyError, ColabKitError, OfflineError, TransferError

if TYPE_CHECKING:
    import requests

CONNECT = 4.0
"""Seconds to reach a host for the first time; being offline must be known within about five."""


def retries_exhausted(what: str, error: TransientError) -> TransferError:
    """Make the final error of a transfer that used up its tries."""
    if error.unreachable:
        return OfflineError(what, why=error.why, hint="check the network, then run it again")
    if error.retry_after is not None or error.crowded:
        wait = f"about {error.retry_after:.0f} s" if error.retry_after else "a while"
        return BusyError(what, why=error.why, hint=f"wait {wait}, then run it again")
    return TransferError(what, why=error.why, hint="run it again; it resumes where it stopped if the server allows")


def resolve_host(url: str, proxy: str) -> float:
    """Resolve the host, or its proxy, in bounded time and return the connect timeout for each of its addresses."""
    host = urllib.parse.urlsplit(proxy or url).hostname or ""
    results: list[Any] = []

    def resolve() -> None:
        try:
            results.append({entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
        except (OSError, UnicodeError) as error:
            results.append(error)

    # The system's resolver cannot be told to hurry, so it runs on a thread that may be left behind.
    if (thread := start_thread(resolve, name="colabkit-resolve")) is None:
        resolve()  # without a thread it may take as long as it likes
    else:
        thread.join(CONNECT)
    if not results or isinstance(results[0], Exception):
        if proxy:
            raise OfflineError(
                f"cannot find the proxy {host}",
                why="there is no network, or no host of that name",
                hint="check the variables HTTPS_PROXY, HTTP_PROXY and ALL_PROXY; unset them where none is needed",
            )
        raise OfflineError(
            f"cannot find the host {host}",
            why="there is no network, or no host of that name",
            hint="check the network and the address",
        )
    return max(0.5, CONNECT / max(1, len(results[0])))


def as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep ~/.netrc out of a request: it has its credentials, or has none on purpose."""
    return request


STOPPED = "the server stopped sending"


class map_transport_errors:  # noqa: N801 - it is used as a function; contextlib's way takes three times as long
    """Turn the HTTP library's errors into ours.

    Their texts and their causes hold whole addresses, keys in the query included, so neither is kept.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Watch from here."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, ColabKitError) and isinstance(error, _web_errors()):
            raise _translate(error, self._where) from None


def _web_errors() -> tuple[type[Exception], ...]:
    """Return what the HTTP libraries that are in use raise, without loading any; those of requests are OSErrors."""
    names = (("urllib3.exceptions", "HTTPError"), ("http.client", "HTTPException"))
    classes = (getattr(sys.modules[module], name) for module, name in names if module in sys.modules)
    return (*classes, OSError, UnicodeError, ValueError)


_MALFORMED = frozenset(
    {"InvalidURL", "InvalidSchema", "LocationParseError", "InvalidProxyURL", "InvalidHeader", "ProxySchemeUnknown"}
)


def _translate(error: BaseException, where: str) -> Exception:
    chain = _chain(error)
    names = {type(link).__name__ for link in chain}
    if names & {"SSLCertVerificationError"} or any("WRONG_VERSION_NUMBER" in str(link) for link in chain):
        return _insecure(chain, where)
    if names & _MALFORMED:
        return TransferError(f"cannot request {where}", why="the address, a header or the proxy's address is malformed")
    if isinstance(error, ValueError) and not isinstance(error, OSError) and "HTTPError" not in names:
        return TransferError(f"cannot request {where}", why="the address or a header is malformed")
    if any("suitable TLS CA certificate bundle" in str(link) for link in chain):
        return TransferError(
            f"no secure connection to {where}",
            why="the file that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names does not exist",
            hint="set it to the file with your company's certificate, or unset it",
        )
    if "NameResolutionError" in names or "gaierror" in names:
        return TransientError("the host's name cannot be resolved", unreachable=True)
    if names & {"ConnectTimeoutError", "ConnectTimeout"}:
        return TransientError("the host does not answer", unreachable=True)
    if names & {"ProxyError"}:
        return TransientError("the proxy refuses or cannot be reached", unreachable=True)
    if "NewConnectionError" in names:
        refused = "ConnectionRefusedError" in names or any("refused" in str(link) for link in chain)
        why = "the host refuses the connection" if refused else "the host cannot be reached"
        return TransientError(why, unreachable=True, crowded=True)
    if names & {"ReadTimeoutError", "ReadTimeout", "TimeoutError"}:
        return TransientError(STOPPED, line=True)
    if "BadStatusLine" in names:
        return TransientError("what answers there is no web server")
    return TransientError("the connection broke", line="IncompleteRead" not in names)  # that one ended in peace


def _insecure(chain: list[BaseException], where: str) -> TransferError:
    said = next((message for link in chain if (message := getattr(link, "verify_message", ""))), "")
    why = f"the server's certificate is not trusted here ({said})" if said else "the server speaks no TLS"
    return TransferError(
        f"no secure connection to {where}",
        why=why,
        hint="check the address and the clock; behind a company's proxy set REQUESTS_CA_BUNDLE to its certificate",
    )


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    todo: list[Any] = [error]
    while todo and len(links) < 20:
        link = todo.pop()
        if isinstance(link, BaseException) and link not in links:
            links.append(link)
            todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
    return links
