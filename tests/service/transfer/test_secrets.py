"""Credentials go to the host they are meant for, and nowhere else."""

import base64
import http.server
import logging
import threading
import traceback

import pytest

from colabkit._engine import downloader
from colabkit._http.netrc_file import netrc_login
from colabkit._internal.retry import Backoff
from colabkit.errors import AccessError, ColabKitError, TransferError, WebPageError
from colabkit.testing.http import Fault, FaultServer
from colabkit.transfer import fetch

MIB = 1 << 20
SECRET = "s3cr3t-t0ken"  # noqa: S105 - nobody's


def with_password(url: str) -> str:
    """Put user and password into an address."""
    return url.replace("http://", f"http://ada:{SECRET}@")


def basic() -> str:
    """Write the header that they become."""
    return "Basic " + base64.b64encode(f"ada:{SECRET}".encode()).decode()


def everything_below(folder):
    """Read all files of a folder."""
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_password_in_an_address_opens_the_file(server, blob, tmp_path):
    """https://user:password@host/ is sent as basic authorization, on each connection."""
    data = blob(3 * MIB)
    server.put("a.bin", data, authorization=basic())
    assert fetch(with_password(server.url("a.bin")), tmp_path / "a.bin").read_bytes() == data
    assert {seen.headers["authorization"] for seen in server.seen} == {basic()}


def test_credentials_do_not_follow_a_redirect_to_another_host(server, blob, tmp_path):
    """The other host, even another port of this machine, sees neither password nor cookie nor key."""
    data = blob(3 * MIB)
    with FaultServer() as other:
        other.put("b.bin", data)
        server.put("a.bin", b"", Fault(kind="redirect", location=other.url("b.bin"), times=9), authorization=basic())
        assert fetch(with_password(server.url("a.bin")), tmp_path / "a.bin").read_bytes() == data
        assert len(other.seen) >= 1
        for seen in other.seen:
            assert not {"authorization", "cookie", "referer"} & seen.headers.keys()


def test_credentials_follow_a_redirect_on_the_same_host(server, blob, tmp_path):
    """A redirect within the host keeps them, or the file would not open."""
    server.put("b.bin", b"data", authorization=basic())
    server.put("a.bin", b"", Fault(kind="redirect", location="/b.bin"), authorization=basic())
    assert fetch(with_password(server.url("a.bin")), tmp_path / "a.bin").read_bytes() == b"data"


def test_netrc_does_not_replace_what_the_user_gave(server, tmp_path, isolated):
    """A ~/.netrc entry for the host is used only where no credentials were given."""
    netrc = isolated / ".netrc"
    netrc.write_text("machine 127.0.0.1 login bob password other\n")
    netrc.chmod(0o600)
    server.put("a.bin", b"data", authorization=basic())
    assert fetch(with_password(server.url("a.bin")), tmp_path / "a.bin").read_bytes() == b"data"


@pytest.mark.parametrize("fault", ["status", "reset", "closed"])
def test_no_secret_is_in_an_error_its_causes_a_log_or_a_file(
    server, blob, tmp_path, caplog, isolated, monkeypatch, fault
):
    """Neither the password nor the query of a signed address is in any text that could be shown or kept."""
    caplog.set_level(logging.DEBUG)
    faults = {
        "status": Fault(kind="status", status=500, times=99),
        "reset": Fault(kind="reset", at=2 * MIB + 5, times=99),
    }
    server.put("a.bin", blob(4 * MIB), *([faults[fault]] if fault in faults else []))
    url = with_password(server.url("a.bin")) + f"?X-Signature={SECRET}"
    if fault == "closed":
        server.close()
    monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(tries=1, first=0.01))
    with pytest.raises(TransferError) as caught:
        fetch(url, tmp_path / "a.bin")
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text.replace("Starting new HTTP connection", "")
    ours = "\n".join(line for line in shown.splitlines() if "urllib3" not in line)
    assert SECRET not in ours
    assert basic().split()[1] not in ours
    kept = everything_below(tmp_path) + everything_below(isolated)
    assert SECRET.encode() not in kept
    assert f"127.0.0.1:{server.port}/a.bin" in str(caught.value)


