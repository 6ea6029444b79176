"""The programs that people use today, unmodified, against the same doubles as ours: the doubles are what they say."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from colabkit.testing.google_drive import FakeDrive
from colabkit.testing.kaggle import KEY, TOKEN, USER, FakeKaggle
from colabkit.testing.web import FakeWeb
from colabkit.transfer import fetch, push

pytestmark = pytest.mark.slow

SCRIPTS = Path(sysconfig.get_path("scripts"))


@pytest.fixture
def played(monkeypatch):
    """Drive and Kaggle behind one proxy, for this process and for those it starts."""
    drive, kaggle = FakeDrive(), FakeKaggle()
    with FakeWeb(drive, kaggle) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        yield drive, kaggle


def run(*command: object, cwd: Path) -> str:
    """Run a program and return what it printed; a failure shows all of it."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_gdown_and_fetch_get_the_same(played, tmp_path, blob):
    """A small file, a large one behind its button, a document, and a folder of 60 files."""
    drive, _ = played
    small, large = drive.put("a.csv", b"7,0"), drive.put("b.bin", blob(1 << 20))
    plan = drive.put("plan", b"text", mime="application/vnd.google-apps.document")
    top = drive.folder("photos")
    for number in range(60):
        drive.put(f"{number}.bin", bytes([number]), parent=top)
    for identity in (small, large, plan):
        link = f"https://drive.google.com/uc?id={identity}"
        run(SCRIPTS / "gdown", link, "-O", "theirs", cwd=tmp_path)
        assert fetch(link, tmp_path / "ours", overwrite=True).read_bytes() == (tmp_path / "theirs").read_bytes()
    link = f"https://drive.google.com/drive/folders/{top}"
    run(SCRIPTS / "gdown", "--folder", link, "-O", "folder", cwd=tmp_path)
    ours = fetch(link, tmp_path / "mine")
    assert {path.name: path.read_bytes() for path in ours.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "folder").rglob("*.bin")
    }


def test_kagglehub_and_fetch_get_the_same_and_share_a_cache(played, tmp_path):
    """A dataset by kagglehub; ours then takes it from that cache, and fetched anew it is the same."""
    _, kaggle = played
    kaggle.put("datasets/ada/digits", {"a.csv": b"1", "in/b.csv": b"2"}, version=3)
    code = "import kagglehub; print('at', kagglehub.dataset_download('ada/digits'))"
    theirs = Path(run(sys.executable, "-c", code, cwd=tmp_path).rpartition("at ")[2].strip())
    assert fetch("kaggle:ada/digits") == theirs
    ours = fetch("kaggle:ada/digits", tmp_path / "ours", overwrite=True)
    for name in ("a.csv", "in/b.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_the_kaggle_command_and_fetch_get_the_same(played, tmp_path, monkeypatch):
    """A competition with an old key, by the command and by pasting the same command into fetch."""
    _, kaggle = played
    kaggle.put("competitions/titanic", {"train.csv": b"1" * 1000})
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    (tmp_path / "theirs").mkdir()
    run(SCRIPTS / "kaggle", "competitions", "download", "-c", "titanic", cwd=tmp_path / "theirs")
    ours = fetch("kaggle competitions download -c titanic", f"{tmp_path}/", unpack=False)
    assert ours.read_bytes() == (tmp_path / "theirs" / "titanic.zip").read_bytes()


def test_the_kaggle_command_and_push_make_the_same(played, tmp_path, monkeypatch):
    """A dataset, a version of it and a submission, by the command and by push, from one folder."""
    _, kaggle = played
    kaggle.put("competitions/titanic", {"train.csv": b"1"})
    monkeypatch.setenv("KAGGLE_USERNAME", USER)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    folder = tmp_path / "digits"
    (folder / "in").mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"7" * 300_000)
    (folder / "in" / "b.csv").write_bytes(b"8")
    about = {"id": f"{USER}/their-digits", "title": "Their digits", "licenses": [{"name": "CC0-1.0"}]}
    (folder / "dataset-metadata.json").write_text(json.dumps(about))
    for words in (["create"], ["version", "-m", "second"]):
        run(SCRIPTS / "kaggle", "datasets", *words, "-p", folder, "--dir-mode", "zip", cwd=tmp_path)
    run(SCRIPTS / "kaggle", "competitions", "submit", "-f", folder / "a.csv", "-m", "m", "titanic", cwd=tmp_path)
    (folder / "dataset-metadata.json").write_text(json.dumps({**about, "id": f"{USER}/our-digits"}))
    push(folder, f"kaggle:{USER}/our-digits")
    push(folder, f"kaggle:{USER}/our-digits", message="second")
    push(folder / "a.csv", "kaggle:competitions/titanic", message="m")
    theirs, ours = (kaggle.bundles[f"datasets/{USER}/{name}-digits"] for name in ("their", "our"))
    assert (ours.files, ours.version, ours.notes) == (theirs.files, theirs.version, theirs.notes)
    assert [(one.name, one.message, len(one.data)) for one in kaggle.submissions] == [("a.csv", "m", 300_000)] * 2


