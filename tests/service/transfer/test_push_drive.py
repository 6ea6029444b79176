"""drive: as a target: whole files on the mount, by the storage that knows its habits, or a refusal in words."""

import io
import logging
from types import SimpleNamespace

import pytest

from colabkit.errors import AddressError, ExistsError, UnsupportedError
from colabkit.transfer import push, push_details


@pytest.fixture
def my_drive(tmp_path, monkeypatch):
    """Be on Colab, with a Drive that is mounted here."""
    place = tmp_path / "drive" / "MyDrive"
    place.mkdir(parents=True)
    runtime = SimpleNamespace(host="colab", name="Google Colab", persistent_dir=place)
    monkeypatch.setattr("colabkit.runtime.detect", lambda: runtime)
    return place


def test_a_file_and_a_stream_arrive(my_drive, tmp_path, caplog):
    """A slash at the end takes the file's own name; the user is told that Drive has it later."""
    (tmp_path / "a.csv").write_text("7,0,0")
    caplog.set_level(logging.INFO, logger="colabkit")
    assert push(tmp_path / "a.csv", "drive:runs/digits/") == "drive:runs/digits/a.csv"
    there = my_drive / "runs" / "digits" / "a.csv"
    assert there.read_text() == "7,0,0"
    assert caplog.messages == [
        f"drive:runs/digits/a.csv is on its way to Drive; drive.uploaded({str(there)!r}) says when it is there"
    ]
    assert push_details(tmp_path / "a.csv", "drive:runs/digits/a.csv").sent == 0
    assert len(caplog.messages) == 1, "what already exists is not on its way"
    assert push(io.BytesIO(b"stream"), "drive:runs/b.txt") == "drive:runs/b.txt"
    assert (my_drive / "runs" / "b.txt").read_bytes() == b"stream"


def test_other_content_is_replaced_only_when_told(my_drive):
    """ExistsError first."""
    push(b"old", "drive:runs/a")
    with pytest.raises(ExistsError):
        push(b"new", "drive:runs/a")
    push(b"new", "drive:runs/a", overwrite=True)
    assert (my_drive / "runs" / "a").read_bytes() == b"new"


def test_a_folder_is_copied_where_it_differs(my_drive, tmp_path):
    """Only what differs is written again; empty files are left out."""
    for name, text in {"x/1.txt": "1", "2.txt": "2", "empty": ""}.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_text(text)
    first = push_details(tmp_path / "set", "drive:data/")
    assert (first.target, first.files, first.sent) == ("drive:data/set", 2, 2)
    assert not (my_drive / "data" / "set" / "empty").exists()
    (tmp_path / "set" / "2.txt").write_text("changed")
    with pytest.raises(ExistsError, match="1 of the 2 files"):
        push(tmp_path / "set", "drive:data/")
    assert push_details(tmp_path / "set", "drive:data/set", overwrite=True).sent == 1
    assert (my_drive / "data" / "set" / "2.txt").read_text() == "changed"


@pytest.mark.parametrize(
    "target", ["drive:", "drive:a", "drive:/a/b", "drive:../a/b", "drive:a/../b/c", "drive:a/b/", "drive:a/b\nc"]
)
def test_what_is_no_place_on_a_drive_is_refused(my_drive, target):
    """An AddressError, and nothing is written."""
    with pytest.raises(AddressError):
        push(b"x", target)
    assert list(my_drive.iterdir()) == []


def test_elsewhere_it_goes_by_the_interface(signed_in_drive, monkeypatch, tmp_path, caplog):
    """Outside Colab, with an account: what is there is asked of Drive, not of this folder, and is not fetched."""
    caplog.set_level(logging.INFO, logger="colabkit")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    for name in ("a.csv", "set/b.csv"):
        (tmp_path / name).write_text("7,0,0")
    for source, target in (("a.csv", "drive:runs/a.csv"), ("set", "drive:runs/set")):
        assert push_details(source, target).sent == 1
        assert push_details(source, target).sent == 0
    assert not [seen for seen in signed_in_drive.interface.seen if "alt=media" in seen.path]
    assert {item.name for item in signed_in_drive.items.values()} == {"runs", "a.csv", "set", "b.csv"}
    assert not any("on its way" in line for line in caplog.messages), "it is there when put returns"
    (tmp_path / "set" / "b.csv").write_text("7,0,1")
    with pytest.raises(ExistsError, match="1 of the 1 files"):
        push("set", "drive:runs/set")


def test_elsewhere_without_an_account_it_is_declined(google_drive):
    """UnsupportedError names the runtime that was found."""
    with pytest.raises(UnsupportedError, match="cannot be opened here"):
        push(b"x", "drive:runs/a")
