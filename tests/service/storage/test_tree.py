"""Claims about folders that travel as one archive: all of them comes back, and nothing that leads out."""

from __future__ import annotations

import os
import zipfile
from types import SimpleNamespace

import pytest

from colabkit.errors import AddressError, ArchiveError, DiskFullError, NotFoundError, NotStoredError, NotWritableError
from colabkit.storage import MemoryStorage, get_tree, put_tree

NAMES = ("a.txt", "sub/b.bin", "sub/deep/ünï e\u0301.txt", "trailing dot.", "x" * 200, "back\\slash", "empty")


@pytest.fixture
def folder(tmp_path):
    """Make a folder with names that places treat differently, and a program."""
    made = tmp_path / "made"
    for name in NAMES:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(b"" if name == "empty" else os.urandom(1000))
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o755)
    (made / "link").symlink_to("a.txt")
    return made


def contents(folder):
    """Map each file to its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_back(folder, tmp_path):
    """Every file with its bytes and its name, whatever letters are in it; a program can still be run."""
    storage, seen = MemoryStorage(), []
    stored = put_tree(storage, "data/made.zip", folder, progress=lambda *count: seen.append(count))
    assert [one.name for one in storage.list()] == [stored.name]
    assert seen[-1][0] == seen[-1][1] == stored.size
    assert get_tree(storage, "data/made.zip", tmp_path / "got") == tmp_path / "got"
    assert contents(tmp_path / "got") == contents(folder)
    assert os.access(tmp_path / "got/run.sh", os.X_OK)
    assert not (tmp_path / "got/link").is_symlink()


def test_what_is_there_is_replaced_only_when_asked(folder, tmp_path):
    """A folder that exists stays as it is; with replace=True the new one takes its place, whole."""
    storage = MemoryStorage()
    put_tree(storage, "made", folder)
    (tmp_path / "got").mkdir()
    (tmp_path / "got/mine.txt").write_text("mine")
    with pytest.raises(NotWritableError, match="already exists"):
        get_tree(storage, "made", tmp_path / "got")
    assert contents(tmp_path / "got") == {"mine.txt": b"mine"}
    get_tree(storage, "made", tmp_path / "got", replace=True)
    assert contents(tmp_path / "got") == contents(folder)


@pytest.mark.parametrize("name", ["C:evil", "line\nend"])
def test_names_that_could_not_be_unpacked_are_refused_at_once(tmp_path, name):
    """Better now than when the machine that had the files is gone."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / name).write_text("x")
    storage = MemoryStorage()
    with pytest.raises(AddressError, match="cannot be stored"):
        put_tree(storage, "made", tmp_path / "made")
    assert storage.list() == []


def test_what_is_not_there_is_told(tmp_path):
    """No folder, no file in it, no object: an error each, and no folder is left."""
    storage = MemoryStorage()
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "none", tmp_path / "empty"):
        with pytest.raises(NotFoundError):
            put_tree(storage, "made", place)
    with pytest.raises(NotStoredError):
        get_tree(storage, "made", tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_no_room_to_pack_is_told_before(folder, monkeypatch):
    """The message names the folder for temporary files, and how to choose another."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(DiskFullError, match="TMPDIR"):
        put_tree(MemoryStorage(), "made", folder)


@pytest.mark.parametrize("damage", ["cut", "flipped", "no archive", "climbs"])
def test_damaged_and_hostile_objects_leave_nothing(folder, tmp_path, damage):
    """What was cut, changed in one bit, is something else, or climbs out is an error that names the member."""
    storage = MemoryStorage()
    put_tree(storage, "made", folder)
    content = bytearray(storage.read("made"))
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "flipped":
        content[500] ^= 1
    elif damage == "no archive":
        content = bytearray(b"hello")
    else:
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as evil:
            evil.writestr("../evil.txt", "x")
        content = bytearray((tmp_path / "evil.zip").read_bytes())
        (tmp_path / "evil.zip").unlink()
    storage.put("made", bytes(content))
    with pytest.raises(ArchiveError):
        get_tree(storage, "made", tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
