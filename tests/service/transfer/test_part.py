"""Claims about the growing file: what it says to have is there, whoever else is still writing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from colabkit._engine import partial_file
from colabkit._engine.partial_file import ClosedError, PartialFile
from colabkit._http.headers import Validator
from colabkit._internal.disk.files import LockedError


def test_a_writer_that_is_late_leaves_no_claim(tmp_path, monkeypatch):
    """A connection is writing when the file turns out to be another version: its bytes go, and are not counted."""
    part = PartialFile(tmp_path / "part", "x")
    part.begin(100, Validator(), "a")
    writing, go_on, write = threading.Event(), threading.Event(), partial_file._pwrite

    def slowly(*arguments):
        writing.set()
        assert go_on.wait(10)
        return write(*arguments)

    monkeypatch.setattr(partial_file, "_pwrite", slowly)
    before = part.generation
    writer = threading.Thread(target=lambda: part.write(50, b"old bytes", generation=before))
    writer.start()
    assert writing.wait(10)
    forgetting = threading.Thread(target=part.reset)
    forgetting.start()
    forgetting.join(0.2)
    go_on.set()
    for thread in (writer, forgetting):
        thread.join(10)
    assert part.count == 0
    assert (tmp_path / "part").stat().st_size == 0
    with pytest.raises(ClosedError):
        part.write(50, b"old bytes", generation=before)
    assert part.count == 0
    part.close(keep=False)


def test_a_part_has_one_owner_and_a_kill_ends_that(tmp_path):
    """Another process is told who works on it; when that is killed, what it wrote and claimed is taken over."""
    code = (
        "import sys; from pathlib import Path; from colabkit._engine.partial_file import PartialFile;"
        "from colabkit._http.headers import Validator; part = PartialFile(Path(sys.argv[1]), 'x');"
        "part.begin(100, Validator(), 'a'); part.write(0, b'7' * 40); part.save(); print('mine', flush=True);"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "part")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(LockedError) as taken:
            PartialFile(tmp_path / "part", "x")
        assert taken.value.pid == other.pid
        assert (tmp_path / "part").stat().st_size == 100
        other.kill()
    assert PartialFile(tmp_path / "part", "x").missing() == [(40, 100)]


def test_who_published_leaves_the_next_part_alone(tmp_path):
    """As soon as a part has its final name, another fetch may begin one of the same name."""
    first = PartialFile(tmp_path / "part", "x")
    first.begin(1, Validator(), "a")
    first.write(0, b"1")
    first.finish(1)
    first.publish(tmp_path / "a")
    second = PartialFile(tmp_path / "part", "x")
    second.begin(1, Validator(), "a")
    second.save()
    first.close(keep=False)
    assert sorted(os.listdir(tmp_path)) == ["a", "part", "part.json"]
    second.write(0, b"2")
    second.publish(tmp_path / "b")
    second.close(keep=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"2"}


def test_a_failure_after_the_final_name_leaves_no_claim(tmp_path):
    """A part that has its name when something breaks has nothing to be continued."""
    part = PartialFile(tmp_path / "part", "x")
    part.begin(1, Validator(), "a")
    part.write(0, b"1")
    part.publish(tmp_path / "a")
    part.close(keep=True)
    assert os.listdir(tmp_path) == ["a"]
