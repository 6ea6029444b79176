"""A small web of its own: a proxy on this machine that plays hosts of the internet to unmodified programs.

Programs find it by the settings that proxies and certificates always have, `HTTPS_PROXY` and `REQUESTS_CA_BUNDLE`, so
curl, gdown, kagglehub, the kaggle command and colabkit itself are tested as they are, with the addresses they use.
Nothing leaves the machine: a host that no site plays is refused.
"""

from __future__ import annotations

import base64
import contextlib
import ssl
import tempfile
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from colabkit._internal.optional import require
from colabkit.testing.http import Server, Site

if TYPE_CHECKING:
    from collections.abc import Mapping


class World(Protocol):
    """Something that plays one or more hosts."""

    @property
    def sites(self) -> Mapping[str, Site]:
        """What each host serves."""


class FakeWeb:
    """A proxy with a certificate authority of its own, to be used in a `with` statement.

    Args:
        worlds: What plays the hosts.
        user: The user name that the proxy demands, or "".
        password: The password that goes with it.

    Attributes:
        env: The environment variables that lead programs here.
        asked: The hosts that were asked for, in order, with their ports.
        authority: The certificate authority; a program that does not know it must refuse.

    Example:
        >>> import requests
        >>> class Hello:
        ...     sites = {"hello.example": Site()}
        >>> _ = Hello.sites["hello.example"].put("digits.csv", b"7,0,0")
        >>> with FakeWeb(Hello()) as web:
        ...     proxies = {"https": web.env["HTTPS_PROXY"]}
        ...     bundle = web.env["REQUESTS_CA_BUNDLE"]
        ...     requests.get("https://hello.example/digits.csv", proxies=proxies, verify=bundle).content
        b'7,0,0'
    """

    def __init__(self, *worlds: World, user: str = "", password: str = "") -> None:
        trustme = require("trustme", extra="test", why="the proxy signs certificates for the hosts that it plays")
        self.sites = {host: site for world in worlds for host, site in world.sites.items()}
        self.asked: list[str] = []
        self.authority: Any = trustme.CA()
        self._folder = tempfile.TemporaryDirectory(prefix="colabkit-web-")
        bundle = Path(self._folder.name, "authority.pem")
        self.authority.cert_pem.write_to_path(bundle)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()
        self.expected = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
        outer = self

        class Handler(_Proxy):
            web = outer

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        login = f"{user}:{password}@" if user else ""
        address = f"http://{login}127.0.0.1:{self._server.server_address[1]}"
        self.env = {
            "HTTPS_PROXY": address,
            "https_proxy": address,
            "NO_PROXY": "",
            "no_proxy": "",
            "REQUESTS_CA_BUNDLE": str(bundle),
            "CURL_CA_BUNDLE": str(bundle),
            "SSL_CERT_FILE": str(bundle),
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_all()
        self._thread.join()
        self._folder.cleanup()

    def context(self, host: str) -> ssl.SSLContext:
        """Return what proves to be a host."""
        with self._lock:
            if host not in self._contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                self.authority.issue_cert(host).configure_cert(context)
                self._contexts[host] = context
            return self._contexts[host]


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    web: FakeWeb

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Stay silent."""

    def do_CONNECT(self) -> None:
        self.close_connection = True
        host = self.path.partition(":")[0]
        self.web.asked.append(self.path)
        if self.web.expected and self.headers.get("Proxy-Authorization") != self.web.expected:
            self.send_response(407)
            self.send_header("Proxy-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        site = self.web.sites.get(host)
        if site is None:
            self.send_response(502, "no site plays this host")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200, "connected")
        self.end_headers()
        context = self.web.context(host)
        # A client that does not trust us hangs up.
        with contextlib.suppress(OSError), context.wrap_socket(self.connection, server_side=True) as secure:
            site.handler(secure, self.client_address, self.server)
