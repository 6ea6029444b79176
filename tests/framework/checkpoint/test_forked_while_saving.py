"""Processes that a training forks while a state is being written: they leave the run alone and end when told to."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.whole_states import whole_states

if not hasattr(os, "fork"):
    pytest.skip("this system does not fork", allow_module_level=True)

IN_A_SAVE = """
import gc, json, os, signal, subprocess, sys, threading
import numpy as np
import colabkit as ck
from colabkit.checkpoint.format import file

OTHER = "import sys, colabkit as ck; ck.open_run(sys.argv[1]).save({'x': 9}, step=9)"
begun, gate, write = threading.Event(), threading.Event(), file.write

def held_up(to, tensors, meta):
    to.write(b"of this a fork has a copy, and would write it too if it flushed")
    begun.set()
    assert gate.wait(60)
    to.seek(0)
    to.truncate()
    return write(to, tensors, meta)

def seen():
    "All files of the run, and the states in its mirror, byte for byte; the lock there beats."
    folders = run.dir, run.dir.with_name("copies") / "checkpoints"
    return {str(path): path.read_bytes() for each in folders for path in each.rglob("*") if path.is_file()}

run = ck.open_run(sys.argv[1], mirror=sys.argv[2], every="1 steps")
for x in run.loop([1, 2, 3], model={"n": np.zeros(2000)}):
    if x < 3:
        run.flush()
        file.write = held_up if x == 2 else write
        continue
    assert begun.wait(60)  # the state of step 2 is half written
    before = seen()
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # it hangs
        gc.collect()
        sys.exit(7)  # through every `finally`, destructor and atexit
    status = os.waitpid(child, 0)[1]
    unchanged = seen() == before
    other = subprocess.run([sys.executable, "-c", OTHER, sys.argv[1]], capture_output=True, text=True)
    gate.set()
    print(json.dumps([status, unchanged, "RunBusyError" in other.stderr, other.returncode]), flush=True)
run.flush()
run.close()
"""

TERMINATED = """
import hashlib, multiprocessing, sys, time
import colabkit as ck

def work(begun):
    begun.set()
    if sys.argv[2] == "sleeps":
        time.sleep(600)
    hashlib.pbkdf2_hmac("sha512", b"", b"", 2**31 - 1)  # minutes in C, as a decoder of videos

run, worker, forks = ck.open_run(sys.argv[1]), None, multiprocessing.get_context("fork")
for x in run.loop([1, 2, 3], model={"n": 1}):
    if worker is None:
        begun = forks.Event()
        worker = forks.Process(target=work, args=(begun,), daemon=True)
        worker.start()
        assert begun.wait(60)
run.close()
print(run.status().saved_step, flush=True)
"""  # the interpreter, which ends here, terminates the worker and waits for it


def test_a_fork_in_the_middle_of_a_save_writes_nothing(python, tmp_path):
    """It ends by itself, not a byte of the run is another, the lock is still its parent's, and the state is whole."""
    folder = tmp_path / "run"
    code, out, err = python(IN_A_SAVE, folder, tmp_path / "copies")
    assert code == 0, err[-3000:]
    status, unchanged, refused, other = json.loads(out)
    assert os.waitstatus_to_exitcode(status) == 7, "the child hung, or did not come to its end"
    assert unchanged
    assert refused
    assert other != 0
    assert [max(steps) for steps in whole_states(folder, tmp_path / "copies")] == [3, 3]


@pytest.mark.parametrize("work", ["sleeps", "computes"])
def test_a_worker_forked_while_training_can_be_terminated(python, tmp_path, work):
    """The training's handler of SIGTERM is the parent's: `terminate()`, and the end of the program, end its workers."""
    code, out, err = python(TERMINATED, tmp_path / "run", work)
    assert (code, out) == (0, "3\n"), err
