"""A line that breaks is gone on with; a server that always ends at the same byte is told apart from it."""

import itertools

import pytest

from colabkit._engine import downloader
from colabkit._internal.retry import Backoff
from colabkit.errors import TransferError
from colabkit.testing.http import Fault
from colabkit.transfer import fetch
from tests.support.bad_line import BadLine

KIB = 1 << 10
MIB = 1 << 20


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait a hundredth of what users wait, in as many tries."""
    monkeypatch.setattr(downloader, "Backoff", lambda: Backoff(first=0.005, longest=0.1))


@pytest.mark.parametrize(
    ("size", "files", "chance", "block"),
    [(100 * KIB, 30, 0.25, 16 * KIB), (900 * KIB, 10, 0.1, 64 * KIB), (12 * MIB, 2, 0.02, 64 * KIB)],
    ids=["small", "a part", "many parts"],
)
def test_random_resets_are_gone_on_with(server, blob, tmp_path, size, files, chance, block):
    """Resets at random, of which many strike the same byte twice: each file comes whole, and little comes twice."""
    with BadLine(server.port, chance=chance, block=block) as line:
        for number in range(files):
            data = blob(size, number)
            server.put("a.bin", data)
            path = fetch(f"http://127.0.0.1:{line.port}/a.bin", tmp_path / f"{number}.bin", progress=False)
            assert path.read_bytes() == data
    assert line.resets > files
    assert len(list(tmp_path.iterdir())) == files


def test_a_reset_of_the_request_for_a_part_does_not_lose_what_came(server, blob, tmp_path, monkeypatch):
    """Connections that break before the answer say nothing of ranges: the part is not given up for the whole file."""
    data = blob(8 * MIB)
    server.put("a.bin", data, Fault(kind="truncate", at=5 * MIB), Fault(kind="truncate", at=5 * MIB + 500_000))
    asked, choose = itertools.count(1), server.answer

    def answer(request):
        if next(asked) in {2, 3, 4, 6, 7, 8, 9, 10}:
            raise ConnectionResetError
        return choose(request)

    monkeypatch.setattr(server, "answer", answer)
    path = fetch(server.url("a.bin"), tmp_path / "a.bin", progress=False, connections=1)
    assert path.read_bytes() == data
    gets = [seen for seen in server.seen if seen.method == "GET"]
    assert ["range" in seen.headers for seen in gets] == [False] + [True] * (len(gets) - 1)


def test_a_small_file_that_always_ends_at_the_same_byte_is_told(server, blob, tmp_path):
    """A few blocks make a small file, so two ends at one byte may be chance; the third in a row is told."""
    server.put("a.bin", blob(200 * KIB), Fault(kind="length", at=7, times=99))
    with pytest.raises(TransferError, match="3 tries in a row ended at the same byte"):
        fetch(server.url("a.bin"), tmp_path / "a.bin", progress=False)
    assert len(server.seen) == 3
    assert list(tmp_path.iterdir()) == []
