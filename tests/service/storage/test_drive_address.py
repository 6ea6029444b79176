"""drive: addresses, by whichever door they come in: a wrong one is told as such, on every machine, before anything."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from colabkit.checkpoint import open_run
from colabkit.errors import AddressError, UnsupportedError
from colabkit.runtime import my_drive
from colabkit.storage import open_storage
from colabkit.transfer import fetch, push

DOORS = {
    "storage": open_storage,
    "fetch": fetch,
    "push": lambda address: push(b"x", f"{address}/digits/a.csv"),
    "run": lambda address: open_run(f"{address}/digits"),
}


@pytest.fixture(params=["off Colab", "Colab", "Colab without a mount"])
def where(request):
    """Name the machine."""
    return request.param


@pytest.fixture
def my_drive_folder(where, tmp_path, monkeypatch):
    """Be somewhere, with nobody signed in; return the folder that is My Drive there."""
    folder = tmp_path / "drive" / "MyDrive"
    folder.mkdir(parents=True)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    if where != "off Colab":
        place = folder if where == "Colab" else None
        found = SimpleNamespace(host="colab", name="Google Colab", persistent_dir=place, work_dir=tmp_path / "work")
        monkeypatch.setattr("colabkit.runtime.detect", lambda: found)
    return folder


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "address", ["drive:..", "drive:../x", "drive:/x", "drive:a/../../b", "drive:a\nb", "drive:a\x7f"]
)
def test_a_path_that_leaves_my_drive_is_refused_first(my_drive_folder, tmp_path, door, address):
    """Not the host, nor a missing mount or account, is blamed for it; nothing is made or read."""
    with pytest.raises(AddressError, match="not a place on your Drive") as caught:
        DOORS[door](address)
    assert caught.value.why
    assert "\n" not in caught.value.what
    assert list(my_drive_folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "drive"]


@pytest.mark.parametrize("address", ["drive:", "drive:.", "drive:./"])
def test_my_drive_itself_is_no_place(my_drive_folder, address):
    """All of a Drive is neither a storage nor a thing to fetch."""
    for door in (open_storage, fetch):
        with pytest.raises(AddressError, match="not a place on your Drive"):
            door(address)


@pytest.mark.parametrize(
    "name", ["my runs", "it's", "caf\u00e9", "cafe\u0301", "dot.", "\U0001f469\u200d\U0001f4bb", "drive:x", "~", "C:"]
)
def test_what_drive_calls_a_folder_is_a_place(name):
    """Spaces, quotes, accents in both forms, joined emoji and colons are ordinary names there."""
    assert my_drive.place_of(f"drive:{name}/digits/").parts == (name, "digits")


def test_a_good_address_is_told_what_is_missing(where, my_drive_folder):
    """The mount on Colab, the account elsewhere; with the mount it opens."""
    missing = {"off Colab": "gcloud auth", "Colab without a mount": r"ck\.drive\.mount\(\)"}.get(where)
    if missing is None:
        open_storage("drive:runs/my digits").put("a", b"7")
        assert (my_drive_folder / "runs" / "my digits" / "a").read_bytes() == b"7"
    else:
        with pytest.raises(UnsupportedError, match=missing):
            open_storage("drive:runs/my digits")
