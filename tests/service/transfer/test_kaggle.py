"""Kaggle: what is asked, with which credentials, and what is said when it refuses."""

import base64
import json
import logging
import os
import stat
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from colabkit._clients.kaggle import auth as kaggle_auth
from colabkit._clients.kaggle.handle import parse
from colabkit._engine import downloader
from colabkit._http import json_api
from colabkit._internal.retry import Backoff
from colabkit.errors import AccessError, AddressError, BusyError, ColabKitError, NotFoundError, OfflineError
from colabkit.runtime.frontend import rpc as frontend_rpc
from colabkit.testing.http import Fault
from colabkit.testing.kaggle import KEY, REFRESH, TOKEN, USER, FakeKaggle
from colabkit.testing.web import FakeWeb
from colabkit.transfer import fetch, fetch_details, here
from colabkit.transfer.sources import kaggle_mounts
from colabkit.transfer.sources.registry import open_source

MIB = 1 << 20


@pytest.fixture
def kaggle(monkeypatch):
    """Play Kaggle to everything in this process that honours the environment."""
    played = FakeKaggle()
    with FakeWeb(played) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        yield played


@pytest.fixture
def token(monkeypatch):
    """Sign in with a token."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("kaggle:ada/digits", "kaggle:ada/digits"),
        ("Kaggle:ada/digits/versions/3", "kaggle:ada/digits/3"),
        ("kaggle:ada/digits/3/train/7.png", "kaggle:ada/digits/3/train/7.png"),
        ("kaggle:ada/digits/train.csv", "kaggle:ada/digits/train.csv"),
        ("kaggle:competitions/digit-recognizer", "kaggle:competitions/digit-recognizer"),
        ("kaggle:competitions/digit-recognizer/train.csv", "kaggle:competitions/digit-recognizer/train.csv"),
        ("kaggle:models/google/gemma/keras/gemma_2b_en", "kaggle:models/google/gemma/keras/gemma_2b_en"),
        ("kaggle:models/google/gemma/keras/gemma_2b_en/2/a/b", "kaggle:models/google/gemma/keras/gemma_2b_en/2/a/b"),
        ("https://www.kaggle.com/datasets/ada/digits", "kaggle:ada/digits"),
        ("http://kaggle.com/ada/digits?select=train.csv", "kaggle:ada/digits/train.csv"),
        ("https://www.kaggle.com/datasets/ada/digits/versions/2?select=a%20b.csv", "kaggle:ada/digits/2/a b.csv"),
        ("https://www.kaggle.com/datasets/ada/digits/data", "kaggle:ada/digits"),
        ("https://www.kaggle.com//datasets/ada/digits", "kaggle:ada/digits"),
        ("https://www.kaggle.com/competitions/digit-recognizer/rules", "kaggle:competitions/digit-recognizer"),
        ("https://www.kaggle.com/c/digit-recognizer/data?select=x.csv", "kaggle:competitions/digit-recognizer/x.csv"),
        ("https://www.kaggle.com/models/google/gemma/keras/2b/3", "kaggle:models/google/gemma/keras/2b/3"),
        (
            "https://www.kaggle.com/models/google/gemma/frameworks/keras/variations/2b/versions/3",
            "kaggle:models/google/gemma/keras/2b/3",
        ),
        ("kaggle:code/ada/train", "kaggle:code/ada/train"),
        ("kaggle:code/ada/train/versions/3/out/a.csv", "kaggle:code/ada/train/3/out/a.csv"),
        ("https://www.kaggle.com/code/ada/train", "kaggle:code/ada/train"),
        ("https://www.kaggle.com/code/ada/train/output?select=a.csv", "kaggle:code/ada/train/a.csv"),
        ("https://www.kaggle.com/kernels/ada/train/notebook", "kaggle:code/ada/train"),
        ("https://www.kaggle.com/datasets/code/digits", "kaggle:datasets/code/digits"),
        ("https://www.kaggle.com/api/v1/datasets/download/ada/digits", "kaggle:ada/digits"),
        (
            "https://www.kaggle.com/api/v1/datasets/download/ada/digits/x.csv?datasetVersionNumber=4",
            "kaggle:ada/digits/4/x.csv",
        ),
        (
            "https://www.kaggle.com/api/v1/competitions/data/download-all/digit-recognizer",
            "kaggle:competitions/digit-recognizer",
        ),
        ("https://www.kaggle.com/api/v1/models/g/gemma/keras/2b/3/download", "kaggle:models/g/gemma/keras/2b/3"),
        ("kaggle:ada/digits/versions/latest/2020/a.csv", "kaggle:ada/digits/versions/latest/2020/a.csv"),
        ("https://www.kaggle.com/datasets/ada/digits?select=2020", "kaggle:ada/digits/versions/latest/2020"),
        (
            "https://www.kaggle.com/api/v1/datasets/download/ada/digits/2020/a.csv",
            "kaggle:ada/digits/versions/latest/2020/a.csv",
        ),
        ("kaggle datasets download ada/digits -f 2020/a.csv", "kaggle:ada/digits/versions/latest/2020/a.csv"),
        ("kaggle datasets download ada/digits -f versions/a.csv", "kaggle:ada/digits/versions/latest/versions/a.csv"),
        ("kaggle competitions download digits -f 2020/a.csv", "kaggle:competitions/digits/2020/a.csv"),
        ("kaggle datasets download ada/digits", "kaggle:ada/digits"),
        ("!kaggle datasets download -d ada/digits -f train.csv", "kaggle:ada/digits/train.csv"),
        ("$ kaggle competitions download -c digit-recognizer", "kaggle:competitions/digit-recognizer"),
        ("kaggle c download digit-recognizer --file x.csv -q", "kaggle:competitions/digit-recognizer/x.csv"),
        ("kaggle models instances versions download g/gemma/keras/2b/3", "kaggle:models/g/gemma/keras/2b/3"),
    ],
)
def test_handles_addresses_and_commands_name_the_same(text, handle):
    """Each way that Kaggle writes it is read as one handle, and the handle reads back as itself."""
    assert open_source(text).source.shown == handle
    assert open_source(handle).source.shown == handle


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kaggle:", "write it as kaggle:OWNER/DATASET"),
        ("kaggle:digits", "write it as kaggle:OWNER/DATASET"),
        ("kaggle:ada/digits/../../etc/passwd", "not a plain path"),
        ("kaggle:ada/digits/versions/x", "no number"),
        ("kaggle:ada/..", "write it as"),
        ("kaggle:models/google/gemma", "write it as"),
        ("https://www.kaggle.com/", "no dataset"),
        ("kaggle:code/ada", "write it as"),
        ("https://www.kaggle.com/code/ada/notebook/settings", "'settings' is not known"),
        ("https://www.kaggle.com/code/ada/notebook?scriptVersionId=99", "not a number of a version"),
        ("https://www.kaggle.com/models/google/gemma", "choose one on its page"),
        ("https://www.kaggle.com/datasets/ada/digits/settings", "'settings' is not known"),
        ("kaggle datasets download", "names nothing"),
        ("kaggle datasets download a/b c/d", "names two things"),
        ("kaggle datasets create -p x", "not a command that fetches"),
        ("kaggle datasets download a/b --nonsense", "--nonsense"),
        ("kaggle datasets download a/b | tee x", r"'\| tee'"),
        ("kaggle competitions submit -c digits -f a.csv -m x", "ck.push"),
    ],
)
def test_what_names_nothing_is_refused_before_any_network(text, why):
    """Each message says what is wrong with it, or how to write it."""
    with pytest.raises(AddressError, match=why):
        open_source(text)


@pytest.mark.parametrize(
    "name", ["a?b.csv", "12:30.csv", 'the "one".csv', ".hidden.csv", f"{'long' * 47}.csv", "ä b.csv"]
)
def test_a_zipped_file_is_unzipped_whatever_its_name(kaggle, token, tmp_path, name):
    """Kaggle keeps some files zipped: what comes is the file, not the zip's bytes under its name."""
    kaggle.put("datasets/ada/digits", {f"in/{name}": b"7,0,0"}, zipped=frozenset({f"in/{name}"}))
    assert fetch(f"kaggle:ada/digits/in/{name}", tmp_path / "a.csv").read_bytes() == b"7,0,0"
    assert fetch(f"kaggle:ada/digits/in/{name}", f"{tmp_path}/all/").read_bytes() == b"7,0,0"


