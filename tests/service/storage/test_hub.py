"""Hugging Face's Hub as a storage, by its own client: a killed run goes on, and commits are rationed."""

import os
import signal
import socket
import subprocess
import sys

import pytest

import colabkit as ck
from colabkit._clients.huggingface import parse
from colabkit._internal.retry import Backoff
from colabkit.errors import AddressError, BusyError, IntegrityError, UnreachableError
from colabkit.storage import open_storage
from colabkit.storage.huggingface import CommitBudget, HubStorage
from colabkit.testing.huggingface import LARGE

SCRIPT = """
import os, signal, sys
import numpy as np
import colabkit as ck
from colabkit.storage.huggingface import HubStorage
HubStorage.beat = 0.2  # the signs of life of a machine that is gone are waited for
run = ck.open_run("hf:ada/runs/digits")
state = run.restore()
step = 0 if state is None else state.step
weights = np.arange(LARGE // 8, dtype="float64") if state is None else state.state["weights"]
print("from", step, float(weights.sum()), flush=True)
while step < int(sys.argv[1]):
    step += 1
    weights = weights + step
    run.save({"weights": weights}, step=step)
if sys.argv[2] == "kill":
    run.flush()
    os.kill(os.getpid(), signal.SIGKILL)
run.close()
print("at", step, float(weights.sum()), flush=True)
"""


def _train(steps, end, cache):
    words = [sys.executable, "-c", SCRIPT.replace("LARGE", str(LARGE)), str(steps), end]
    done = subprocess.run(words, env={**os.environ, "COLABKIT_CACHE": str(cache)}, capture_output=True, text=True)
    assert done.returncode == (-signal.SIGKILL if end == "kill" else 0), done.stderr
    return done.stdout.split("\n")


@pytest.mark.slow
def test_a_killed_run_goes_on_on_another_machine(hub, tmp_path):
    """The machine is lost with its disk; the next one has the same numbers, verified by the Hub's hash."""
    _train(3, "kill", tmp_path / "one")
    repo = hub.repos["models/ada/runs"]
    assert repo.private
    assert any(name.startswith("digits/checkpoints/") for name in repo.files)
    lines = _train(5, "close", tmp_path / "two")
    begun = sum(range(LARGE // 8))
    assert lines[0] == f"from 3 {float(begun + 6 * (LARGE // 8))}"
    assert lines[1] == f"at 5 {float(begun + 15 * (LARGE // 8))}"
    assert "digits/lock.json" not in repo.files
    assert repo.commits < 30


def test_what_the_hub_does_not_take_is_told_and_goes_later(hub, tmp_path, monkeypatch):
    """Too many commits an hour: the run trains on, says so, asks no more before the Hub lets it."""
    storage = HubStorage(parse("hf:ada/runs/x"), budget=CommitBudget(0))
    storage.put("a", b"1")
    hub.commits_left = 0
    with pytest.raises(BusyError, match="429"):
        storage.put("a", b"2")
    before = len(hub.seen)
    with pytest.raises(BusyError, match=r"accepts no commits for 1[78]"):
        storage.put("a", b"2")
    assert not any(seen.path.endswith("/commit/main") for seen in hub.seen[before:])
    assert storage.read("a") == b"1"


def test_commits_are_rationed(hub):
    """Eight at once, then one in half a minute; what is deleted goes along with the next one, a lock at once."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    storage = HubStorage(parse("hf:ada/runs/x"), budget=CommitBudget(clock=lambda: now[0], sleep=sleep))
    for number in range(8):
        storage.put(f"{number}", bytes([number]))
    assert now == [0.0]
    commits = hub.repos["models/ada/runs"].commits
    storage.delete("0")
    storage.delete("1")
    assert [one.name for one in storage.list()] == [str(number) for number in range(2, 8)]
    assert hub.repos["models/ada/runs"].commits == commits
    storage.put("lock.json", b"{}")
    assert (now, hub.repos["models/ada/runs"].commits) == ([30.0], commits + 1)
    assert "x/0" not in hub.repos["models/ada/runs"].files
    storage.delete("lock.json")
    assert "x/lock.json" not in hub.repos["models/ada/runs"].files
    for number in range(20):
        storage.put("a", str(number).encode())
    assert hub.repos["models/ada/runs"].commits <= 128 * now[0] / 3600 + 12


def test_a_lost_answer_and_another_writer_cost_nothing(hub):
    """A commit whose answer is lost is seen to be there; one beside another file is made anew on the newer commit."""
    storage = HubStorage(parse("hf:datasets/ada/runs/x"), budget=CommitBudget(0))
    storage.put("a", b"1")
    hub.lost = 1
    assert storage.put("a", b"2").size == 1
    hub.repos["datasets/ada/runs"].gitignored = {"x/b"}
    with pytest.raises(IntegrityError, match="does not hold"):
        storage.put("b", b"3")
    assert storage.read("a") == b"2"


@pytest.mark.parametrize("address", ["hf:gpt2", "hf:ada/runs@v1/x", "hf:ada/runs/*.bin", "hf:"])
def test_what_is_no_place_to_write_to_is_refused(address):
    """A version, a pattern, no owner."""
    with pytest.raises(AddressError, match="hf:OWNER/NAME"):
        open_storage(address)


def test_a_run_needs_a_name_there(hub):
    """The repository alone is no run."""
    with pytest.raises(AddressError):
        ck.open_run("hf:ada/")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    from colabkit._clients import huggingface

    monkeypatch.setattr(huggingface, "Backoff", lambda **options: Backoff(first=0.01, **options))


def test_without_a_network_a_storage_says_so_soon(monkeypatch):
    """Whoever reads a run asks again itself, with waits of its own: both together made 40 seconds."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    waits = []
    monkeypatch.setattr(Backoff, "wait", lambda budget, *_: waits.append(budget.tries))
    with pytest.raises(UnreachableError, match="does not answer"):
        open_storage("hf:ada/runs").list()
    assert waits == [1]