def test_kagglehub_and_push_make_the_same(played, tmp_path, monkeypatch):
    """A dataset and a model with folders, a version of each, and one of more than 50 files."""
    _, kaggle = played
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    folder = tmp_path / "digits"
    (folder / "in").mkdir(parents=True)
    (folder / "a.csv").write_bytes(b"7")
    (folder / "in" / "b.csv").write_bytes(b"8")
    code = """
import sys, kagglehub
kagglehub.dataset_upload(sys.argv[1], sys.argv[2], version_notes='second')
kagglehub.model_upload('ada/theirs/keras/small', sys.argv[2], version_notes='second')
"""
    for count in (0, 0, 60):
        for number in range(count):
            (folder / "in" / f"{number}.txt").write_text(f"{number}")
        run(sys.executable, "-c", code, f"{USER}/their-digits", folder, cwd=tmp_path)
        push(folder, f"kaggle:{USER}/our-digits", message="second", overwrite=True)
        push(folder, f"kaggle:models/{USER}/ours/keras/small", message="second", overwrite=True)
        theirs, ours = (kaggle.bundles[f"datasets/{USER}/{name}-digits"] for name in ("their", "our"))
        assert (ours.files, ours.version, ours.private) == (theirs.files, theirs.version, theirs.private)
        theirs, ours = (kaggle.bundles[f"models/{USER}/{name}/keras/small"] for name in ("theirs", "ours"))
        assert (ours.files, ours.version, ours.notes) == (theirs.files, theirs.version, theirs.notes)
        assert {key: value for key, value in ours.about.items() if value not in ("", [], None, False)} == {
            key: value for key, value in theirs.about.items() if value not in ("", [], None, False)
        }


def test_kagglehub_and_fetch_get_the_same_of_a_notebook(played, tmp_path, monkeypatch):
    """What a notebook made, by kagglehub and by fetch."""
    _, kaggle = played
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.put("code/ada/train", {"model.keras": b"weights", "logs/a.csv": b"7"}, version=3)
    code = "import kagglehub; print('at', kagglehub.notebook_output_download('ada/train'))"
    theirs = Path(run(sys.executable, "-c", code, cwd=tmp_path).rpartition("at ")[2].strip())
    ours = fetch("kaggle:code/ada/train", tmp_path / "ours")
    for name in ("model.keras", "logs/a.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_curl_gets_the_same_through_the_proxy(played, tmp_path):
    """The double's certificates and redirects are such that curl accepts them."""
    drive, _ = played
    link = f"https://drive.google.com/uc?export=download&id={drive.put('a.csv', b'7,0')}"
    run("curl", "-sfL", "-o", "theirs", link, cwd=tmp_path)
    assert (tmp_path / "theirs").read_bytes() == fetch(link, tmp_path / "ours").read_bytes()