@pytest.mark.parametrize("place", [".config/kaggle", "xdg/kaggle", ".kaggle"])
def test_the_key_is_found_wherever_kaggles_program_keeps_it(kaggle, tmp_path, monkeypatch, place):
    """~/.kaggle, and since kaggle 1.6 the folder of the XDG specification."""
    kaggle.put("datasets/ada/digits", {"a.csv": b"7"}, private=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    if place.startswith("xdg"):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    file = tmp_path / place / "kaggle.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"username": USER, "key": KEY}))
    file.chmod(0o600)
    assert fetch("kaggle:ada/digits/a.csv", tmp_path / "a.csv").read_bytes() == b"7"


def _signed_in(home, ends, **fields):
    """Leave what `kaggle auth login` leaves."""
    file = home / ".kaggle" / "credentials.json"
    file.parent.mkdir(parents=True)
    value = {"refresh_token": REFRESH, "access_token": "KGAT_old", "access_token_expiration": ends, "username": USER}
    file.write_text(json.dumps({**value, **fields}))
    return file


@pytest.mark.parametrize("ends", ["2020-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00", "", "yesterday"])
def test_a_sign_in_is_renewed_when_its_token_is_over_or_refused(kaggle, tmp_path, monkeypatch, ends):
    """What `kaggle auth login` left opens what is private; the new token is kept, readable by the user alone."""
    kaggle.put("datasets/ada/digits", {"a.csv": b"7"}, private=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    file = _signed_in(tmp_path, ends)
    assert fetch("kaggle:ada/digits/a.csv", tmp_path / "a.csv").read_bytes() == b"7"
    kept = json.loads(file.read_text())
    assert (kept["access_token"], kept["refresh_token"], kept["username"]) == (TOKEN, REFRESH, USER)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kaggle.calls.clear()
    fetch("kaggle:ada/digits/a.csv", tmp_path / "b.csv", overwrite=True)
    assert not any(method.endswith("GenerateAccessToken") for method, _ in kaggle.calls)


def test_a_sign_in_that_is_over_is_told(kaggle, tmp_path, monkeypatch, caplog):
    """It was withdrawn: the line says how to sign in again, and no secret is shown."""
    kaggle.put("datasets/ada/digits", {"a.csv": b"7"}, private=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    _signed_in(tmp_path, "2020-01-01T00:00:00+00:00", refresh_token="KGRT_withdrawn")  # noqa: S106 - it opens nothing
    with pytest.raises(AccessError) as caught:
        fetch("kaggle:ada/digits/a.csv", tmp_path / "a.csv")
    assert "kaggle auth login" in caplog.text
    assert "KGRT" not in f"{caught.value}{caplog.text}"


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("You must verify your phone number before downloading this data", r"phone number(.|\n)*kaggle\.com/settings"),
        ("You have exceeded your storage quota", r"quota(.|\n)*kaggle\.com/settings"),
        ("You must accept this competition's rules", r"rules are not accepted(.|\n)*/rules"),
    ],
)
def test_each_refusal_of_kaggles_has_its_own_advice(kaggle, token, tmp_path, said, advice):
    """A phone that is not verified is no rule that is not accepted."""
    kaggle.put("competitions/digits", {"a.csv": b"7"}, consent=said)
    with pytest.raises(AccessError, match=advice):
        fetch("kaggle:competitions/digits/a.csv", tmp_path / "a.csv")


def test_a_token_that_is_none_does_not_hide_a_right_one(kaggle, tmp_path, monkeypatch, caplog):
    """A text of another language in the variable is passed over aloud."""
    kaggle.put("datasets/ada/digits", {"a.csv": b"7"}, private=True)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "mein Schlüssel")
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    assert fetch("kaggle:ada/digits/a.csv", tmp_path / "a.csv").read_bytes() == b"7"
    assert "KAGGLE_API_TOKEN" in caplog.text


