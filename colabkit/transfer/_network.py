"""What can go wrong between here and a server, in words; and how to know soon that there is no network."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse
from typing import TYPE_CHECKING, Any

from colabkit.errors import BusyError, ColabKitError, OfflineError, TransferError
from colabkit.transfer.base import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

CONNECT = 4.0
"""Seconds to reach a host for the first time; being offline must be known within about five."""


def too_busy(what: str, error: TransientError) -> TransferError:
    """Make the final error of a transfer that used up its tries."""
    if error.unreachable:
        return OfflineError(what, why=error.why, do="check the network, then run the same again")
    if error.retry_after is not None or error.crowded:
        wait = f"about {error.retry_after:.0f} s" if error.retry_after else "a while"
        return BusyError(what, why=error.why, do=f"wait {wait}, then run the same again")
    return TransferError(what, why=error.why, do="run the same again; it goes on where it stopped if the server can")


def first_contact(url: str, proxies: Mapping[str, str]) -> float:
    """Resolve the host, or its proxy, in bounded time and return the connect timeout for each of its addresses."""
    import requests.utils

    proxy = requests.utils.select_proxy(url, dict(proxies))
    parts = urllib.parse.urlsplit(proxy if proxy and "://" in proxy else f"//{proxy}" if proxy else url)
    host = parts.hostname or ""
    found: list[Any] = []

    def resolve() -> None:
        try:
            found.append({entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
        except (OSError, UnicodeError) as error:
            found.append(error)

    # The system's resolver cannot be told to hurry, so it runs on a thread that may be left behind.
    thread = threading.Thread(target=resolve, name="colabkit-resolve", daemon=True)
    thread.start()
    thread.join(CONNECT)
    if not found or isinstance(found[0], Exception):
        raise OfflineError(
            f"cannot find the host {host}",
            why="there is no network, or no host of that name",
            do="check the network and the address",
        )
    return max(0.5, CONNECT / max(1, len(found[0])))


def as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep ~/.netrc out of a request: it has its credentials, or has none on purpose."""
    return request


@contextlib.contextmanager
def translating(where: str) -> Iterator[None]:
    """Turn the HTTP library's errors into ours.

    Their texts and their causes hold whole addresses, keys in the query included, so neither is kept.
    """
    import requests
    import urllib3.exceptions

    try:
        yield
    except ColabKitError:
        raise
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise _translate(error, where) from None


def _translate(error: BaseException, where: str) -> Exception:
    chain = _chain(error)
    names = {type(link).__name__ for link in chain}
    broke = names & {"SSLEOFError", "SSLZeroReturnError", "SSLSyscallError"}  # a connection that ends, in TLS
    if names & {"SSLCertVerificationError", "SSLError"} and "MaxRetryError" in names and not broke:
        return TransferError(
            f"no secure connection to {where}",
            why="the server's certificate is not trusted here, or it speaks no TLS",
            do="check the address and the clock; behind a company's proxy set REQUESTS_CA_BUNDLE to its certificate",
        )
    if names & {"InvalidURL", "InvalidSchema", "LocationParseError", "InvalidProxyURL", "InvalidHeader"}:
        return TransferError(f"cannot ask for {where}", why="the address, a header or the proxy's address is malformed")
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
        return TransientError("the server stopped sending")
    return TransientError("the connection broke")


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    todo: list[Any] = [error]
    while todo and len(links) < 20:
        link = todo.pop()
        if isinstance(link, BaseException) and link not in links:
            links.append(link)
            todo += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
    return links
