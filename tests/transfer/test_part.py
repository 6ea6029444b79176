"""Claims about the growing file: what it says to have is there, whoever else is still writing."""

from __future__ import annotations

import threading

import pytest

from colabkit.transfer import _part
from colabkit.transfer._headers import Validator
from colabkit.transfer._part import ClosedError, Part


def test_a_writer_that_is_late_leaves_no_claim(tmp_path, monkeypatch):
    """A connection is writing when the file turns out to be another version: its bytes go, and are not counted."""
    part = Part(tmp_path / "part", "x")
    part.begin(100, Validator(), "a")
    writing, go_on, write = threading.Event(), threading.Event(), _part._pwrite

    def slowly(*arguments):
        writing.set()
        assert go_on.wait(10)
        return write(*arguments)

    monkeypatch.setattr(_part, "_pwrite", slowly)
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
