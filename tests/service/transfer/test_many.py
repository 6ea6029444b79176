"""A list of sources comes side by side, in order, and one failure does not cost the others."""

import contextlib
import hashlib
import json
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from colabkit._engine import parallel
from colabkit._http.client import HTTPClient, Response
from colabkit.cli import main
from colabkit.errors import AddressError, IntegrityError, NotFoundError
from colabkit.testing.http import Fault
from colabkit.transfer import fetch

MIB = 1 << 20


def test_a_list_comes_in_order_and_side_by_side(server, tmp_path):
    """Eight files that take a second each are there in much less than eight."""
    for number in range(8):
        server.put(f"{number}.bin", bytes([number]) * 1000, Fault(kind="stall", at=500, seconds=1))
    begun = time.monotonic()
    paths = fetch([server.url(f"{number}.bin") for number in range(8)], tmp_path / "new")
    assert time.monotonic() - begun < 6
    assert [path.name for path in paths] == [f"{number}.bin" for number in range(8)]
    assert [path.read_bytes()[0] for path in paths] == list(range(8))
    assert {path.parent for path in paths} == {tmp_path / "new"}


def test_a_list_shares_its_connections(server, blob, tmp_path, monkeypatch):
    """Never more than sixteen are in use; a large file that is left over takes those that the others need no more."""
    urls, data = [], blob(12 * MIB)
    for number in range(40):
        server.put(f"{number}.bin", data if number == 3 else bytes(1000), rate=MIB)
        urls.append(server.url(f"{number}.bin"))
    in_use, most, ask, close = {}, {"all": 0, "large": 0}, HTTPClient.get, Response.close

    def counted(client, target, **options):
        key = object()
        in_use[key] = target.url
        most["all"] = max(most["all"], len(in_use))
        most["large"] = max(most["large"], list(in_use.values()).count(urls[3]))
        answer, reached = ask(client, target, **options)
        answer._counted_as = key
        return answer, reached

    def closed(answer):
        in_use.pop(answer._counted_as, None)  # before: the next one may begin as soon as this one is closed
        close(answer)

    monkeypatch.setattr(HTTPClient, "get", counted)
    monkeypatch.setattr(Response, "close", closed)
    paths = fetch(urls, tmp_path)
    assert paths[3].read_bytes() == data
    assert most["all"] <= 16
    assert most["large"] >= 4


def test_one_failure_is_told_and_the_others_stay(server, tmp_path):
    """Two missing files: the first error with a note about the second, and the rest is fetched."""
    server.put("a.csv", b"1")
    server.put("b.csv", b"2")
    names = ["a.csv", "missing-1", "missing-2", "b.csv"]
    with pytest.raises(NotFoundError, match="missing-1") as caught:
        fetch([server.url(name) for name in names], tmp_path)
    more, second = caught.value.__notes__
    assert more == "1 more of the 4 failed; the others are done"
    assert second.startswith("also failed: there is no file at http")
    assert "missing-2" in second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def test_of_many_failures_a_few_are_told_in_words_and_all_of_them_stay_at_hand(server, tmp_path):
    """Thirty files are missing: six are named, the others counted, and the error holds every one."""
    names = [f"missing-{number:02}" for number in range(30)]
    with pytest.raises(NotFoundError, match="missing-00") as caught:
        fetch([server.url(name) for name in names], tmp_path, progress=False)
    notes = caught.value.__notes__
    assert notes[0] == "29 more of the 30 failed; the others are done"
    assert [re.search(r"missing-\d\d", note)[0] for note in notes[1:-1]] == names[1:6]
    assert notes[-1] == "… and 24 more: all are in error.also_failed, and what --json prints"
    assert [re.search(r"missing-\d\d", error.what)[0] for error in caught.value.also_failed] == names[1:]
    shown = "\n".join(caught.value._render_traceback_())  # as a notebook shows it
    assert "missing-05" in shown
    assert "24 more" in shown


def test_the_command_line_tells_every_file_of_a_line_that_failed(server, tmp_path, capsys, monkeypatch):
    """A pasted line of three addresses, two of them gone: both are told in words and in JSON."""
    monkeypatch.chdir(tmp_path)
    server.put("here.csv", b"1")
    line = f"wget {server.url('gone-1.csv')} {server.url('here.csv')} {server.url('gone-2.csv')}"
    code = main(["fetch", line, "--json"])
    written = capsys.readouterr()
    error = json.loads(written.out)["error"]
    assert code == error["exit_code"] == NotFoundError.exit_code
    assert "gone-1.csv" in error["what"]
    assert ["gone-2.csv" in other["what"] for other in error["also_failed"]] == [True]
    assert "1 more of the 3 failed" in written.err
    assert "gone-2.csv" in written.err


def test_an_empty_list_is_an_empty_list():
    """Nothing to do is done."""
    assert fetch([]) == []


