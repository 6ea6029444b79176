"""Claims about the account that asks Drive's interface: google-auth's own session, under the engine's rules."""

import json
import os

import pytest

from colabkit._clients import gdrive
from colabkit.errors import AccessError, OfflineError, StorageError, TransferError
from colabkit.storage import open_storage
from colabkit.testing.google_drive import CREDENTIALS, TOKEN
from colabkit.testing.http import Page
from colabkit.transfer import fetch

BIG = 9_000_000


def tokens(drive):
    """Count the questions for a token."""
    return sum(seen.path == "/token" for seen in drive.interface.seen)


def refused(drive):
    """Count the requests that were answered with 401."""
    return sum(seen.status == 401 for seen in drive.interface.seen)


def test_it_is_google_auths_session(signed_in_drive, monkeypatch):
    """What its makers do about quota projects, universes and refreshes is done for Drive as well."""
    from google.auth.transport.requests import AuthorizedSession

    sent = []
    ask = AuthorizedSession.request
    monkeypatch.setattr(
        AuthorizedSession,
        "request",
        lambda self, method, url, **more: sent.append(method) or ask(self, method, url, **more),
    )
    open_storage("drive:runs").put("a", b"7")
    assert {"GET", "POST"} <= set(sent)


@pytest.mark.parametrize("size", [3, BIG])
def test_a_token_that_is_taken_back_is_renewed_once(signed_in_drive, tmp_path, size):
    """In a session of hours the token may be withdrawn before its time: one 401, one new token, and it goes on."""
    storage = open_storage("drive:runs")
    storage.put("first", b"1")
    before = tokens(signed_in_drive)
    signed_in_drive.expire()
    (tmp_path / "a").write_bytes(os.urandom(size))
    storage.put("a", tmp_path / "a")
    assert (tokens(signed_in_drive) - before, refused(signed_in_drive)) == (1, 1)
    signed_in_drive.expire()
    storage.get("a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert refused(signed_in_drive) == 2


def test_a_token_that_is_taken_back_while_bytes_are_fetched_is_renewed(signed_in_drive, tmp_path):
    """The source is asked again when the engine is refused, and then the bytes are asked for with the new token."""
    data = os.urandom(BIG)
    identity = signed_in_drive.put("mine.bin", data, public=False)
    account = gdrive.account()
    remote = account.remote(account.about(identity), "", "it")
    signed_in_drive.expire()
    again = account.remote(account.about(identity), "", "it")
    assert again.target.headers["Authorization"] == f"Bearer {signed_in_drive.token}"
    assert remote.target.headers["Authorization"] == f"Bearer {TOKEN}"


def test_an_account_that_is_refused_for_good_is_asked_twice(signed_in_drive, monkeypatch):
    """A new token that does not help either is no reason to go on asking; the words say how to sign in."""
    monkeypatch.setattr(signed_in_drive, "token", "another")
    site = signed_in_drive.interface
    answer = site.answer
    told = json.dumps({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}).encode()
    monkeypatch.setattr(
        site, "answer", lambda request: Page(body=told) if request.path == "/token" else answer(request)
    )
    with pytest.raises(AccessError, match="Invalid Credentials") as caught:
        gdrive.account().about("anything")
    assert "authenticate_user" in caught.value.hint
    assert (refused(signed_in_drive), tokens(signed_in_drive)) == (2, 2)
    assert TOKEN not in str(caught.value)


def test_a_bare_token_that_is_over_says_how_to_sign_in(google_drive, monkeypatch):
    """It cannot be renewed: that is a sign-in that is no longer valid, told as it is for writing."""
    monkeypatch.setenv("GOOGLE_CREDENTIALS", "ya29.a-token-of-yesterday")
    with pytest.raises(AccessError, match="no longer valid") as caught:
        gdrive.account(write=True).about("anything")
    assert "auth/drive," in caught.value.hint
    assert "ya29.a-token-of-yesterday" not in str(caught.value)


def test_neither_a_redirect_nor_an_upload_address_leads_a_token_away(signed_in_drive, monkeypatch, tmp_path):
    """Only the interface's own host sees it, whatever it, or a proxy in its name, answers."""
    other = signed_in_drive.storage
    away = Page(status=307, headers={"Location": "https://drive.usercontent.google.com/steal"})
    storage, site = open_storage("drive:runs"), signed_in_drive.interface
    storage.put("a", b"1")
    answer = site.answer
    with monkeypatch.context() as patch:
        patch.setattr(site, "answer", lambda request: answer(request) if request.path == "/token" else away)
        with pytest.raises(TransferError):
            gdrive.account(write=True).about("anything")
        with pytest.raises(StorageError, match="307"):
            storage.put("b", b"1")
        patch.setattr(site, "answer", lambda _: away)
        with pytest.raises(OfflineError, match="cannot renew the sign-in"):
            gdrive.account().about("anything")
    (tmp_path / "big").write_bytes(bytes(BIG))
    place = {"Location": "https://drive.usercontent.google.com/upload?upload_id=1"}
    monkeypatch.setattr(
        site, "answer", lambda request: Page(headers=place) if "/upload/" in request.path else answer(request)
    )
    with pytest.raises(StorageError, match="no upload address of its own"):
        storage.put("big", tmp_path / "big")
    with pytest.raises(TransferError, match=r"drive\.usercontent\.google\.com"):
        gdrive.account().send("PUT", "https://drive.usercontent.google.com/x", {}, b"1", "it", read=5.0)
    assert other.seen == []


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_company_certificate_is_trusted_by_each_of_its_names(signed_in_drive, monkeypatch, name):
    """Whichever variable the administrator set: for the token, for questions and for uploads."""
    bundle = os.environ[name]
    for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, bundle)
    storage = open_storage("drive:runs")
    storage.put("a", b"7")
    assert storage.read("a") == b"7"


