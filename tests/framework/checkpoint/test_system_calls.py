"""Claims about every system call of a save: killed at any of them, and with the power cut after any, the run goes on.

strace stops the saver at each call that may change the disk, one process each. Its record of all calls is played into a
model of a disk that keeps only what was flushed, and each prefix is opened.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from colabkit import open_run
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.mirror import remote_store
from colabkit.checkpoint.run_lock import LOCKS
from colabkit.storage import open_storage
from tests.support.power_cut import Disk, calls_of

ROOT = str(Path(__file__).parents[3])
CALLS = "%file,%desc"
# What only reads leaves the disk as the next of the others finds it, so a kill there is a kill at that one.
READING = {
    *("access", "close", "dup", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "faccessat", "faccessat2"),
    *("fstat", "fstatfs", "getcwd", "getdents64", "ioctl", "lseek", "lstat", "mmap", "newfstatat", "poll", "ppoll"),
    *("pread64", "read", "readlink", "readlinkat", "select", "stat", "statfs", "statx"),
}

# Forks a child for every line of stdin, which stops until strace watches it, then saves.
SAVER = """
import os, signal, sys
import numpy as np
from colabkit import open_run

def save(folder, mirror):
    run = open_run(folder, keep=2, mirror=mirror or None)
    run.save({"x": np.full(2000, 3)}, step=3)
    run.flush()
    os.write(1, b"durable\\n")
    run.close()

for line in sys.stdin:
    folder, _, mirror = line.rstrip("\\n").partition("\\t")
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.kill(os.getpid(), signal.SIGSTOP)
        save(folder, mirror)
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture
def saver():
    """Give a process that forks savers; skips without strace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing; apt-get install strace")
    process = subprocess.Popen(
        [sys.executable, "-c", SAVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))},
    )
    yield process
    process.communicate(timeout=30)


def watched(saver, options, folder, mirror=None):
    """Let a saver work under strace; gives what os.wait says of it, and whether it said that its state is durable."""
    saver.stdin.write(f"{folder}\t{mirror or ''}\n")
    saver.stdin.flush()
    child = int(saver.stdout.readline())
    strace = subprocess.Popen(["strace", "-f", *options, "-p", str(child)], stderr=subprocess.PIPE, text=True)
    line = strace.stderr.readline()
    if "attached" not in line:
        os.kill(child, signal.SIGKILL)
        pytest.skip(f"strace may not watch a process here: {line.strip()}; run as root")
    os.kill(child, signal.SIGCONT)
    told = saver.stdout.readline()
    status = int(saver.stdout.readline() if (durable := told == "durable\n") else told)
    strace.communicate(timeout=30)
    return status, durable


def begun(folder, mirror=None):
    """Make a run of two states."""
    with open_run(folder, keep=2, mirror=mirror) as run:
        for step in (1, 2):
            run.save({"x": np.full(2000, step)}, step=step)
            run.flush()


def restored(folder):
    """Restore the newest state as a new process does; gives its step, after a look at its content."""
    LOCKS.pop(folder, None)
    found = open_run(folder, keep=2).restore()
    assert (found.state["x"] == found.step).all()
    return found.step


def brought(mirror, folder):
    """Restore the newest state of the mirror alone, as a fresh machine does."""
    found, _, _ = naming.latest_valid(remote_store.candidates(open_storage(mirror), folder, tries=0))
    step = found.meta["step"]
    assert (found.tensors["state/x"] == step).all()
    return step


def copied(tmp_path, name):
    """Copy the run and its mirror, so that the next saver finds them untouched."""
    target = tmp_path / name
    shutil.copytree(tmp_path / "begun", target)
    return target / "run", target / "mirror"


@pytest.mark.slow
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_save_killed_at_any_system_call_loses_nothing(tmp_path, saver, mirrored):
    """After each kill the newest or the one before is restored, here and from the mirror alone, and a save works."""
    begun(tmp_path / "begun" / "run", tmp_path / "begun" / "mirror" if mirrored else None)
    folder, mirror = copied(tmp_path, "whole")
    log = tmp_path / "log"
    watched(saver, ["-e", f"trace={CALLS}", "-o", str(log)], folder, mirror if mirrored else None)
    changing = set(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE)) - READING
    assert {"openat", "write", "fsync", "rename", "unlink"} <= changing
    for call in sorted(changing):
        number = 1
        while killed(tmp_path, saver, call, number, mirrored):
            number += 1  # strace counts the calls of each kind, in each thread
        assert number > 1, call


def killed(tmp_path, saver, call, number, mirrored):
    """Kill a saver at one call of a kind, and look at what it left; tells whether it got that far."""
    folder, mirror = copied(tmp_path, f"{call}-{number}")
    inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}", "-o", os.devnull]
    status, durable = watched(saver, inject, folder, mirror if mirrored else None)
    assert status in (0, signal.SIGKILL)
    assert restored(folder) in ((3,) if durable else (2, 3))
    if mirrored:
        assert brought(mirror, tmp_path / "fresh" / f"{call}-{number}") in ((3,) if durable else (2, 3))
    with open_run(folder, keep=2) as again:
        again.save({"x": np.full(2000, 4)}, step=4)
        again.flush()
    assert restored(folder) == 4
    assert not list((folder / "checkpoints").glob(".*"))
    shutil.rmtree(folder.parent)
    return status == signal.SIGKILL


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_power_cut_after_any_system_call_loses_nothing(tmp_path, saver, mirrored):
    """With all that was not flushed gone, the data or the names or both, a state starts; what was flushed is there."""
    begun(tmp_path / "begun" / "run", tmp_path / "begun" / "mirror" if mirrored else None)
    folder, mirror = copied(tmp_path, "saved")
    log = tmp_path / "log"
    record = ["-ff", "-ttt", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", str(log)]
    status, durable = watched(saver, record, folder, mirror if mirrored else None)
    assert (status, durable) == (0, True)
    disk, told, states = Disk(tmp_path / "begun", at=tmp_path / "saved"), False, set()
    for call in calls_of(log):
        told = told or call.says("durable")
        if not disk.play(call) and not call.says("durable"):
            continue
        for number, state in enumerate(disk.after_a_power_cut()):
            if (mark := (told, state.mark())) not in states:
                states.add(mark)
                state.write(target := tmp_path / f"cut-{len(states)}-{number}")
                allowed = (3,) if told else (2, 3)
                assert restored(target / "run") in allowed
                if mirrored:
                    assert brought(target / "mirror", target / "fresh") in allowed
                shutil.rmtree(target)
    assert told
    assert len(states) > 6
    assert disk.final() == {
        path.relative_to(folder.parent): path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()
    }