@pytest.mark.parametrize("checksum", ["md5:" + "0" * 32, ["md5:" + "0" * 32], []])
def test_checksums_that_do_not_fit_the_list_are_refused(checksum):
    """Each source has its own: one for all, or fewer than sources, is a mistake that is told before any network."""
    with pytest.raises(AddressError, match="2 sources"):
        fetch(["https://a.org/1", "https://a.org/2"], checksum=checksum)


def test_each_file_of_a_list_has_its_own_checksum(server, tmp_path):
    """The wrong one is refused, and the others stay; None checks nothing."""
    sums = []
    for name in ("a", "b", "c"):
        server.put(name, name.encode())
        sums.append("sha256:" + hashlib.sha256(name.encode()).hexdigest())
    urls = [server.url(name) for name in ("a", "b", "c")]
    with pytest.raises(IntegrityError, match="/b is not"):
        fetch(urls, tmp_path, checksum=[sums[0], sums[0], None])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
    assert len(fetch(urls, tmp_path, checksum=sums)) == 3


def test_progress_adds_up(server, tmp_path):
    """One bar for all: the last call has all the bytes."""
    for number in range(3):
        server.put(f"{number}.bin", bytes(MIB))
    calls = []
    urls = [server.url(f"{number}.bin") for number in range(3)]
    fetch(urls, tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (3 * MIB, 3 * MIB)


def test_ctrl_c_stops_all_and_the_next_run_goes_on(server, blob, tmp_path):
    """SIGINT ends a list soon and leaves resumable parts only."""
    data = blob(8 * MIB)
    for number in range(3):
        server.put(f"{number}.bin", data, rate=MIB)
    urls = [server.url(f"{number}.bin") for number in range(3)]
    code = "import sys; from colabkit.transfer import fetch; fetch(sys.argv[2:], sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path, *urls], stderr=subprocess.PIPE)
    end = time.monotonic() + 20
    while server.sent < MIB and time.monotonic() < end:
        if len(list(tmp_path.glob("*.json"))) + len(list(tmp_path.glob(".*.json"))) == 3:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    assert process.returncode != 0
    assert all(".part-fetch" in path.name for path in tmp_path.iterdir())
    for number in range(3):
        server.resources[f"{number}.bin"].rate = 0
    assert [path.read_bytes() == data for path in fetch(urls, tmp_path)] == [True] * 3


@pytest.mark.parametrize(
    ("threads", "seconds", "computed", "wanted"),
    [
        (1, 0.0006, 0.0005, 1),
        (1, 0.0006, 0.0003, 2),
        (2, 0.0006, 0.0003, 2),
        (1, 0.005, 0.0005, 4),
        (4, 0.005, 0.0005, 4),
        (16, 0.005, 0.0005, 16),
        (1, 0.03, 0.0005, 16),
        (4, 0.03, 0.0005, 16),
    ],
)
def test_threads_that_are_worth_it_follow_what_an_item_waits_for(threads, seconds, computed, wanted):
    """Python's threads stand in one another's way, so more come only where a disk, or a server, is waited for."""
    now = iter([0.0, 0.6])
    rate = parallel._Rate(clock=lambda: next(now))
    done = round(0.6 * threads / seconds)
    assert rate.threads_wanted(done, done * computed, threads, 16) == wanted


def test_many_threads_fetch_what_is_waited_for():
    """A list begins with one thread, and has all of them where each item takes its time."""
    used = set()

    def do(number, _):
        used.add(threading.get_ident())
        time.sleep(0.2)
        return number

    worker = lambda: contextlib.nullcontext(do)  # noqa: E731
    assert parallel.parallel_map(range(64), worker, False, at_once=16) == list(range(64))
    assert len(used) == 16


def test_a_kill_in_the_middle_of_small_files_leaves_each_whole_or_absent(server, tmp_path):
    """SIGKILL at different moments; the same line then brings the rest, and asks for no file twice that is there."""
    for number in range(200):
        server.put(f"{number}.bin", bytes([number]) * 30_000)
    urls = [server.url(f"{number}.bin") for number in range(200)]
    code = "import sys; from colabkit.transfer import fetch; fetch(sys.argv[2:], sys.argv[1], progress=False)"
    for seconds in (0.0, 0.02, 0.05):
        running = subprocess.Popen([sys.executable, "-c", code, tmp_path / "out", *urls])
        before = len(server.seen)
        while len(server.seen) < before + 5 and running.poll() is None:
            time.sleep(0.005)
        time.sleep(seconds)
        running.kill()
        running.wait()
        for path in (tmp_path / "out").glob("[!.]*"):
            assert path.read_bytes() == bytes([int(path.stem)]) * 30_000
        time.sleep(0.5)  # what it had asked for last is seen by the server after its death
    there, before = len(list((tmp_path / "out").glob("[!.]*"))), len(server.seen)
    fetch(urls, tmp_path / "out", progress=False)
    assert len(server.seen) - before == 200 - there
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{n}.bin" for n in range(200))
