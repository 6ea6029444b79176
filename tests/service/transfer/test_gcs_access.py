"""Who asks: nobody for public data, else what google-auth finds; each refusal names its next step."""

import json
import time

import pytest
from google.auth.credentials import Credentials

from colabkit._clients import gcs as _gcs_api
from colabkit._clients.gcs import Api
from colabkit._clients.gcs.address import parse
from colabkit._clients.gcs.auth import Caller
from colabkit.errors import AccessError, NotFoundError, OfflineError, TransferError
from colabkit.testing.http import FaultServer, Page
from colabkit.transfer import fetch, push
from colabkit.transfer.sources.gcs import source_of


@pytest.fixture
def service(gcs, monkeypatch, tmp_path):
    """Make the emulator the real service: credentials are looked for, and no metadata server is asked."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setattr(_gcs_api, "SERVICE", gcs.endpoint)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_DETECT_RETRIES", "1")
    _gcs_api._connect.cache_clear()
    yield gcs
    _gcs_api._connect.cache_clear()


@pytest.fixture
def signed_in(service, monkeypatch, tmp_path):
    """Sign in with the key file of a service account."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(service.write_credentials(tmp_path / "key.json")))
    return service


def test_public_data_is_asked_for_by_nobody(service, tmp_path):
    """No credentials are looked for, let alone sent."""
    service.put("bucket", "a", b"data")
    assert fetch("gs://bucket/a", tmp_path / "a").read_bytes() == b"data"
    assert all("authorization" not in seen.headers for seen in service.seen)


def test_a_key_file_is_used(signed_in, blob, tmp_path):
    """Both ways, the token goes to the service, and into no file."""
    signed_in.bucket("bucket", public=False)
    push(blob(5 << 20), "gs://bucket/a")
    assert fetch("gs://bucket/a", tmp_path / "a").read_bytes() == blob(5 << 20)
    token = next(iter(signed_in.tokens))
    sent = [
        seen.headers.get("authorization") for seen in signed_in.seen if seen.on in ("metadata", "start", "download")
    ]
    assert set(sent) == {f"Bearer {token}"}
    files = [path for path in tmp_path.parent.rglob("*") if path.is_file() and path.name != "key.json"]
    assert not any(token.encode() in path.read_bytes() for path in files)


def test_a_token_that_expires_on_the_way_is_renewed(service, blob, tmp_path):
    """The service refuses the old token in the middle of the file: a new one goes on, with nothing fetched twice."""
    data = blob(12 << 20)
    service.bucket("bucket", public=False)
    service.put("bucket", "a", data)
    service.rate = 8 << 20
    credentials = _Credentials(service)

    def expire(done, total):
        if done > 4 << 20 and credentials.renewals == 0:
            service.tokens = {"ya29.new": "ada"}

    from colabkit._engine.fetch_task import FetchTask, Options

    source = source_of(parse("gs://bucket/a"))
    source = type(source)(address=source.address, api=Api(Caller(credentials), service.endpoint))
    path = FetchTask(source, tmp_path / "a", Options(show=expire, connections=2)).run().path
    assert path.read_bytes() == data
    assert credentials.renewals >= 1
    assert service.sent <= 1.1 * len(data)


class _Credentials(Credentials):
    """Credentials of google-auth, whose tokens a server gives out."""

    renewals = 0

    def __init__(self, gcs):
        super().__init__()
        self.token = "ya29.test"  # noqa: S105 - of the emulator
        self._gcs = gcs

    def before_request(self, request, method, url, headers):
        """Add the present token."""
        headers["authorization"] = f"Bearer {self.token}"

    def refresh(self, request):
        """Get another one."""
        self.renewals += 1
        self.token = next(iter(self._gcs.tokens))


def test_without_credentials_the_next_step_is_told(service, tmp_path):
    """A bucket that is not public: how to sign in, in Colab and elsewhere, within seconds."""
    service.bucket("bucket", public=False)
    service.put("bucket", "a", b"data")
    begun = time.monotonic()
    with pytest.raises(AccessError, match=r"not public, and nobody is signed in") as caught:
        fetch("gs://bucket/a", tmp_path / "a")
    assert time.monotonic() - begun < 15
    assert "no credentials were found" in caught.value.why
    assert "auth.authenticate_user()" in caught.value.do
    assert "gcloud auth application-default login" in caught.value.do
    with pytest.raises(AccessError, match="nobody is signed in"):
        push(b"x", "gs://bucket/b")


def test_a_403_names_who_asked_and_the_role(signed_in, tmp_path):
    """The account is known and may not: whom to ask for which role."""
    signed_in.bucket("bucket", public=False)
    signed_in.put("bucket", "a", b"data")
    signed_in.bucket("bucket", forbidden=True)
    with pytest.raises(AccessError, match=r"robot@test-project\.example may not") as caught:
        fetch("gs://bucket/a", tmp_path / "b")
    assert "Storage Object Viewer" in caught.value.do


