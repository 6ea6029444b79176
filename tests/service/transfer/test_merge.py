"""Contents that join a folder: `kaggle … --unzip`, and what it does to what already exists."""

import io
import json
import lzma
import multiprocessing
import os
import zipfile

import pytest

from colabkit import setup
from colabkit.errors import ArchiveError, ExistsError
from colabkit.testing.kaggle import FakeKaggle
from colabkit.testing.web import FakeWeb
from colabkit.transfer import fetch, fetch_details, here, merging

FILES = {"train.csv": b"7,0,0", "images/7.png": b"seven"}


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """Play Kaggle with one dataset; the present folder is empty."""
    played = FakeKaggle()
    played.put("datasets/ada/digits", FILES)
    monkeypatch.chdir(tmp_path)
    with FakeWeb(played) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        yield played


def _below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "folder"),
    [("--unzip", "."), ("--unzip -p .", "."), ("--unzip -p data/", "data"), ("-p data --unzip", "data")],
)
@pytest.mark.parametrize("made", [False, True])
def test_a_command_unzips_straight_into_its_folder(kaggle, tmp_path, words, folder, made):
    """Where kaggle puts the members, whether the folder is there or not; what lies beside them stays."""
    if made:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "mine.txt").write_bytes(b"mine")
    line = f"!kaggle datasets download -d ada/digits {words}"
    assert here(line) is None
    assert fetch(line).resolve() == (tmp_path / folder).resolve()
    assert FILES.items() <= _below(tmp_path / folder).items()
    assert set(_below(tmp_path)) == {*(f"{folder}/{name}".removeprefix("./") for name in FILES)} | (
        {"data/mine.txt"} if made else set()
    )
    kaggle.calls.clear()
    assert fetch_details(line).from_cache
    assert here(line) is not None
    assert not kaggle.calls


def test_a_file_of_mine_is_left_alone(kaggle, tmp_path):
    """A member of the same name and other content is refused before anything is moved; the same content is fine."""
    (tmp_path / "train.csv").write_bytes(b"mine")
    with pytest.raises(ExistsError, match=r"train\.csv(.|\n)*overwrite=True"):
        fetch("kaggle datasets download ada/digits --unzip")
    assert {name: data for name, data in _below(tmp_path).items() if not name.startswith(".")} == {"train.csv": b"mine"}
    (tmp_path / "train.csv").write_bytes(FILES["train.csv"])
    fetch("kaggle datasets download ada/digits --unzip")
    (tmp_path / "train.csv").write_bytes(b"changed")
    fetch("kaggle datasets download ada/digits --unzip", overwrite=True)
    assert _below(tmp_path) == FILES


def test_a_file_in_the_place_of_a_folder_is_told(kaggle, tmp_path):
    """Neither is replaced by the other, not even with overwrite=True."""
    (tmp_path / "images").write_bytes(b"a file")
    with pytest.raises(ExistsError, match=r"in the way of images/7\.png"):
        fetch("kaggle datasets download ada/digits --unzip", overwrite=True)
    (tmp_path / "data").write_bytes(b"a file")
    with pytest.raises(ExistsError, match="data is not a folder"):
        fetch("kaggle datasets download ada/digits --unzip -p data")


def test_a_damaged_archive_leaves_nothing(kaggle, tmp_path, monkeypatch):
    """Members appear when all of them are sound, or none does."""
    monkeypatch.setattr("colabkit.testing.kaggle.packed", lambda _: b"PK\3\4" + b"no zip" * 99)
    with pytest.raises(ArchiveError):
        fetch("kaggle datasets download ada/digits --unzip -p data")
    assert _below(tmp_path) == {}


def _killed(folder):
    os.chdir(folder)
    moves = []
    replace = os.replace

    def die(*words):
        moves.append(words)
        if str(words[1]).endswith((".csv", ".png")) and len([w for w in moves if "files" in str(w[0])]) > 1:
            os._exit(9)
        replace(*words)

    merging.os.replace = die
    fetch("kaggle datasets download ada/digits --unzip -p data")


def test_a_kill_between_two_members_is_gone_on_with(kaggle, tmp_path):
    """The next process only moves the rest, and asks nobody."""
    process = multiprocessing.get_context("spawn").Process(target=_killed, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 9
    kaggle.calls.clear()
    fetch("kaggle datasets download ada/digits --unzip -p data")
    assert _below(tmp_path / "data") == FILES
    assert not kaggle.calls


def test_a_refused_archive_leaves_nothing_but_itself(tmp_path, monkeypatch):
    """What stands beside the archive after `unzip` of an encrypted one is what was there before."""
    monkeypatch.chdir(tmp_path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.csv", "7")
    data = bytearray(packed.getvalue())
    data[6] |= 1  # encrypted, it says
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(data))
    with pytest.raises(ArchiveError, match="encrypted"):
        fetch("!unzip -q a.zip", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_one_compressed_file_is_not_taken_for_an_empty_archive(tmp_path, monkeypatch):
    """Whatever it is called: nothing would come out of it, without a word."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv.lzma").write_bytes(lzma.compress(b"7,0,0", format=lzma.FORMAT_ALONE))
    with pytest.raises(ArchiveError, match="one compressed file"):
        fetch("!7z x a.csv.lzma -oout", progress=False)
    assert [path.name for path in tmp_path.iterdir() if path.name != "out"] == ["a.csv.lzma"]


def test_a_set_up_file_runs_a_command_in_its_own_folder(kaggle, tmp_path):
    """The place of a pasted command is taken from there."""
    sheet = tmp_path / "project" / "colabkit.toml"
    sheet.parent.mkdir()
    line = json.dumps("kaggle datasets download ada/digits -p data --unzip")
    sheet.write_text(f"[data.digits]\nsource = {line}\n")
    setup(sheet)
    assert _below(sheet.parent / "data") == FILES
