"""What every target of `push` must do, as tests: inherit the class, give it a place, and pytest runs them.

class TestMyTarget(TargetContract):
    @pytest.fixture
    def place(self, server):
        return Place(...)
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from colabkit.errors import AccessError, ColabKitError, ExistsError, NotFoundError, StorageError
from colabkit.transfer.pushing import push, push_details

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = (9 << 20) + 77
"""More than any target sends in one request, and no whole number of the units of an upload."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place for one file, and how to make its service misbehave.

    Attributes:
        text: What a user passes to `push`; nothing is there.
        read: Returns what is there, or None.
        break_once: Lets the connection break once while the bytes are on their way; None where there is none.
        deny: Takes the right to write away; None where everybody may.
        keeps_versions: Other content makes a new version beside the old one, so that it needs no leave.
    """

    text: str
    read: Callable[[], bytes | None]
    break_once: Callable[[], None] | None = None
    deny: Callable[[], None] | None = None
    keeps_versions: bool = False


class TargetContract:
    """Tests that hold for every target; `place` is one of them."""

    @pytest.fixture
    def place(self) -> Place:
        """Give a place."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """Make a file of many pieces."""
        path = tmp_path / "big.bin"
        path.write_bytes(random.Random(7).randbytes(SIZE))  # noqa: S311 - test data
        return path

    def test_a_file_arrives_whole_and_is_not_sent_twice(self, place: Place, file: Path) -> None:
        """The address comes back, and the same again sends nothing."""
        assert push(file, place.text, progress=False) == place.text
        assert place.read() == file.read_bytes()
        assert push_details(file, place.text, progress=False).sent == 0
        assert place.read() == file.read_bytes()

    def test_what_is_there_is_not_lost(self, place: Place, tmp_path: Path) -> None:
        """Other content needs leave, unless the old one stays as a version."""
        for name, data in (("old", b"7,0,0"), ("new", b"8,0,0!")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "a.csv").write_bytes(data)
        push(tmp_path / "old" / "a.csv", place.text, progress=False)
        if not place.keeps_versions:
            with pytest.raises(ExistsError):
                push(tmp_path / "new" / "a.csv", place.text, progress=False)
            assert place.read() == b"7,0,0"
        push(tmp_path / "new" / "a.csv", place.text, overwrite=True, progress=False)
        assert place.read() == b"8,0,0!"

    def test_a_connection_that_breaks_costs_nothing(self, place: Place, file: Path) -> None:
        """It arrives all the same, once and whole."""
        if place.break_once is None:
            pytest.skip("nothing can break on the way there")
        place.break_once()
        push(file, place.text, progress=False)
        assert place.read() == file.read_bytes()

    def test_who_may_not_write_is_told_and_nothing_is_there(self, place: Place, file: Path) -> None:
        """What and why and what to do, and no half of it."""
        if place.deny is None:
            pytest.skip("everybody may write there")
        place.deny()
        with pytest.raises((AccessError, NotFoundError, StorageError)) as caught:
            push(file, place.text, progress=False)
        assert caught.value.what
        assert caught.value.hint
        assert place.read() is None

    def test_a_file_that_is_missing_stores_nothing(self, place: Place, tmp_path: Path) -> None:
        """An error of ours, and nothing is there."""
        with pytest.raises(ColabKitError):
            push(tmp_path / "none", place.text, progress=False)
        assert place.read() is None
