"""One request on the wire: pools of urllib3, and what the environment says of proxies, certificates and logins."""

from __future__ import annotations

import contextlib
import functools
import http.client
import ipaddress
import os
import ssl
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._http import sent_secrets
from colabkit._http.errors import map_transport_errors, resolve_host
from colabkit._http.netrc_file import netrc_login
from colabkit._http.url import origin, shown
from colabkit._http.wire import WirePool, read_header_lines
from colabkit.errors import TransferError

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

_CONNECT_AGAIN = 15.0
_BLOCK_OF_OLD = 64 << 10
_LONGEST_FORM = 1 << 16
_MANY_HEADERS = 90
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_NEEDED = (
    b"content-",
    b"etag",
    b"last-",
    b"accept-",
    b"location",
    b"retry-",
    b"set-cookie",
    b"transfer-",
    b"date",
    b"x-",
)


class Transport:
    """Sends requests, keeps connections open from one to the next, and keeps the cookies that servers set.

    Args:
        connections: How many connections to a host may be kept open at once.
    """

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._managers: dict[tuple[str, bool], Any] = {}
        self._direct: dict[str, WirePool] = {}
        self._proxies: dict[str, str] = {}
        self._logins: dict[tuple[str, bool], str] = {}
        self._jar: CookieJar | None = None

    def has_reached(self, url: str) -> bool:
        """Say whether this host ever answered."""
        return origin(url) in self._proxies

    def close(self) -> None:
        """Close what is idle."""
        for manager in self._managers.values():
            manager.clear()
        for pool in self._direct.values():
            pool.close()

    def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, read_timeout: float, *, first: bool
    ) -> Any:
        """Send one request and return its answer, a redirect included; the body is still to be read.

        Args:
            method: The verb.
            url: The address.
            headers: What is sent. A given Authorization wins over ~/.netrc, as it does in curl.
            body: What is posted.
            read_timeout: Seconds to wait for each piece of the answer.
            first: The host is the one that the user named; the `default` entry of ~/.netrc is for no other.

        Raises:
            TransientError: Worth another try.
            TransferError: It cannot be sent.
        """
        place = origin(url)
        known = self._proxies.get(place)
        with map_transport_errors(shown(url)):
            proxy, connect = known, _CONNECT_AGAIN
            if proxy is None:
                proxy = proxy_for(url)
                connect = resolve_host(url, proxy)
            given = {name.lower() for name in headers}
            if "authorization" not in given and (login := self._login(place, url, first=first)):
                headers = {**headers, "Authorization": login}
            if self._jar is not None and "cookie" not in given and (cookies := self._cookies(url)):
                headers = {**headers, "Cookie": cookies}
            sent_secrets.remember(url, headers, _posted(body))
            response: Any
            if proxy:
                response = self._by_proxy(proxy, method, url, headers, body, connect, read_timeout)
            else:
                response = self._pool(place, url).ask(method, url, headers, body, connect, read_timeout)
            if "Set-Cookie" in response.headers:
                self._keep_cookies(url, response)
        if known is None:
            self._proxies[place] = proxy
        return response

    def _pool(self, place: str, url: str) -> WirePool:
        pool = self._direct.get(place)
        if pool is None:
            context = _environments_trust() if url.startswith("https:") else None
            pool = self._direct[place] = WirePool(url, context, self._connections)
        return pool

    def _login(self, place: str, url: str, *, first: bool) -> str:
        """Return what ~/.netrc has for a host, which is asked once."""
        login = self._logins.get((place, first))
        if login is None:
            login = self._logins[place, first] = netrc_login(url, default=first)
        return login

    def _by_proxy(
        self,
        proxy: str,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes | None,
        connect: float,
        read: float,
    ) -> _ProxyAnswer:
        import urllib3

        answer = self._manager(proxy, url).urlopen(
            method,
            url,
            body=body,
            headers=headers,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=connect, read=read),
        )
        return _ProxyAnswer(answer)

    def _manager(self, proxy: str, url: str) -> Any:
        kind = (proxy, url.startswith("https:") or proxy.startswith("https:"))
        manager = self._managers.get(kind)
        if manager is None:
            manager = self._managers[kind] = _new_manager(proxy, self._connections, secure=kind[1])
        return manager

    def _cookies(self, url: str) -> str:
        request = urllib.request.Request(url)  # noqa: S310 - it is never opened
        if self._jar is not None:
            self._jar.add_cookie_header(request)
        return request.get_header("Cookie") or ""

    def _keep_cookies(self, url: str, response: Any) -> None:
        import email.message
        import http.cookiejar

        if self._jar is None:
            self._jar = http.cookiejar.CookieJar()
        told = email.message.Message()
        for value in response.headers.getlist("Set-Cookie"):
            told["Set-Cookie"] = value
        self._jar.extract_cookies(_Told(told), urllib.request.Request(url))  # type: ignore[arg-type]  # noqa: S310