def test_kaggle_itself_is_never_imported(kaggle, tmp_path):
    """It signs in when it is imported, and may print a page of help; its kagglesdk does neither."""
    kaggle.put("datasets/ada/digits", {"a.csv": b"7"})
    script = "import sys; from colabkit import fetch; fetch('kaggle:ada/digits/a.csv', sys.argv[1], progress=False)"
    script += "; assert 'kagglesdk' in sys.modules and 'kaggle' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.csv")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@given(st.text(max_size=60))
@example("/[")
def test_a_handle_is_read_or_refused(text):
    """Any text is a handle whose parts are plain, or our error; nothing climbs out of a folder."""
    for form in (f"kaggle:{text}", f"kaggle:a/b/{text}", f"https://www.kaggle.com/{text}"):
        try:
            handle = parse(form)
        except ColabKitError:
            continue
        assert parse(str(handle)) == handle
        assert not {"", ".", ".."} & {*handle.slugs, *(handle.file.split("/") if handle.file else ())}


@given(st.text(alphabet="-pfdcqo ./ab1'\"=", max_size=40))
def test_a_command_is_read_or_refused(text):
    """Any words behind the program are an order, or our error that names what is wrong."""
    for start in ("datasets download ", "competitions download ", "models instances versions download ", ""):
        try:
            order = open_source(f"!kaggle {start}{text}")
        except ColabKitError:
            continue
        assert parse(order.source.shown) == order.source.handle
        assert order.to


