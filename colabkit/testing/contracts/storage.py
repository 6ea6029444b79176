"""What every storage must do, as tests: inherit the class, give it a storage, and pytest runs them.

class TestMyStorage(StorageContract):
    @pytest.fixture
    def storage(self):
        return MyStorage()
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from colabkit.errors import AddressError, ChangedError, ColabKitError, NotStoredError
from colabkit.storage.base import Storage

if TYPE_CHECKING:
    from pathlib import Path

BIG = 20_000_123
"""Bytes of a large object: several pieces of any implementation, and no whole number of them."""

HOSTILE = (
    *("", "/", "/etc/passwd", "../up", "a/../../b", "a//b", "a/", "./a", "a/."),
    *("a\\b", "nul\0", "line\nend", "\x7f", "e\u0301t\u00e9", "x" * 256, "/".join(["deep"] * 300)),
)
ODD = ("with space", "ünï/cødé", "日本語.txt", "a+b=c&d%20#?", "-dash", "UPPER/lower", "~tilde", "x" * 200)


class StorageContract:
    """Tests that hold for every storage; `storage` is an empty one, `again` opens the same place once more."""

    @pytest.fixture
    def storage(self) -> Storage:
        """Give an empty storage."""
        raise NotImplementedError("override this fixture")

    def again(self, storage: Storage) -> Storage:
        """Open the same place as another process would."""
        return storage

    def test_it_is_a_storage(self, storage: Storage) -> None:
        """It has all methods, and says where it is."""
        assert isinstance(storage, Storage)
        assert storage.address
        assert storage.lag >= 0

    def test_bytes_come_back(self, storage: Storage) -> None:
        """What was put is read, whole or its beginning, by another opener too, and its entry tells the size."""
        stored = storage.put("a/b.bin", b"hello")
        assert (stored.name, stored.size) == ("a/b.bin", 5)
        other = self.again(storage)
        assert other.read("a/b.bin") == b"hello"
        assert other.read("a/b.bin", size=2) == b"he"
        assert other.entry("a/b.bin") == stored

    def test_a_large_file_comes_back(self, storage: Storage, tmp_path: Path) -> None:
        """A file of many pieces survives the way there and back, and progress reaches its end."""
        content = os.urandom(1 << 20) * (BIG >> 20) + b"end"
        (tmp_path / "from").write_bytes(content)
        sent: list[tuple[int, int]] = []
        storage.put("big", tmp_path / "from", progress=lambda *count: sent.append(count))
        assert sent[-1] == (len(content), len(content))
        got = storage.get("big", tmp_path / "to")
        assert got.size == len(content)
        assert _sha256(tmp_path / "to") == _sha256(tmp_path / "from")

    def test_what_is_missing_is_told(self, storage: Storage, tmp_path: Path) -> None:
        """A name without an object is NotStoredError, no entry, not confirmed, deleted already, and leaves no file."""
        with pytest.raises(NotStoredError):
            storage.read("none")
        with pytest.raises(NotStoredError):
            storage.get("none", tmp_path / "to")
        assert list(tmp_path.glob("*")) == []
        assert storage.entry("none") is None
        assert storage.confirmed("none") != "yes"
        storage.delete("none")

    def test_a_missing_source_is_our_error(self, storage: Storage, tmp_path: Path) -> None:
        """A local file that is not there stores nothing."""
        with pytest.raises(ColabKitError):
            storage.put("a", tmp_path / "none")
        assert storage.list() == []

    def test_putting_again_replaces(self, storage: Storage) -> None:
        """The second content is read, there is one object, and its version differs though the content may not."""
        first = storage.put("a", b"one")
        second = storage.put("a", b"two")
        third = storage.put("a", b"two")
        assert storage.read("a") == b"two"
        assert [stored.name for stored in storage.list()] == ["a"]
        assert len({first.version, second.version, third.version}) == 3

    def test_lists_are_sorted_and_by_prefix(self, storage: Storage) -> None:
        """A prefix is a text, not a folder; no name is listed twice or left out."""
        names = ["a", "ab/c", "ab/d/e", "abc", "b/a"]
        for name in reversed(names):
            storage.put(name, name.encode())
        assert [stored.name for stored in storage.list()] == names
        assert [stored.name for stored in storage.list("ab")] == ["ab/c", "ab/d/e", "abc"]
        assert [stored.name for stored in storage.list("ab/")] == ["ab/c", "ab/d/e"]
        assert [stored.name for stored in storage.list("ab/d/e")] == ["ab/d/e"]
        assert storage.list("none/") == []

    def test_many_are_all_listed(self, storage: Storage) -> None:
        """A list is complete however many there are."""
        names = [f"many/{number:04}" for number in range(60)]
        for name in names:
            storage.put(name, b"x")
        assert [stored.name for stored in storage.list("many/")] == names

    def test_deleted_is_gone(self, storage: Storage) -> None:
        """A deleted object is in no list and cannot be read; its neighbours stay."""
        storage.put("a/x", b"x")
        storage.put("a/y", b"y")
        storage.delete("a/x")
        assert [stored.name for stored in storage.list()] == ["a/y"]
        with pytest.raises(NotStoredError):
            storage.read("a/x")

    @pytest.mark.parametrize("name", ODD)
    def test_odd_names_are_kept(self, storage: Storage, name: str) -> None:
        """Spaces, other alphabets and characters with a meaning elsewhere come back as they are."""
        storage.put(name, b"x")
        assert [stored.name for stored in self.again(storage).list()] == [name]
        assert storage.read(name) == b"x"

    @pytest.mark.parametrize("name", HOSTILE, ids=lambda name: repr(name[:12]))
    def test_hostile_names_are_refused(self, storage: Storage, name: str, tmp_path: Path) -> None:
        """Names that climb out, or that places treat differently, are refused by every method."""
        with pytest.raises(AddressError):
            storage.put(name, b"x")
        with pytest.raises(AddressError):
            storage.read(name)
        with pytest.raises(AddressError):
            storage.get(name, tmp_path / "to")
        with pytest.raises(AddressError):
            storage.delete(name)

    def test_only_if_absent(self, storage: Storage) -> None:
        """A name that is taken is not replaced; the one that is there stays."""
        storage.put("a", b"first", only_if="absent")
        with pytest.raises(ChangedError):
            storage.put("a", b"second", only_if="absent")
        assert storage.read("a") == b"first"

    def test_only_if_unchanged(self, storage: Storage) -> None:
        """The known version is replaced; an outdated one, or one that was deleted, is not."""
        first = storage.put("a", b"1")
        second = storage.put("a", b"2", only_if=first)
        with pytest.raises(ChangedError):
            storage.put("a", b"3", only_if=first)
        assert storage.read("a") == b"2"
        storage.delete("a")
        with pytest.raises(ChangedError):
            storage.put("a", b"3", only_if=second)
        assert storage.entry("a") is None

    def test_one_of_many_comes_first(self, storage: Storage) -> None:
        """Of eight writers at once that want a new name exactly one gets it; override it where `atomic` is False."""
        assert storage.atomic
        others = [self.again(storage) for _ in range(8)]
        won: list[int] = []
        lost: list[int] = []

        def write(number: int) -> None:
            try:
                others[number].put("lock", str(number).encode(), only_if="absent")
                won.append(number)
            except ChangedError:
                lost.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 7)
        assert storage.read("lock") == str(won[0]).encode()

    def test_a_stopped_put_changes_nothing(self, storage: Storage, tmp_path: Path) -> None:
        """An upload that is stopped in the middle leaves the old content, and no half of the new in any list."""
        storage.put("a", b"old")
        (tmp_path / "new").write_bytes(bytes(BIG))

        def stop(*_: int) -> None:
            raise KeyboardInterrupt

        for name in ("a", "b"):
            with pytest.raises(KeyboardInterrupt):
                storage.put(name, tmp_path / "new", progress=stop)
        assert storage.read("a") == b"old"
        assert [stored.name for stored in self.again(storage).list()] == ["a"]

    def test_readers_never_see_half(self, storage: Storage) -> None:
        """While an object is replaced again and again, each reader gets one of the contents, whole or none."""
        contents = [bytes([number]) * 300_000 for number in range(4)]
        storage.put("a", contents[0])
        other, done, written = self.again(storage), threading.Event(), threading.Event()

        def write() -> None:
            while not done.is_set():
                for content in contents:
                    storage.put("a", content)
                written.set()

        writer = threading.Thread(target=write)
        writer.start()
        wrong = []
        try:
            for _ in range(20):
                with contextlib.suppress(NotStoredError):
                    if (content := other.read("a")) not in contents:
                        wrong.append(len(content))
            assert written.wait(60)
        finally:
            done.set()
            writer.join()
        assert wrong == []

    def test_what_is_confirmed_is_there(self, storage: Storage) -> None:
        """The answer is one of three words, and "yes" only for what can be read."""
        storage.put("a", b"x")
        answer = storage.confirmed("a")
        assert answer in ("yes", "no", "cannot tell")
        storage.delete("a")
        assert storage.confirmed("a") != "yes"


def _sha256(path: Path) -> str:
    digest: Any = hashlib.sha256(path.read_bytes())
    return str(digest.hexdigest())
