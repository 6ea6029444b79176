"""Claims about writing files: whole or absent, and every refusal of the file system typed."""

from __future__ import annotations

import errno
import json
import os

import pytest

from colabkit._internal.disk import files
from colabkit.errors import ColabKitError, DataError, DiskFullError, NotWritableError, StorageError


def test_a_file_appears_whole(tmp_path):
    """Until the block ends the old content is there; then the new one, and no temporary file."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with files.atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("writer", [files.atomic_write, files.atomic_path])
@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_a_failed_block_changes_nothing(tmp_path, writer, error):
    """An error of the caller passes through as it is; the old file stays and nothing else is left."""
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with writer(path) as opened:
            if writer is files.atomic_path:
                opened.write_text("half")
            else:
                opened.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_another_library_may_write_it(tmp_path):
    """`staged` gives a name in the same folder with the same ending, for writers that look at it."""
    path = tmp_path / "a.weights.h5"
    with files.atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".h5")
        assert files.TEMP_MARKER in temporary.name
        temporary.write_bytes(b"content")
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_follows_the_umask(tmp_path):
    """A published file is as readable as any other: not private as temporary files are."""
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a.txt", "x")
        assert files.umask() == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_json_is_for_people(tmp_path):
    """JSON is indented, ends with a newline and keeps letters as they are."""
    files.write_json(tmp_path / "a.json", {"name": "Zoë"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert "Zoë" in text
    assert json.loads(text) == {"name": "Zoë"}


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EACCES, NotWritableError),
        (errno.EROFS, NotWritableError),
        (errno.ENOTDIR, NotWritableError),
        (errno.ENOENT, NotWritableError),
        (errno.EISDIR, NotWritableError),
        (errno.EIO, StorageError),
        (errno.ENOTCONN, StorageError),
    ],
)
def test_refusals_are_typed(number, kind):
    """Each refusal becomes our error, with the place, the cause and a remedy."""
    with pytest.raises(StorageError) as caught, files.map_os_errors("/some/place"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind
    assert "/some/place" in caught.value.what
    assert os.strerror(number) in caught.value.why
    assert caught.value.do


def test_a_folder_that_is_missing_or_in_the_way_is_not_called_an_unhealthy_disk(tmp_path):
    """The words name the folder, or the file's own name, and what to do about it."""
    with pytest.raises(NotWritableError, match="no such folder") as caught, files.atomic_write(tmp_path / "no" / "a"):
        pass
    assert str(tmp_path / "no") in caught.value.what
    (tmp_path / "there").mkdir()
    with pytest.raises(NotWritableError, match="a folder is where") as caught, files.atomic_write(tmp_path / "there"):
        pass
    assert str(tmp_path / "there") in caught.value.what
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]


def test_our_own_errors_pass():
    """What is typed already is not translated again."""
    with pytest.raises(ColabKitError, match="mine") as caught, files.map_os_errors("/some/place"):
        raise DataError("mine")
    assert type(caught.value) is DataError


def test_below_a_file_nothing_can_be_written(tmp_path):
    """A path below a regular file is refused for root too."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotWritableError):
        files.write_text(tmp_path / "file" / "a.txt", "x")


def test_one_lock_one_holder(tmp_path):
    """A second lock is told who holds the first, by pid; after the release it may have it."""
    first, second = files.FileLock(tmp_path / "lock"), files.FileLock(tmp_path / "lock")
    assert first.acquire() is None
    assert first.acquire() is None
    assert second.acquire()["pid"] == os.getpid()
    assert not second.held
    first.release()
    first.release()
    assert second.acquire() is None
    second.release()


@pytest.mark.parametrize("text", ["", "no json", "[1]"])
def test_a_lock_whose_owner_cannot_be_read_is_still_held(tmp_path, text):
    """Damage to the text in the lock file does not give the lock away."""
    first = files.FileLock(tmp_path / "lock")
    assert first.acquire() is None
    (tmp_path / "lock").write_text(text)
    assert files.FileLock(tmp_path / "lock").acquire() == {}
    first.release()