def test_a_dataset_comes_unpacked_without_an_account(kaggle, tmp_path):
    """Public data needs no credentials; all files lie in a folder of the dataset's name."""
    kaggle.put("datasets/ada/digits", {"train/7.csv": b"7,0", "test.csv": b"1"}, version=3)
    done = fetch_details("kaggle:ada/digits", f"{tmp_path}/")
    assert done.path == tmp_path / "digits"
    assert (done.path / "train/7.csv").read_bytes() == b"7,0"
    assert done.checksum.startswith("md5:")
    assert kaggle.calls == [
        ("datasets.DatasetApiService/DownloadDataset", {"ownerSlug": "ada", "datasetSlug": "digits"})
    ]
    assert "authorization" not in kaggle.seen[0].headers
    assert fetch_details("kaggle:ada/digits", f"{tmp_path}/").from_cache
    assert fetch("kaggle:ada/digits/3/test.csv", tmp_path / "t.csv").read_bytes() == b"1"
    with pytest.raises(NotFoundError, match=r"no kaggle:ada/digits/9"):
        fetch("kaggle:ada/digits/9")


def test_without_unpacking_the_archive_has_the_datasets_name(kaggle, tmp_path):
    """unpack=False leaves one zip, called as Kaggle's own program calls it."""
    kaggle.put("datasets/ada/digits", {"a.csv": b"1"})
    assert fetch("kaggle:ada/digits", f"{tmp_path}/", unpack=False).name == "digits.zip"


def test_a_single_file_that_kaggle_zipped_is_taken_out(kaggle, tmp_path):
    """train.csv kept as train.csv.zip arrives as train.csv; a file that is a zip stays one."""
    kaggle.put("datasets/ada/digits", {"in/train.csv": b"7,0\n" * 999}, zipped=frozenset({"in/train.csv"}))
    assert fetch("kaggle:ada/digits/in/train.csv", tmp_path / "x.csv").read_bytes() == b"7,0\n" * 999
    assert fetch("kaggle:ada/digits/in/train.csv", f"{tmp_path}/").name == "train.csv"


def test_a_model_is_asked_for_by_its_newest_version(kaggle, tmp_path, token):
    """Without a number the version is asked for first; the framework is written as the interface wants it."""
    kaggle.put("models/google/gemma/tensor_flow_2/2b", {"config.json": b"{}"}, version=7)
    assert (fetch("kaggle:models/google/gemma/tensorFlow2/2b", f"{tmp_path}/") / "config.json").is_file()
    name, body = kaggle.calls[-1]
    assert name == "models.ModelApiService/DownloadModelInstanceVersion"
    assert (body["versionNumber"], body["framework"]) == (7, "MODEL_FRAMEWORK_TENSOR_FLOW_2")


def test_what_a_notebook_made_is_asked_for_by_its_newest_version(kaggle, tmp_path, token):
    """All of a notebook's output comes unpacked, one file as itself; without a number the version is asked for."""
    kaggle.put("code/ada/train", {"model.keras": b"weights", "logs/a.csv": b"7"}, version=3)
    made = fetch("kaggle:code/ada/train", f"{tmp_path}/")
    assert {path.relative_to(made).as_posix() for path in made.rglob("*.*")} == {"model.keras", "logs/a.csv"}
    assert kaggle.calls[-1][1]["versionNumber"] == 3
    page = "https://www.kaggle.com/code/ada/train/output?select=model.keras"
    assert fetch(page, tmp_path / "m.keras").read_bytes() == b"weights"
    with pytest.raises(NotFoundError, match=r"no kaggle:code/ada/train/9(.|\n)*kaggle\.com/code/ada/train"):
        fetch("kaggle:code/ada/train/9", tmp_path / "no")


def test_a_pasted_command_puts_it_where_the_program_would(kaggle, tmp_path, monkeypatch, token):
    """Without -p the packed file lies in this folder; with --unzip and -p that folder is the dataset."""
    monkeypatch.chdir(tmp_path)
    kaggle.put("competitions/digit-recognizer", {"train.csv": b"1"})
    assert fetch("kaggle competitions download -c digit-recognizer") == Path("digit-recognizer.zip")
    path = fetch("kaggle competitions download -c digit-recognizer -p data --unzip")
    assert path == Path("data")
    assert (tmp_path / "data" / "train.csv").is_file()


