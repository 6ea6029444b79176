"""Proxies and certificates of the environment are honoured on every connection, and hand on no credentials."""

import base64
import logging
import traceback

import pytest

from colabkit._engine import downloader
from colabkit._internal.retry import Backoff
from colabkit.errors import OfflineError, TransferError
from colabkit.testing.http import Fault, FaultServer, Site
from colabkit.testing.web import FakeWeb
from colabkit.transfer import fetch

MIB = 1 << 20
SECRET = "open-sesame-17"
HOST = "files.example"


class Files:
    """One host with files."""

    def __init__(self):
        self.site = Site()
        self.sites = {HOST: self.site}


@pytest.fixture
def files():
    """The files of the host."""
    return Files()


@pytest.fixture
def use(monkeypatch):
    """Set the variables that lead to a web."""

    def apply(env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)

    return apply


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Give up soon."""
    monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(tries=1, first=0.01))


def test_every_connection_goes_through_the_proxy(files, use, blob, tmp_path):
    """A file in parts over several connections: each asks the proxy, with its credentials, and none goes past it."""
    data = blob(12 * MIB)
    files.site.put("a.bin", data, rate=8 * MIB)
    with FakeWeb(files, user="ada", password=SECRET) as web:
        use(web.env)
        assert fetch(f"https://{HOST}/a.bin", tmp_path / "a.bin", connections=4).read_bytes() == data
        assert len(web.asked) >= 4
        assert set(web.asked) == {f"{HOST}:443"}
    for seen in files.site.seen:
        assert "proxy-authorization" not in seen.headers


def test_a_proxy_that_refuses_is_told_without_its_password(files, use, tmp_path, caplog):
    """Wrong proxy credentials are the network's fault in words; the password is in no error and no line of ours."""
    caplog.set_level(logging.DEBUG)
    files.site.put("a.bin", b"1")
    with FakeWeb(files, user="ada", password="other") as web:
        use({name: value.replace("other", SECRET) for name, value in web.env.items()})
        with pytest.raises(OfflineError, match="proxy") as caught:
            fetch(f"https://{HOST}/a.bin", tmp_path / "a.bin")
    shown = "".join(traceback.format_exception(caught.value))
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("colabkit"))
    for secret in (SECRET, base64.b64encode(f"ada:{SECRET}".encode()).decode()):
        assert secret not in shown + ours


def test_a_certificate_that_nobody_vouches_for_is_refused(files, use, monkeypatch, tmp_path):
    """Without REQUESTS_CA_BUNDLE the proxy's authority is a stranger; the message names that variable."""
    files.site.put("a.bin", b"1")
    with FakeWeb(files) as web:
        use(web.env)
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name)
        with pytest.raises(TransferError, match="REQUESTS_CA_BUNDLE"):
            fetch(f"https://{HOST}/a.bin", tmp_path / "a.bin")
    assert files.site.seen == []


def test_hosts_in_no_proxy_are_asked_directly(files, use, server, tmp_path):
    """NO_PROXY keeps this machine's own server off the proxy, on each connection."""
    server.put("a.bin", bytes(6 * MIB), rate=4 * MIB)
    with FakeWeb(files) as web:
        use({**web.env, "HTTP_PROXY": web.env["HTTPS_PROXY"], "http_proxy": web.env["HTTPS_PROXY"]})
        use({"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})
        fetch(server.url("a.bin"), tmp_path / "a.bin")
        assert web.asked == []
    assert len(server.seen) > 1


def test_a_proxy_that_is_not_there_is_offline_soon(use, tmp_path):
    """A proxy setting that leads nowhere is an OfflineError that names the proxy, not a hang."""
    with FaultServer() as gone:
        address = f"http://127.0.0.1:{gone.port}"
    use({"HTTPS_PROXY": address, "https_proxy": address, "NO_PROXY": "", "no_proxy": ""})
    with pytest.raises(OfflineError, match="proxy"):
        fetch(f"https://{HOST}/a.bin", tmp_path / "a.bin")


def test_credentials_for_the_host_are_not_shown_to_the_proxy(files, use, tmp_path):
    """Behind the tunnel the host gets the password; a redirect to another host takes it nowhere."""
    files.sites["other.example"] = Site()
    files.sites["other.example"].put("b.bin", b"data")
    files.site.put("a.bin", b"", Fault(kind="redirect", location="https://other.example/b.bin", times=9))
    with FakeWeb(files, user="ada", password=SECRET) as web:
        use(web.env)
        assert fetch(f"https://bob:{SECRET}@{HOST}/a.bin", tmp_path / "a.bin").read_bytes() == b"data"
    assert all("authorization" in seen.headers for seen in files.site.seen)
    assert all("authorization" not in seen.headers for seen in files.sites["other.example"].seen)


def test_a_proxy_without_a_host_is_called_a_proxy(monkeypatch, tmp_path):
    """A mistyped variable is no fault of the address that is fetched."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    with pytest.raises(OfflineError, match=r"cannot find the proxy proxy\.invalid") as caught:
        fetch(f"https://{HOST}/a.bin", tmp_path / "a.bin")
    assert "HTTPS_PROXY" in caught.value.hint