class _ProxyAnswer:
    """What urllib3 brings by way of a proxy, with the face of `wire.Answer`.

    It has no public way to change a timeout, nor to look at what follows an answer: those that are used here stand in
    `PRIVATE`, and a test tells when urllib3 has them no more. Without them a stalled answer is waited for longer.
    """

    PRIVATE = ("_connection", "_fp")

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.status, self.headers = answer.status, answer.headers

    def read(self, amt: int | None = None, *, decode_content: bool = False) -> bytes:
        data: bytes = self._answer.read(amt, decode_content=decode_content)
        return data

    def read1(self, n: int = -1, *, decode_content: bool = False) -> bytes:
        # urllib3 1.26 has only read(), which waits for all that it is asked for
        read_some = getattr(self._answer, "read1", None)
        data: bytes = (
            self._answer.read(min(n, _BLOCK_OF_OLD), decode_content=decode_content)
            if read_some is None
            else read_some(n, decode_content=decode_content)
        )
        return data

    def read_beyond(self, n: int) -> bytes:
        # urllib3 drops what is behind the end, so the last byte is read alone, after a look at what follows it.
        more = b"" if n > 2 else self.peek(2)[1:2]
        return self.read1(max(1, n - 2)) + more

    def release_conn(self) -> None:
        self._answer.release_conn()

    def close(self) -> None:
        self._answer.close()

    def shutdown(self) -> None:
        with contextlib.suppress(Exception):
            self._answer.shutdown()  # urllib3 2.3 and newer; with older ones the thread waits for its timeout

    def wait_at_most(self, seconds: float) -> None:
        with contextlib.suppress(Exception):
            self._answer._connection.sock.settimeout(seconds)  # noqa: SLF001 - there is no public way

    def peek(self, n: int = -1) -> bytes:
        stream = getattr(getattr(self._answer, "_fp", None), "fp", None)
        return b"" if stream is None else stream.peek(n)

    @property
    def plain_socket(self) -> Any:
        stream = getattr(getattr(self._answer, "_fp", None), "fp", None)
        plain = getattr(getattr(stream, "raw", None), "_sock", None)
        return None if plain is None or hasattr(plain, "pending") else plain


def _posted(body: bytes | None) -> list[str]:
    """Name the values of a form that is posted."""
    if body is None or len(body) > _LONGEST_FORM:
        return []
    return [value for _, value in urllib.parse.parse_qsl(body.decode("utf-8", "replace")) if len(value) > 2]


class _Told:
    """Headers, as a cookie jar asks for them."""

    def __init__(self, headers: Any) -> None:
        self._headers = headers

    def info(self) -> Any:
        return self._headers


def proxy_for(url: str) -> str:
    """Return the proxy that the environment or the system names for an address, or "".

    Example:
        >>> with_proxy = {"HTTPS_PROXY": "proxy.example:3128", "NO_PROXY": "localhost,10.0.0.0/8"}
        >>> with contextlib.ExitStack() as stack:
        ...     from unittest.mock import patch
        ...     _ = stack.enter_context(patch.dict(os.environ, with_proxy, clear=True))
        ...     proxy_for("https://example.org/a"), proxy_for("https://10.1.2.3/a")
        ('http://proxy.example:3128', '')
    """
    parts = urllib.parse.urlsplit(url)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    if not proxy or _is_bypassed(parts.hostname or "", parts.port):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_bypassed(host: str, port: int | None) -> bool:
    address = None
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
    for entry in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(","):
        name = entry.strip().lower().lstrip(".")
        if name == "*" or (name and (host.endswith("." + name) or name in (host, f"{host}:{port}"))):
            return True
        if address is not None and "/" in name:
            with contextlib.suppress(ValueError):
                if address in ipaddress.ip_network(name, strict=False):
                    return True
    return bool(urllib.request.proxy_bypass(host))