def test_a_signed_address_that_expires_is_asked_for_anew(kaggle, tmp_path, blob):
    """Kaggle's addresses live for an hour; a fetch that takes longer goes on where it was, with a new one."""
    data = blob(12 * MIB)
    kaggle.put("datasets/ada/big", {"big.bin": data})
    kaggle.valid_for = 5
    assert fetch("kaggle:ada/big/big.bin", tmp_path / "big.bin").read_bytes() == data
    assert len(kaggle.calls) > 1
    assert kaggle.storage.sent < 1.2 * len(data)


def test_a_wrong_byte_is_caught_by_the_storages_hash(kaggle, tmp_path, blob):
    """The md5 of x-goog-hash is verified without being asked for."""
    kaggle.put("datasets/ada/big", {"big.bin": blob(2 * MIB)})
    kaggle.sign("datasets/ada/big", "big.bin")
    kaggle.storage.resources["kaggle-data-sets/datasets/ada/big/1/big.bin"].faults = [Fault(kind="flip", at=MIB)]
    with pytest.raises(ColabKitError, match="not the expected one"):
        fetch("kaggle:ada/big/big.bin", tmp_path / "big.bin")
    assert list(tmp_path.iterdir()) == []


def basic(username: str, key: str) -> str:
    """Write the header of an old key."""
    return "Basic " + base64.b64encode(f"{username}:{key}".encode()).decode()


def test_credentials_are_looked_for_in_kaggles_order(monkeypatch, isolated):
    """Each place is found, in the order of Kaggle's own programs, and a broken one hides none behind it."""
    home = isolated / ".kaggle"
    home.mkdir()
    (home / "notebook").write_text("notebook-token\n")
    (home / "access_token").write_text("file-token\n")
    (home / "kaggle.json").write_text("{broken")
    (home / "credentials.json").write_text(
        json.dumps({"access_token": "signed-in", "access_token_expiration": "2999-01-01T00:00:00+00:00"})
    )
    for name, value in {
        "KAGGLE_API_V1_TOKEN": str(home / "notebook"),
        "KAGGLE_API_TOKEN": "env-token",
        "KAGGLE_USERNAME": "ada",
        "KAGGLE_KEY": "key",
    }.items():
        monkeypatch.setenv(name, value)
    found = [login.authorization for login in kaggle_auth.logins()][:5]
    assert found == [
        "Bearer notebook-token",
        "Bearer env-token",
        "Bearer file-token",
        basic("ada", "key"),
        "Bearer signed-in",
    ]
    (home / "kaggle.json").write_text(json.dumps({"username": "bob", "key": "old"}))
    assert basic("bob", "old") in [login.authorization for login in kaggle_auth.logins()]


def test_a_token_may_be_the_path_of_a_file(monkeypatch, tmp_path):
    """KAGGLE_API_TOKEN names a file as well, as with Kaggle's own programs."""
    (tmp_path / "token").write_text(f" {TOKEN}\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(tmp_path / "token"))
    assert next(kaggle_auth.logins()).authorization == f"Bearer {TOKEN}"


def test_a_sign_in_that_is_over_is_not_used(isolated):
    """An expired token of `kaggle auth login` is passed over."""
    (isolated / ".kaggle").mkdir()
    (isolated / ".kaggle" / "credentials.json").write_text(
        json.dumps({"access_token": "old", "access_token_expiration": "2001-01-01T00:00:00+00:00"})
    )
    assert list(kaggle_auth.logins()) == []


def test_a_refused_login_gives_way_to_the_next(kaggle, tmp_path, monkeypatch):
    """A stale token in the environment does not hide a good key in a file or the environment."""
    kaggle.put("datasets/ada/secret", {"a.csv": b"1"}, private=True)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "stale")
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    assert (fetch("kaggle:ada/secret", tmp_path / "out") / "a.csv").is_file()


