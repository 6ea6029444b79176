"""What every source of `fetch` must do, as tests: inherit the class, give it a file, and pytest runs them.

class TestMySource(SourceContract):
    @pytest.fixture
    def served(self, server):
        return Served(...)
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from colabkit._engine import downloader
from colabkit._engine.source import Source
from colabkit._internal.retry import Backoff
from colabkit.errors import ColabKitError, TransferError
from colabkit.transfer.fetching import fetch, fetch_details
from colabkit.transfer.sources.registry import open_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
SIZE = 5 * MIB + 321
DATA = random.Random(7).randbytes(SIZE)  # noqa: S311 - test data
"""What the file holds: some pieces and a rest, and nothing that a compressor or a shift could fake."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A file at the source, and how to make its server misbehave.

    Attributes:
        text: What a user passes to `fetch`; the file holds `DATA`.
        asked: Counts the requests to all of its servers so far.
        sent: Counts the bytes of files that they sent so far.
        break_at: Makes the connection break at a byte of the file, for so many requests.
        repair: Ends that.
        replace: Puts other bytes in place of the file, as its owner would.
        secret: What must never be kept or shown; "" for a source without one.
    """

    text: str
    asked: Callable[[], int]
    sent: Callable[[], int]
    break_at: Callable[[int, int], None]
    repair: Callable[[], None]
    replace: Callable[[bytes], None]
    secret: str = ""


class SourceContract:
    """Tests that hold for every source of single files; `served` is one of them."""

    @pytest.fixture
    def served(self) -> Served:
        """Give a file."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(tries=2, first=0.01))

    def test_reading_the_text_asks_nobody(self, served: Served) -> None:
        """Which source it is, is a matter of the text alone; read twice, it is the same source."""
        first, second = open_source(served.text).source, open_source(served.text).source
        assert isinstance(first, Source)
        assert isinstance(second, Source)
        assert first.identity == second.identity
        assert served.asked() == 0

    def test_its_names_fit_a_message_and_a_folder(self, served: Served) -> None:
        """The name for messages is one printable line; the file's name has no folder in it."""
        source = open_source(served.text).source
        assert isinstance(source, Source)
        assert source.shown.isprintable()
        assert "/" not in source.name

    def test_the_file_comes_whole_and_once(self, served: Served, tmp_path: Path) -> None:
        """The bytes are the right ones; the next call needs no server, and says that it used none."""
        done = fetch_details(served.text, tmp_path / "file.bin", progress=False)
        assert done.path.read_bytes() == DATA
        assert not done.from_cache
        before = served.asked()
        again = fetch_details(served.text, tmp_path / "file.bin", progress=False)
        assert (again.path, again.from_cache, served.asked()) == (done.path, True, before)

    def test_a_broken_connection_costs_only_what_is_missing(self, served: Served, tmp_path: Path) -> None:
        """It breaks once in the middle, and no byte that had arrived is sent again, but for what was on its way."""
        served.break_at(3 * MIB, 1)
        assert fetch(served.text, tmp_path / "file.bin", progress=False).read_bytes() == DATA
        assert served.sent() < 1.3 * SIZE

    def test_the_next_call_goes_on_where_the_last_one_failed(self, served: Served, tmp_path: Path) -> None:
        """It breaks for good: an error, nothing at the final name; later the rest is fetched, and only that."""
        served.break_at(3 * MIB, 99)
        with pytest.raises(TransferError):
            fetch(served.text, tmp_path / "file.bin", connections=1, progress=False)
        assert not (tmp_path / "file.bin").exists()
        served.repair()
        before = served.sent()
        assert fetch(served.text, tmp_path / "file.bin", progress=False).read_bytes() == DATA
        assert served.sent() - before < 0.7 * SIZE

    def test_a_file_that_was_replaced_meanwhile_is_never_spliced(self, served: Served, tmp_path: Path) -> None:
        """Half of the old version is here when the owner puts a new one: the new one comes, whole."""
        served.break_at(3 * MIB, 99)
        with pytest.raises(TransferError):
            fetch(served.text, tmp_path / "file.bin", connections=1, progress=False)
        served.repair()
        new = bytes(reversed(DATA))
        served.replace(new)
        assert fetch(served.text, tmp_path / "file.bin", progress=False).read_bytes() == new


class SecretSourceContract(SourceContract):
    """More tests, for sources that are asked with credentials; `served.secret` is them."""

    def test_what_is_shown_holds_no_secret(self, served: Served) -> None:
        """Neither the name for messages nor the file's name has credentials in it."""
        source = open_source(served.text).source
        assert isinstance(source, Source)
        assert served.secret
        assert served.secret not in source.shown + source.name

    def test_nothing_secret_is_kept(
        self, served: Served, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Neither the part that a failure leaves, nor the note in the cache, nor the error has credentials in it."""
        served.break_at(3 * MIB, 99)
        with pytest.raises(ColabKitError) as caught:
            fetch(served.text, tmp_path / "file.bin", connections=1, progress=False)
        served.repair()
        kept = _below(tmp_path)
        fetch(served.text, tmp_path / "file.bin", progress=False)
        kept += _below(tmp_path_factory.getbasetemp(), "receipts")
        assert served.secret
        assert served.secret not in str(caught.value)
        assert served.secret.encode() not in kept


def _below(folder: Path, part: str = "") -> bytes:
    files = (path for path in folder.rglob("*") if path.is_file() and part in path.as_posix())
    return b"".join(path.read_bytes() for path in files)