def test_a_login_in_netrc_is_not_sent(signed_in_drive, monkeypatch, tmp_path):
    """By itself requests puts it in the place of the token."""
    (tmp_path / "netrc").write_text("machine www.googleapis.com login ada password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    open_storage("drive:runs").put("a", b"7")
    sent = [seen.headers.get("authorization", "") for seen in signed_in_drive.interface.seen if seen.path != "/token"]
    assert {text.partition(" ")[0] for text in sent} == {"Bearer"}


def test_the_project_that_pays_for_the_quota_goes_along(google_drive, monkeypatch, tmp_path):
    """Drive refuses the sign-in of gcloud without one; google-auth knows it, and bytes are asked for likewise."""
    monkeypatch.setenv("GOOGLE_CREDENTIALS", json.dumps({**CREDENTIALS, "quota_project_id": "my-project"}))
    identity = google_drive.put("a.csv", b"7,0", public=False)
    assert fetch(f"https://drive.google.com/file/d/{identity}/view", tmp_path / "a.csv").read_bytes() == b"7,0"
    sent = [seen for seen in google_drive.interface.seen if seen.path != "/token"]
    assert {seen.headers.get("x-goog-user-project") for seen in sent} == {"my-project"}


def test_a_network_that_is_gone_is_known_soon(signed_in_drive, monkeypatch):
    """No token can be had: that is no network, not a sign-in that is over; and offline is offline."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(OfflineError):
        gdrive.account().about("anything")
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    with pytest.raises(OfflineError, match="COLABKIT_OFFLINE"):
        gdrive.account().send("GET", f"{gdrive.API}/x", {}, None, "it", read=5.0)


def test_an_answer_that_is_a_whole_file_is_not_read_for_its_first_byte(signed_in_drive, monkeypatch):
    """A proxy that ignores ranges sends all of it; the question for the first byte takes as much as words need."""
    data = bytes(40_000_000)
    identity = signed_in_drive.put("mine.bin", data, public=False)
    account = gdrive.account()
    about = account.about(identity)
    from colabkit.testing.http import Fault

    signed_in_drive.files[identity].faults = [Fault(kind="whole", times=9)]
    before = signed_in_drive.interface.sent
    account.remote(about, "", "it")
    assert signed_in_drive.interface.sent - before < 20_000_000