def test_a_key_file_that_others_can_read_is_used_with_a_warning(kaggle, tmp_path, isolated, caplog):
    """It works, and the line that closes it is told; the key itself is not."""
    caplog.set_level(logging.INFO)
    kaggle.put("competitions/titanic", {"a.csv": b"1"})
    (isolated / ".kaggle").mkdir()
    file = isolated / ".kaggle" / "kaggle.json"
    file.write_text(json.dumps({"username": USER, "key": KEY}))
    file.chmod(0o644)
    fetch("kaggle:competitions/titanic", tmp_path / "out")
    assert f"chmod 600 {file}" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("name", "options", "handle", "kind", "text"),
    [
        (
            "competitions/titanic",
            {"consent": "You must accept this competition's rules"},
            "kaggle:competitions/titanic",
            AccessError,
            r"rules are not accepted(.|\n)*it says: You must accept(.|\n)*competitions/titanic/rules",
        ),
        (
            "models/g/gemma/keras/2b",
            {"consent": "Permission denied"},
            "kaggle:models/g/gemma/keras/2b/1",
            AccessError,
            r"terms are not accepted(.|\n)*models/g/gemma/keras/2b while signed in",
        ),
        ("datasets/ada/x", {}, "kaggle:ada/y", NotFoundError, r"no kaggle:ada/y(.|\n)*kaggle\.com/datasets/ada/y"),
        ("datasets/ada/x", {}, "kaggle:ada/x/no.csv", NotFoundError, r"no kaggle:ada/x/no\.csv"),
    ],
)
def test_refusals_say_what_to_do_and_where(kaggle, token, name, options, handle, kind, text):
    """Rules, terms and wrong names: the cause, Kaggle's own words, and the page to open."""
    kaggle.put(name, {"a.csv": b"1"}, **options)
    with pytest.raises(kind, match=text):
        fetch(handle)


def test_without_credentials_the_places_are_named(kaggle):
    """A competition always needs an account: the message lists where one was looked for and how to get one."""
    kaggle.put("competitions/titanic", {"a.csv": b"1"})
    with pytest.raises(AccessError, match=r"kaggle\.json(.|\n)*https://www\.kaggle\.com/settings") as caught:
        fetch("kaggle:competitions/titanic")
    assert caught.value.exit_code == 23


def test_credentials_that_are_refused_are_named_by_their_place(kaggle, monkeypatch):
    """Which place held the wrong ones is told; the credentials are not."""
    kaggle.put("competitions/titanic", {"a.csv": b"1"})
    monkeypatch.setenv("KAGGLE_API_TOKEN", "stale-token")
    with pytest.raises(AccessError, match=r"does not accept your credentials(.|\n)*KAGGLE_API_TOKEN") as caught:
        fetch("kaggle:competitions/titanic")
    assert "stale-token" not in str(caught.value)


def test_too_many_requests_are_waited_out_or_told(kaggle, tmp_path, monkeypatch):
    """One 429 costs the second it asks for; many are a BusyError."""
    monkeypatch.setattr(json_api, "Backoff", lambda **options: Backoff(first=0.01, **options))
    kaggle.put("datasets/ada/x", {"a.csv": b"1"})
    kaggle.busy = 1
    fetch("kaggle:ada/x", tmp_path / "out")
    kaggle.busy = 99
    monkeypatch.setattr(json_api, "Backoff", lambda **_: Backoff(tries=0))
    with pytest.raises(BusyError, match="Too many requests"):
        fetch("kaggle:ada/x", tmp_path / "other")


def test_credentials_go_to_kaggle_alone(kaggle, tmp_path, token, caplog, isolated):
    """The storage behind the signed address sees no token, and no file or log holds it or the signature."""
    caplog.set_level(logging.DEBUG)
    kaggle.put("datasets/ada/x", {"a.csv": b"1"})
    fetch("kaggle:ada/x/a.csv", tmp_path / "a.csv")
    assert kaggle.seen[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert all("authorization" not in seen.headers and "cookie" not in seen.headers for seen in kaggle.storage.seen)
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("colabkit"))
    kept = b"".join(path.read_bytes() for root in (tmp_path, isolated) for path in root.rglob("*") if path.is_file())
    for secret in (TOKEN, "X-Goog-Signature"):
        assert secret not in ours
        assert secret.encode() not in kept


def test_offline_is_told_before_credentials_are(monkeypatch, tmp_path):
    """COLABKIT_OFFLINE=1 is the reason given, not a missing account."""
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    with pytest.raises(OfflineError):
        fetch("kaggle:competitions/titanic", tmp_path / "out")


def hub(isolated, *parts: str) -> Path:
    """Make a folder of kagglehub's cache with one file."""
    folder = isolated.joinpath(".cache", "kagglehub", *parts)
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("hub")
    return folder


def test_what_kagglehub_has_fetched_is_used(isolated, tmp_path):
    """A complete version in its cache needs no network; with `to` it is copied there."""
    folder = hub(isolated, "datasets", "ada", "digits", "versions", "3")
    (folder.parent.parent / "3.complete").touch()
    done = fetch_details("kaggle:ada/digits")
    assert (done.path, done.from_cache, done.source) == (folder, True, "kaggle:ada/digits")
    assert fetch("kaggle:ada/digits/3/a.csv") == folder / "a.csv"
    assert (fetch("kaggle:ada/digits", tmp_path / "mine") / "a.csv").read_text() == "hub"
    model = hub(isolated, "models", "google", "gemma", "keras", "2b", "1")
    (model.parent / "1.complete").touch()
    assert fetch("kaggle:models/google/gemma/keras/2b") == model
    competition = hub(isolated, "competitions", "titanic")
    (competition.parent / "titanic.complete").touch()
    assert fetch("kaggle:competitions/titanic/a.csv") == competition / "a.csv"


