"""The cache knows what makes an answer another one: whose login it is, cookies, headers, and what the server says."""

import io
import zipfile

import pytest

from colabkit.errors import ExistsError
from colabkit.testing.http import FaultServer, Resource
from colabkit.transfer import fetch, fetch_details

SECRET = "s3cr3t"  # noqa: S105 - nobody's


class Personal(FaultServer):
    """Serves everybody a file of their own: what they sent, in words."""

    def __init__(self):
        super().__init__()
        self.headers = {}

    def answer(self, request):
        """Tell the headers that make a difference."""
        known = ("authorization", "cookie", "accept", "x-part")
        told = "|".join(f"{name}={request.headers.get(name, '')}" for name in known)
        return Resource(data=told.encode(), etag=None, headers=self.headers)


@pytest.fixture
def personal():
    """Run such a server."""
    with Personal() as running:
        yield running


def test_each_login_has_a_file_of_its_own(personal):
    """alice, bob and nobody: each gets theirs, and each is found again without the server."""
    urls = [personal.url("a.csv").replace("http://", f"http://{who}") for who in ("", "alice:1@", "bob:1@", "bob:2@")]
    first = [fetch(url, progress=False).read_bytes() for url in urls]
    assert len(set(first)) == 4
    seen = len(personal.seen)
    assert [fetch(url, progress=False).read_bytes() for url in urls] == first
    assert len(personal.seen) == seen


@pytest.mark.parametrize(
    "option",
    ["-H 'Accept: text/csv'", "-H 'X-Part: 2'", "-b 'session=1'", "-u alice:1", "-H 'Authorization: Bearer x'"],
)
def test_what_a_pasted_command_sends_makes_another_file(personal, option):
    """A header, a cookie, a user: not the file that was fetched without it."""
    plain, special = f"curl {personal.url('a.csv')}", f"curl {option} {personal.url('a.csv')}"
    assert fetch(plain, progress=False).read_bytes() != fetch(special, progress=False).read_bytes()


def test_a_login_of_netrc_counts(personal, isolated):
    """Another user in ~/.netrc is another login, as is none."""
    found = []
    for user in ("ada", "bob", None):
        netrc = isolated / ".netrc"
        netrc.write_text(f"machine 127.0.0.1 login {user} password {SECRET}\n" if user else "")
        netrc.chmod(0o600)
        found.append(fetch(personal.url("a.csv"), progress=False).read_bytes())
    assert len(set(found)) == 3


def test_another_login_does_not_take_the_file_at_a_place(personal, tmp_path):
    """The same place for alice and bob: bob is told that the place is taken, and never given alice's file."""
    fetch(personal.url("a.csv").replace("//", "//alice:1@"), tmp_path / "a.csv", progress=False)
    with pytest.raises(ExistsError):
        fetch(personal.url("a.csv").replace("//", "//bob:1@"), tmp_path / "a.csv", progress=False)


@pytest.mark.parametrize("header", [{"Cache-Control": "private, no-store"}, {"Vary": "*"}])
def test_what_is_not_to_be_kept_is_fetched_again(personal, header):
    """no-store and Vary: * are asked for anew each time; the file itself is returned as ever."""
    personal.headers = header
    assert [fetch_details(personal.url("a.csv"), progress=False).from_cache for _ in range(2)] == [False, False]


def test_an_archive_that_is_not_to_be_kept_is_fetched_and_unpacked_again(server):
    """The folder that it became is no copy that the next call may take; it takes the place of the first."""
    for name in ("first", "second"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            packed.writestr(name, b"7,0,0")
        server.put("a.zip", out.getvalue(), headers={"Cache-Control": "no-store"})
        folder = fetch(server.url("a.zip"), progress=False)
        assert [path.name for path in folder.iterdir()] == [name]


def test_a_file_that_needed_a_login_is_readable_for_its_owner_only(personal):
    """In the cache it has the mode 0600; one without a login has that of the umask."""
    private = fetch(personal.url("a.csv").replace("//", f"//ada:{SECRET}@"), progress=False)
    assert private.stat().st_mode & 0o777 == 0o600
    assert fetch(personal.url("a.csv"), progress=False).stat().st_mode & 0o044


def test_the_cache_holds_no_secret(personal, isolated):
    """Neither a password nor a token is in any file or name of the cache."""
    fetch(f"curl -u ada:{SECRET} -b 'sid={SECRET}' {personal.url('a.csv')}?key={SECRET}", progress=False)
    for path in isolated.rglob("*"):
        assert SECRET not in str(path)
        if path.is_file() and path.name != "a.csv":
            assert SECRET.encode() not in path.read_bytes()
