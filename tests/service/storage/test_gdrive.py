"""Claims about drive: outside Colab: the user's own Drive by its interface, as real requests against its double."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from colabkit.errors import (
    AccessError,
    AddressError,
    ChangedError,
    DiskFullError,
    IntegrityError,
    NotStoredError,
    TransferError,
    UnsupportedError,
)
from colabkit.storage import open_storage
from colabkit.testing.contracts.storage import StorageContract
from colabkit.testing.google_drive import CREDENTIALS, FOLDER
from tests.support.waiting import wait_until

BIG = 9_000_000
"""More than goes in one request, and no whole number of the units of an upload."""


@pytest.fixture
def drive(signed_in_drive):
    """Play Drive, with an account signed in."""
    return signed_in_drive


@pytest.fixture
def storage(drive):
    """Give a folder that does not exist yet."""
    return open_storage("drive:runs/with space")


class TestDriveByItsInterface(StorageContract):
    """The contract, outside Colab."""

    @pytest.fixture
    def storage(self, drive):
        """Give a folder that does not exist yet, on a Drive that holds more."""
        drive.put("runs", b"a file of that name")
        drive.folder("runs", id="a-folder")
        drive.put("other", b"not of this folder", parent="a-folder")
        return open_storage("drive:runs/with space")

    def again(self, storage):
        """Open the folder anew."""
        return open_storage(storage.address)

    def test_one_of_many_comes_first(self, storage):
        """The interface has no conditions, so it does not promise it."""
        assert not storage.atomic


def named(drive, name):
    """Find the items of a name."""
    return [item for item in drive.items.values() if item.name == name]


def test_nobody_is_signed_in(google_drive):
    """The refusal says where this is, and how to sign in with the right to write."""
    with pytest.raises(UnsupportedError, match="no Google account is signed in") as caught:
        open_storage("drive:runs")
    assert "auth/drive," in caught.value.do
    assert "google-auth" in caught.value.do


@pytest.mark.parametrize(
    "address", ["drive:", "drive:../x", "drive:/x", "drive:a/../../b", "drive:a\nb", "drive:a//.."]
)
def test_addresses_that_are_no_folder_are_refused(drive, address):
    """Whatever the host: it is the address that is wrong."""
    with pytest.raises(AddressError):
        open_storage(address)
    assert drive.items == {}


def test_names_are_folders_and_files(storage, drive):
    """What lies there is what a mount on Colab shows: no name with a slash in it, each folder once."""
    storage.put("checkpoints/a", b"1")
    open_storage("drive:runs/with space").put("checkpoints/b", b"2")
    assert sorted(item.name for item in drive.items.values()) == ["a", "b", "checkpoints", "runs", "with space"]
    assert all(item.mime == FOLDER for item in drive.items.values() if item.name not in ("a", "b"))


def test_neither_the_trash_nor_old_revisions_fill_up(storage, drive, tmp_path):
    """After twenty overwrites and a delete nothing counts against the quota but what is there."""
    (tmp_path / "big").write_bytes(os.urandom(1 << 20))
    for _ in range(20):
        storage.put("big", tmp_path / "big")
    assert drive.used == 1 << 20
    storage.delete("big")
    assert (drive.used, drive.trash) == (0, set())


def test_one_name_twice_is_the_newest(storage, drive):
    """Two machines may each have made a file; the newest is what the name has, and a put leaves one."""
    storage.put("a", b"mine")
    (item,) = named(drive, "a")
    drive.put("a", b"newer", id="another", parent=item.parent, modified=item.modified + 60)
    drive.put("a", b"older", id="a-third", parent=item.parent, modified=item.modified - 60)
    assert storage.read("a") == b"newer"
    assert [(one.name, one.size) for one in storage.list()] == [("a", 5)]
    storage.put("a", b"the one")
    assert [item.data for item in named(drive, "a")] == [b"the one"]
    storage.delete("a")
    assert named(drive, "a") == []


def test_what_is_no_object_is_passed_over(storage, drive):
    """Documents, shortcuts, empty files, half-written ones and names with a slash lie there and are not listed."""
    storage.put("a", b"x")
    parent = named(drive, "a")[0].parent
    drive.put("notes", b"x", mime="application/vnd.google-apps.document", parent=parent)
    drive.put("short", parent=parent, target="elsewhere")
    drive.put("empty", parent=parent)
    drive.put(".a.part-xyz", b"half", parent=parent)
    drive.put("a/b", b"odd", parent=parent)
    assert [stored.name for stored in storage.list()] == ["a"]


def test_a_folder_that_vanishes_is_made_again(storage, drive):
    """Deleted in a browser meanwhile, it is told once at most, and then it is there again."""
    storage.put("x/a", b"1")
    drive.interface._delete(drive.ids("runs") if drive.ids("runs") in drive.items else _id_of(drive, "runs"))
    with pytest.raises(NotStoredError):
        storage.read("x/a")
    storage.put("x/a", b"2")
    assert storage.read("x/a") == b"2"


def _id_of(drive, name):
    return next(identity for identity, item in drive.items.items() if item.name == name)


def test_a_full_drive_is_told_and_changes_nothing(storage, drive, tmp_path):
    """Small or large, what does not fit is DiskFullError, and the old content stays."""
    storage.put("a", b"old")
    drive.quota = 1000
    (tmp_path / "big").write_bytes(bytes(BIG))
    for source in (bytes(2000), tmp_path / "big"):
        with pytest.raises(DiskFullError, match="empty Drive's trash"):
            storage.put("a", source)
    assert storage.read("a") == b"old"


def test_an_account_that_may_only_read_is_told_how_to_write(storage, drive, monkeypatch):
    """A sign-in for fetching does not do; the words name the other scope."""
    from colabkit.testing._google_drive import api as _google_drive_api

    refused = _google_drive_api._refused(403, "insufficientPermissions", "Request had insufficient scopes.")
    monkeypatch.setattr(drive.interface, "_make", lambda *_: refused)
    with pytest.raises(AccessError, match="insufficient") as caught:
        storage.put("a", b"x")
    assert "auth/drive," in caught.value.do


def test_lost_answers_and_broken_uploads_make_one_file(storage, drive, tmp_path):
    """Answers that get lost and bytes that do not arrive are made up for, and there is one file of the name."""
    drive.lost = 1
    storage.put("small", b"x")
    (tmp_path / "big").write_bytes(os.urandom(BIG))
    drive.lost, drive.cuts = 1, [3_000_000, 500_000]
    storage.put("big", tmp_path / "big")
    assert [item.data for item in named(drive, "big")] == [(tmp_path / "big").read_bytes()]
    assert len(named(drive, "small")) == 1


def test_bytes_that_change_on_the_way_are_found(storage, drive, monkeypatch):
    """What arrived differently is removed, of a new file and of one that had another content before."""
    complete = type(drive.interface)._complete
    storage.put("a", b"old")
    monkeypatch.setattr(
        type(drive.interface),
        "_complete",
        lambda self, value, file, data, fields: complete(self, value, file, data + b"!", fields),
    )
    for name in ("a", "b"):
        with pytest.raises(IntegrityError):
            storage.put(name, b"new")
    assert storage.read("a") == b"old"
    assert named(drive, "b") == []


def test_a_limit_is_waited_for_and_a_long_one_told(storage, drive):
    """The rate limit of a user is no refusal of the account; when it does not end, it is said."""
    drive.limited = 1
    storage.put("a", b"x")
    drive.limited = 50
    with pytest.raises(Exception, match=r"(?i)limit") as caught:
        storage.put("a", b"y")
    assert not isinstance(caught.value, AccessError)
    drive.limited = 0
    assert storage.read("a") == b"x"


def test_without_a_network_it_is_told(storage, monkeypatch):
    """Every method says so in words, and none says that nothing is there."""
    storage.put("a", b"x")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    fresh = open_storage(storage.address)
    for attempt in (lambda: fresh.put("b", b"x"), lambda: fresh.read("a"), fresh.list, lambda: fresh.entry("a")):
        with pytest.raises(Exception, match=r"(?i)network|reach|answer") as caught:
            attempt()
        assert not isinstance(caught.value, NotStoredError)
    assert fresh.confirmed("a") == "cannot tell"


def test_someone_else_wrote_it(storage):
    """The version that is to be replaced is compared, and it tells two writes of the same bytes apart."""
    first = storage.put("a", b"x")
    open_storage(storage.address).put("a", b"x")
    with pytest.raises(ChangedError):
        storage.put("a", b"y", only_if=first)


KILLED = """
import os, signal, sys
from colabkit.storage import open_storage
def stop(done, total):
    if 0 < done < total:
        os.kill(os.getpid(), signal.SIGKILL)