def test_what_kagglehub_did_not_finish_is_not_used(isolated, kaggle):
    """Without the marker it may be half a dataset."""
    kaggle.put("datasets/ada/digits", {"a.csv": b"whole"})
    hub(isolated, "datasets", "ada", "digits", "versions", "3")
    assert (fetch("kaggle:ada/digits") / "a.csv").read_bytes() == b"whole"


def test_overwrite_passes_over_what_is_here(isolated, kaggle, tmp_path):
    """overwrite=True asks Kaggle, whatever kagglehub has."""
    kaggle.put("datasets/ada/digits", {"a.csv": b"new"})
    folder = hub(isolated, "datasets", "ada", "digits", "versions", "3")
    (folder.parent.parent / "3.complete").touch()
    assert (fetch("kaggle:ada/digits", tmp_path / "out", overwrite=True) / "a.csv").read_bytes() == b"new"


@pytest.fixture
def service(server, monkeypatch, tmp_path):
    """The service of a notebook's machine that mounts data; `answers` says what, `asked` what was asked."""
    from colabkit.testing.http import Page

    server.answers, server.asked = {}, []

    def answer(request):
        server.asked.append((request.path, json.loads(request.body), dict(request.headers)))
        found = server.answers.get(request.path)
        return Page(status=404) if found is None else Page(body=json.dumps(found).encode())

    monkeypatch.setattr(server, "answer", answer)
    (tmp_path / "input" / "digits").mkdir(parents=True)
    (tmp_path / "input" / "digits" / "a.csv").write_text("mounted")
    return server