def test_a_bucket_that_makes_its_readers_pay(signed_in, monkeypatch, tmp_path):
    """Without a project: which variable to set. With one: it is named to that bucket alone."""
    signed_in.put("free", "a", b"data")
    signed_in.bucket("costly", requester_pays=True)
    signed_in.put("costly", "a", b"data")
    with pytest.raises(AccessError, match="charges its readers") as caught:
        fetch("gs://costly/a", tmp_path / "a")
    assert "GOOGLE_CLOUD_QUOTA_PROJECT" in caught.value.do
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "payer")
    fetch("gs://free/a", tmp_path / "free")
    assert not any("userProject" in seen.query for seen in signed_in.seen)
    assert fetch("gs://costly/a", tmp_path / "b").read_bytes() == b"data"
    assert push(b"x", "gs://costly/b") == "gs://costly/b"
    assert fetch("gsutil -u other cp gs://costly/b -").read_bytes() == b"x"


@pytest.mark.parametrize("what", ["missing", "damaged", "no key"])
def test_a_key_file_that_cannot_be_used_is_named(service, monkeypatch, tmp_path, what):
    """GOOGLE_APPLICATION_CREDENTIALS leads nowhere: an error that says so, instead of an anonymous try."""
    path = tmp_path / "key.json"
    if what != "missing":
        path.write_text("{" if what == "damaged" else json.dumps({"type": "robot"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(AccessError, match="cannot use the credentials that GOOGLE_APPLICATION_CREDENTIALS names"):
        fetch("gs://bucket/a", tmp_path / "a")
    assert service.seen == []


def test_a_sign_in_that_was_withdrawn_still_reads_public_data(signed_in, tmp_path):
    """The account is gone: public objects come, others say why not."""
    signed_in.put("open", "a", b"data")
    signed_in.bucket("closed", public=False)
    signed_in.put("closed", "a", b"data")
    signed_in.fail("token", "status", status=400, times=99)
    assert fetch("gs://open/a", tmp_path / "a").read_bytes() == b"data"
    with pytest.raises(AccessError) as caught:
        fetch("gs://closed/a", tmp_path / "b")
    assert "the credentials that were found cannot be used" in caught.value.why


def test_no_network_is_told_as_that(service, tmp_path):
    """The service is gone: OfflineError, not a refusal."""
    service.close()
    with pytest.raises(OfflineError):
        fetch("gs://bucket/a", tmp_path / "a")


def test_what_a_refusal_says_is_no_larger_than_a_line(monkeypatch):
    """A long page of HTML from a proxy is told by its first words, and does not fill the error."""
    page = b"<html><title>Teapot</title><p>" + b"Short and stout. " * 5000
    with FaultServer() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.port}")
        monkeypatch.setattr(server, "answer", lambda _: Page(status=418, body=page))
        with pytest.raises(TransferError, match=r"refuses(.|\n)*418: Teapot") as caught:
            fetch("gs://bucket/a")
    assert len(str(caught.value)) < 600


def test_a_404_of_another_kind_is_told(service):
    """An address that is no Cloud Storage at all."""
    with pytest.raises(NotFoundError):
        fetch("gs://none/a")


@pytest.mark.parametrize("place", ["variable", "secret of the notebook"])
@pytest.mark.parametrize("kind", ["key", "token"])
def test_nobody_there_signs_in_by_a_secret(service, monkeypatch, tmp_path, place, kind):
    """A service account's key or an access token in GOOGLE_CREDENTIALS: both ways without a question or a file."""
    service.bucket("bucket", public=False)
    value = next(iter(service.tokens)) + "-of-somebody"
    service.tokens[value] = "ada@example.org"
    if kind == "key":
        value = json.dumps(json.loads(service.write_credentials(tmp_path / "key.json").read_text()))
    if place == "variable":
        monkeypatch.setenv("GOOGLE_CREDENTIALS", value)
    else:
        (tmp_path / ".env").write_text(f"GOOGLE_CREDENTIALS='{value}'\n")
        monkeypatch.chdir(tmp_path)
    push(b"7,0,0", "gs://bucket/a")
    assert fetch("gs://bucket/a", tmp_path / "a").read_bytes() == b"7,0,0"
    asked = {
        seen.headers.get("authorization") for seen in service.seen if seen.on in ("metadata", "insert", "download")
    }
    assert asked <= {f"Bearer {token}" for token in service.tokens} | {None}


@pytest.mark.parametrize(
    "value",
    ["{", "{}", '{"type": "service_account", "private_key": "s3cret"}', "no token", '{"type": "external_account"}'],
)
def test_a_secret_that_is_no_sign_in_is_told_and_not_repeated(service, monkeypatch, tmp_path, value):
    """Half-written JSON, another kind, a password."""
    monkeypatch.setenv("GOOGLE_CREDENTIALS", value)
    service.bucket("bucket", public=False)
    with pytest.raises(AccessError, match="credentials in GOOGLE_CREDENTIALS") as caught:
        fetch("gs://bucket/a", tmp_path / "a")
    assert "s3cret" not in str(caught.value)
