"""Colab before Drive is mounted: nothing goes to a folder of the machine that has the name of Drive."""

from __future__ import annotations

import zipfile

import pytest

import colabkit as ck
from colabkit import config
from colabkit.errors import NotFoundError, UnsupportedError
from tests.unit.runtime import recorded


def _pack(place):
    run = ck.open_run("here")
    run.save({"seen": 1}, step=1)
    run.close()
    run.pack(f"{place}/here.run.zip")


WRITERS = {
    "open_run": lambda place: ck.open_run(f"{place}/runs/digits"),
    "fetch": lambda place: ck.fetch("digits.csv", f"{place}/data/"),
    "a pasted line": lambda place: ck.fetch(f"!unzip -q digits.zip -d '{place}/data'"),
    "push": lambda place: ck.push("digits.csv", f"{place}/results/"),
    "save_model": lambda place: ck.save_model(object(), f"{place}/model.zip"),
    "export_model": lambda place: ck.export_model(object(), f"{place}/served/1"),
    "plot": lambda place: ck.plot({"loss": [2.0, 1.0]}, f"{place}/training.png"),
    "track": lambda place: ck.track(f"{place}/runs/digits"),
    "lock": lambda place: ck.lock(f"{place}/requirements.lock"),
    "pack": _pack,
}


@pytest.fixture(params=["content/drive/MyDrive", "content/gdrive/My Drive"])
def place(request, tmp_path, monkeypatch):
    """Be in a fresh session of Colab; give the folder that Drive is going to have."""
    root = recorded.COLAB.build(tmp_path / "root")
    for name, value in recorded.COLAB_ENV.items():
        if name not in ("HOME", "PYTHONPATH"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv(config.MACHINE_ROOT, str(root))
    (root / "content").mkdir(exist_ok=True)
    monkeypatch.chdir(root / "content")
    (root / "content" / "digits.csv").write_text("7,0,0")
    with zipfile.ZipFile(root / "content" / "digits.zip", "w") as archive:
        archive.writestr("digits.csv", "7,0,0")
    assert ck.detect().host == "colab"
    return root / request.param


@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_written_where_drive_is_going_to_be(place, writer):
    """It would be lost with the session, and Drive could not be mounted over it; the cell to run is told."""
    with pytest.raises(UnsupportedError, match="is not on your Drive") as caught:
        WRITERS[writer](place)
    assert "not mounted" in caught.value.why
    assert "ck.drive.mount()" in caught.value.do
    assert not place.parent.exists()


def test_a_file_that_is_on_drive_is_not_called_missing(place):
    """A new session that reads its data before the mount hears of the mount."""
    with pytest.raises(NotFoundError, match="no file at") as caught:
        ck.fetch(f"{place}/data/digits.csv")
    assert "ck.drive.mount()" in caught.value.do


def test_a_run_on_drive_asks_for_the_mount_although_the_folder_is_there(place):
    """`os.makedirs("/content/drive/MyDrive/x")` of an earlier cell makes no Drive: a run would be lost in silence."""
    place.mkdir(parents=True)
    with pytest.raises(UnsupportedError, match="drive:runs/digits cannot be opened"):
        ck.open_run("drive:runs/digits")
    assert list(place.iterdir()) == []