def _new_manager(proxy: str, connections: int, *, secure: bool) -> Any:
    import urllib3

    options: dict[str, Any] = {"num_pools": 8, "maxsize": connections}
    if secure:
        options |= {"ssl_context": _environments_trust(), "cert_reqs": "CERT_REQUIRED"}
    if proxy.startswith("socks"):
        try:
            from urllib3.contrib.socks import SOCKSProxyManager
        except ImportError:
            raise TransferError(
                f"cannot use the proxy {shown(proxy)}",
                why="SOCKS proxies need the package PySocks",
                hint="run: pip install pysocks",
            ) from None
        return SOCKSProxyManager(proxy, **options)
    parts = urllib.parse.urlsplit(proxy)
    login = None
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        login = urllib3.make_headers(proxy_basic_auth=pair)
    manager: Any = urllib3.ProxyManager(proxy, proxy_headers=login, **options)
    manager.pool_classes_by_scheme = _pool_classes()
    return manager


def _environments_trust() -> ssl.SSLContext:
    variable = next((name for name in _BUNDLES if os.environ.get(name)), "")
    return _trusted(variable, os.environ.get(variable, ""))


@functools.lru_cache(maxsize=4)
def _trusted(variable: str, place: str) -> ssl.SSLContext:
    """Return the certificates that are trusted: those that the environment names, else certifi's; read once."""
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True
    context.set_alpn_protocols(["http/1.1"])
    if not variable:
        with contextlib.suppress(ImportError):
            import certifi

            place = certifi.where()
    try:
        if not place:
            context.load_default_certs()
        elif Path(place).is_dir():
            context.load_verify_locations(capath=place)
        else:
            context.load_verify_locations(cafile=place)
    except (OSError, ssl.SSLError) as error:
        told = error.strerror or "it holds no certificates"
        raise TransferError(
            f"cannot read the trusted certificates in {place}",
            why=f"{variable} names that place: {told}" if variable else told,
            hint=f"set {variable or _BUNDLES[0]} to the file with your company's certificate, or unset it",
        ) from None
    return context


@functools.cache
def _pool_classes() -> dict[str, Any]:
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Plain(HTTPConnection):
        response_class = _PatientResponse

    class Secure(HTTPSConnection):
        response_class = _PatientResponse

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _PatientResponse(http.client.HTTPResponse):
    """Passes over early hints, which http.client takes for the answer, and bears more than 100 headers."""

    def begin(self) -> None:
        super().begin()
        if isinstance(self.fp, _Headers):
            self.fp = self.fp.stream

    def _read_status(self) -> tuple[str, int, str]:
        status: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
        while 100 < status[1] < 200 and status[1] != http.HTTPStatus.SWITCHING_PROTOCOLS:
            _few_lines(self.fp)
            status = super()._read_status()  # type: ignore[misc]
        if status[1] != http.HTTPStatus.CONTINUE:
            self.fp = _Headers(_few_lines(self.fp), self.fp)  # type: ignore[assignment]
        return status


def _few_lines(stream: Any) -> list[bytes]:
    lines = read_header_lines(stream)
    return lines if len(lines) <= _MANY_HEADERS else _most_needed(lines)


def _most_needed(lines: list[bytes]) -> list[bytes]:
    """Leave out what no transfer needs: http.client gives up at 100 headers."""
    kept: list[bytes] = []
    keeping = False
    for line in lines[:-1]:
        if line[:1] not in b" \t":  # such a line goes on with the header before it
            keeping = line.lower().startswith(_NEEDED) and len(kept) < _MANY_HEADERS
        if keeping:
            kept.append(line)
    return [*kept, lines[-1]]


class _Headers:
    """The stream of an answer whose headers were read already."""

    def __init__(self, lines: list[bytes], stream: Any) -> None:
        self._lines = lines
        self.stream = stream

    def readline(self, size: int = -1) -> bytes:
        line: bytes = self._lines.pop(0) if self._lines else self.stream.readline(size)
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