def test_a_redirect_from_https_to_http_is_refused():
    """Nobody on the way may swap the file after the user asked for https."""
    from colabkit._http.client import _redirected

    with pytest.raises(AccessError, match="plain http"):
        _redirected("https://example.org/a", "http://example.org/a", {})


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.org/a", "//[::1", "javascript:1"])
def test_a_redirect_to_something_else_than_the_web_is_refused(server, tmp_path, location):
    """A server cannot make us read a local file or speak another protocol."""
    server.put("a.bin", b"", Fault(kind="redirect", location=location))
    with pytest.raises(ColabKitError, match="not a web address"):
        fetch(server.url("a.bin"), tmp_path / "a.bin")


def test_a_circle_of_redirects_ends(server, tmp_path):
    """An endless redirect is an error after ten."""
    server.put("a.bin", b"", Fault(kind="redirect", location="/a.bin", times=99))
    with pytest.raises(TransferError, match="loop"):
        fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert len(server.seen) == 11


@pytest.mark.parametrize("how", ["header", "address", "cookie", "basic"])
def test_what_a_server_repeats_is_not_shown(tmp_path, how):
    """Its refusal may quote the very token that it was sent; the rest of its words stay."""
    lines = {
        "header": "curl -H 'X-Api-Key: {secret}' {url}",
        "address": "{url}?token={secret}",
        "cookie": "curl -b 'session={secret}' {url}",
        "basic": "curl -u ada:{secret} {url}",
    }

    class Repeats(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            words = (
                f"<!doctype html><title>Forbidden</title>You sent {self.path} {SECRET} {dict(self.headers)}".encode()
            )
            self.send_response(403 if "page" not in self.path else 200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            self.wfile.write(words)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repeats) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("refused.bin", "page.bin"):
            url = f"http://127.0.0.1:{server.server_port}/{name}"
            with pytest.raises(TransferError, match="Forbidden") as caught:
                fetch(lines[how].format(secret=SECRET, url=url), tmp_path / name)
            assert SECRET not in "".join(traceback.format_exception(caught.value))
            assert base64.b64encode(f"ada:{SECRET}".encode()).decode() not in str(caught.value)
        server.shutdown()


def test_the_default_of_netrc_is_for_no_host_that_a_server_names(server, tmp_path, isolated):
    """The user's own address may have it, as with curl; what an answer leads to may not."""
    netrc = isolated / ".netrc"
    netrc.write_text(f"default login ada password {SECRET}\n")
    netrc.chmod(0o600)
    server.put("b.bin", b"data")
    server.put("a.bin", b"", Fault(kind="redirect", location=f"http://localhost:{server.port}/b.bin"))
    fetch(server.url("a.bin"), tmp_path / "a.bin")
    sent = [request.headers.get("authorization") for request in server.seen]
    assert sent[0] is not None
    assert sent[-1] is None


def test_a_page_that_pythons_parser_cannot_read_is_a_page(server, tmp_path):
    """Marks that no browser knows end in words, not in an AssertionError."""
    page = b"<!doctype html><html><![[[[dobtype htm><title>Quota exceeded</title>"
    server.put("a.zip", page)
    with pytest.raises(WebPageError, match="Quota exceeded"):
        fetch(server.url("a.zip"), tmp_path / "a.zip")


def test_the_default_of_netrc_is_for_no_other_port_of_the_host(server, tmp_path, isolated):
    """Another port of the machine may be somebody else's server; and what stands behind a # names no host."""
    netrc = isolated / ".netrc"
    netrc.write_text(f"machine internal.example login ada password {SECRET}x\ndefault login ada password {SECRET}\n")
    netrc.chmod(0o600)
    with FaultServer() as other:
        other.put("b.bin", b"data")
        server.put("a.bin", b"", Fault(kind="redirect", location=other.url("b.bin"), times=9))
        fetch(server.url("a.bin"), tmp_path / "a.bin")
        assert {seen.headers["authorization"] for seen in server.seen} == {basic()}
        assert not any("authorization" in seen.headers for seen in other.seen)
    server.put("c.bin", b"data")
    address = server.url("c.bin")
    place = address.replace("http://", "").partition("/")[0]
    assert netrc_login(f"http://{place}#@internal.example/x", default=False) == ""
    assert netrc_login("http://internal.example:81/x", default=False) != ""