open_storage("drive:runs").put("big", sys.argv[1], progress=stop if sys.argv[2] == "kill" else None)
"""


def test_a_killed_put_goes_on_in_another_process(drive, tmp_path, monkeypatch):
    """What had arrived is not sent again, and the file is whole."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "big").write_bytes(os.urandom(4 * BIG))

    def run(how):
        root = str(Path(__file__).parents[3])
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
        return subprocess.run([sys.executable, "-c", KILLED, tmp_path / "big", how], env=env, timeout=120).returncode

    assert run("kill") == -signal.SIGKILL
    assert named(drive, "big") == []
    asked = drive.interface.seen
    wait_until(lambda: "PUT" in {seen.method for seen in asked} and all(seen.over for seen in asked))
    begun = len(asked)
    assert run("end") == 0
    sent = [seen for seen in asked[begun:] if seen.headers.get("content-range", "*").count("*") == 0]
    start = int(sent[0].headers["content-range"].partition(" ")[2].partition("-")[0])
    assert start > 0
    assert sum(len(seen.body) for seen in sent) == 4 * BIG - start
    assert named(drive, "big")[0].data == (tmp_path / "big").read_bytes()


def test_an_upload_that_drive_has_forgotten_begins_again(drive, tmp_path, monkeypatch):
    """A session lives a week; the next process finds it gone, and the file is whole all the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "big").write_bytes(os.urandom(BIG))
    drive.cuts += [1 << 20, 0, 0, 0, 0]  # something arrives, then nothing more
    storage = open_storage("drive:runs/with space")
    with pytest.raises(TransferError):
        storage.put("big", tmp_path / "big")
    drive.cuts.clear()
    drive.interface.forget_sessions()
    storage.put("big", tmp_path / "big")
    assert [item.data for item in named(drive, "big")] == [(tmp_path / "big").read_bytes()]


def test_a_run_lives_there(drive, tmp_path, monkeypatch):
    """open_run("drive:…") outside Colab: saved, confirmed, and restored by a machine that has nothing."""
    import numpy as np

    import colabkit as ck

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    run = ck.open_run("drive:runs/digits")
    for step in (1, 2):
        run.save({"x": np.full(1000, step)}, step=step)
        run.flush()
    assert run.status().confirmed_step == 2
    run.close()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    other = ck.open_run("drive:runs/digits")
    found = other.restore()
    other.close()
    assert (found.step, found.state["x"][0]) == (2, 2)


def test_an_object_that_is_replaced_while_it_is_copied_comes_whole(storage, drive, tmp_path):
    """The copy is the old content or the new one, however the bytes came."""
    contents = [bytes([number]) * BIG for number in (1, 2)]
    storage.put("a", contents[0])
    (identity,) = [key for key, item in drive.items.items() if item.name == "a"]
    drive.files[identity].rate = 20e6
    writer = threading.Timer(0.1, lambda: open_storage(storage.address).put("a", contents[1]))
    writer.start()
    storage.get("a", tmp_path / "got")
    writer.join()
    assert (tmp_path / "got").read_bytes() in contents


@pytest.mark.parametrize("how", ["read", "get"])
def test_a_writer_that_is_faster_than_its_reader_is_no_damage(storage, tmp_path, monkeypatch, how):
    """However often an object is replaced between question and answer, in the end it comes whole."""
    contents = (bytes([number]) * 1000 for number in range(9))
    storage.put("a", next(contents))
    writer, ask = open_storage(storage.address), storage._about

    def replace():
        for content in itertools.islice(contents, 1):
            writer.put("a", content)

    def overtaken(name):
        replace()
        about = ask(name)
        replace()
        return about

    monkeypatch.setattr(storage, "_about", overtaken)
    got = storage.read("a") if how == "read" else storage.get("a", tmp_path / "got") and (tmp_path / "got").read_bytes()
    assert got == bytes([8]) * 1000


def test_nobody_there_signs_in_by_a_secret(google_drive, monkeypatch):
    """A saved sign-in in GOOGLE_CREDENTIALS is as good as one of gcloud's."""
    monkeypatch.setenv("GOOGLE_CREDENTIALS", json.dumps(CREDENTIALS))
    storage = open_storage("drive:runs")
    storage.put("a", b"7")
    assert (storage.read("a"), storage.confirmed("a")) == (b"7", "yes")
