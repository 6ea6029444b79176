"""drive: as a target: whole files on the mount, by the storage that knows its habits, or a refusal in words."""

import io
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


def test_a_file_and_a_stream_arrive(my_drive, tmp_path, capfd):
    """A slash at the end takes the file's own name; the user is told that Drive has it later."""
    (tmp_path / "a.csv").write_text("7,0,0")
    assert push(tmp_path / "a.csv", "drive:runs/digits/") == "drive:runs/digits/a.csv"
    assert (my_drive / "runs" / "digits" / "a.csv").read_text() == "7,0,0"
    assert push_details(tmp_path / "a.csv", "drive:runs/digits/a.csv").sent == 0
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


@pytest.mark.parametrize("target", ["drive:", "drive:a", "drive:/a/b", "drive:../a/b", "drive:a/../b/c", "drive:a/b/"])
def test_what_is_no_place_on_a_drive_is_refused(my_drive, target):
    """An AddressError, and nothing is written."""
    with pytest.raises(AddressError):
        push(b"x", target)
    assert list(my_drive.iterdir()) == []


def test_elsewhere_than_on_colab_it_is_declined():
    """UnsupportedError names the runtime that was found."""
    with pytest.raises(UnsupportedError, match="cannot be opened here"):
        push(b"x", "drive:runs/a")