def test_colabs_mounts_are_used(service, monkeypatch, tmp_path):
    """Colab is asked for owner, name and version, without our credentials, and its read-only folder is returned."""
    monkeypatch.setenv("TBE_RUNTIME_ADDR", f"127.0.0.1:{service.port}")
    monkeypatch.setenv("COLAB_CACHE_MOUNT_FOLDER", str(tmp_path / "input"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    service.answers = {"/kagglehub/datasets/is_supported": {}, "/kagglehub/datasets/mount": {"slug": "digits"}}
    assert fetch("kaggle:ada/digits/2/a.csv") == tmp_path / "input" / "digits" / "a.csv"
    assert service.asked[-1][1] == {"owner": "ada", "dataset": "digits", "version": 2}
    assert all("authorization" not in headers for _, _, headers in service.asked)
    monkeypatch.setenv("DISABLE_COLAB_CACHE", "1")
    assert kaggle_mounts.find(parse("kaggle:ada/digits")) is None


def test_kaggles_mounts_are_used(service, monkeypatch, tmp_path):
    """A Kaggle notebook's service attaches exactly that dataset, and its folder is returned."""
    for name, value in {
        "KAGGLE_KERNEL_RUN_TYPE": "Interactive",
        "KAGGLE_DATA_PROXY_URL": service.url("").rstrip("/"),
        "KAGGLE_USER_SECRETS_TOKEN": "jwt",
        "KAGGLE_DATA_PROXY_TOKEN": "proxy",
        "KAGGLE_CACHE_MOUNT_FOLDER": str(tmp_path / "input"),
    }.items():
        monkeypatch.setenv(name, value)
    path = "/kaggle-jwt-handler/AttachDatasourceUsingJwtRequest"
    service.answers = {path: {"wasSuccessful": True, "result": {"mountSlug": "digits"}}}
    assert fetch("kaggle:ada/digits") == tmp_path / "input" / "digits"
    assert service.asked[-1][1] == {"datasetRef": {"OwnerSlug": "ada", "DatasetSlug": "digits"}}
    service.answers = {path: {"wasSuccessful": True, "result": {"mountSlug": "../digits"}}}
    assert kaggle_mounts.find(parse("kaggle:ada/digits")) is None


def test_a_plan_asks_no_service_and_waits_for_no_mount(service, monkeypatch, tmp_path, isolated):
    """here() only looks: the machine that would mount the data is not asked; what kagglehub has is found."""
    monkeypatch.setenv("TBE_RUNTIME_ADDR", f"127.0.0.1:{service.port}")
    monkeypatch.setenv("COLAB_CACHE_MOUNT_FOLDER", str(tmp_path / "none"))
    service.answers = {"/kagglehub/datasets/is_supported": {}, "/kagglehub/datasets/mount": {"slug": "digits"}}
    assert here("kaggle:ada/digits") is None
    assert service.asked == []
    folder = hub(isolated, "datasets", "ada", "digits", "versions", "3")
    (folder.parent.parent / "3.complete").touch()
    assert here("kaggle:ada/digits") == folder


@pytest.fixture
def colab_page(monkeypatch):
    """A Colab kernel with a page in front of it whose upload button gives what `uploads` holds."""
    page = types.SimpleNamespace(uploads={}, folders=[])

    def upload(target_dir=""):
        page.folders.append(target_dir)
        for name, data in page.uploads.items():
            Path(target_dir, name).write_bytes(data)
        return page.uploads

    colab = types.ModuleType("google.colab")
    colab.files = types.ModuleType("google.colab.files")
    colab.files.upload = upload
    google = types.ModuleType("google")
    google.colab = colab
    for module in (google, colab, colab.files):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(frontend_rpc, "is_kernel", lambda _: True)
    monkeypatch.setattr(kaggle_auth.frontend, "detect_frontend", lambda *_: "browser")
    monkeypatch.setattr(kaggle_auth, "secret", lambda *_, **__: None)
    return page


@pytest.fixture
def open_umask():
    """Let what is written be readable by all, unless whoever writes it says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_dialog_that_nobody_answers_is_not_waited_for_without_end(kaggle, colab_page, monkeypatch, tmp_path):
    """The user may be away: after a while the fetch says what it needs, where google.colab waits for ever."""
    monkeypatch.setattr(kaggle_auth, "_UPLOAD_SECONDS", 0.3)
    monkeypatch.setattr(sys.modules["google.colab.files"], "upload", lambda _: time.sleep(60))
    kaggle.put("competitions/titanic", {"a.csv": b"1"})
    with pytest.raises(AccessError):
        fetch("kaggle:competitions/titanic", tmp_path / "out")


def test_an_uploaded_key_is_kept_for_the_user_alone(kaggle, colab_page, isolated, tmp_path, open_umask):
    """Where a browser shows the notebook a kaggle.json can be uploaded; it is written 0600 and used from then on."""
    kaggle.put("competitions/titanic", {"a.csv": b"1"})
    colab_page.uploads = {"kaggle (1).json": json.dumps({"username": USER, "key": KEY}).encode()}
    fetch("kaggle:competitions/titanic", tmp_path / "out")
    kept = isolated / ".kaggle" / "kaggle.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["username"] == USER
    assert not Path(colab_page.folders[0]).exists()
    fetch("kaggle:competitions/titanic/a.csv", tmp_path / "a.csv")
    assert len(colab_page.folders) == 1


def test_an_upload_that_is_cancelled_or_wrong_is_told_as_missing_credentials(kaggle, colab_page, isolated):
    """Cancelling, or another file, ends in the ordinary message, and nothing is written."""
    kaggle.put("competitions/titanic", {"a.csv": b"1"})
    for uploads in ({}, {"cat.jpg": b"\xff\xd8"}, {"kaggle.json": b'{"username": 1}'}):
        colab_page.uploads = uploads
        with pytest.raises(AccessError, match="requires a login"):
            fetch("kaggle:competitions/titanic")
    assert not (isolated / ".kaggle").exists()


def test_no_upload_is_offered_where_nobody_could_click(kaggle):
    """Outside Colab's kernel nothing is shown, and nothing waits."""
    assert kaggle_auth.upload_key() is None


def test_a_failed_download_goes_on_later(kaggle, tmp_path, blob, monkeypatch):
    """What arrived before the storage broke down is kept; the next call fetches only the rest."""
    data = blob(12 * MIB)
    kaggle.put("datasets/ada/big", {"big.bin": data})
    kaggle.sign("datasets/ada/big", "big.bin")
    stored = kaggle.storage.resources["kaggle-data-sets/datasets/ada/big/1/big.bin"]
    stored.faults = [Fault(kind="reset", at=at, times=99) for at in range(6 * MIB, 12 * MIB, 100_000)]
    monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(tries=2, first=0.01))
    with pytest.raises(ColabKitError):
        fetch("kaggle:ada/big/big.bin", tmp_path / "big.bin", connections=1)
    stored.faults = []
    kaggle.storage.sent = 0
    assert fetch("kaggle:ada/big/big.bin", tmp_path / "big.bin").read_bytes() == data
    assert kaggle.storage.sent < 8 * MIB
