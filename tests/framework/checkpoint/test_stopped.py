"""A training that the system stops (SIGSTOP, a laptop that sleeps, a frozen container) while others want its run."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from colabkit.checkpoint import open_run
from colabkit.checkpoint.mirror import remote_store
from colabkit.errors import RunBusyError
from colabkit.storage import open_storage

if not hasattr(signal, "SIGSTOP"):
    pytest.skip("this system cannot stop a process", allow_module_level=True)

WRITES = """
import signal, sys, threading
import numpy as np
from colabkit import open_run
from colabkit.checkpoint.format import file

write = file.write

def stopped_in_the_middle(to, tensors, meta):
    to.write(b"half of a state")
    to.flush()
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # to the process it would come some steps later
    to.seek(0)
    to.truncate()
    return write(to, tensors, meta)

run = open_run(sys.argv[1])
run.save({"x": np.full(2000, 1)}, step=1)
run.flush()
file.write = stopped_in_the_middle
run.save({"x": np.full(2000, 2)}, step=2)
run.flush()
print(run.status().saved_step, flush=True)
signal.pause()
"""

COPIES = """
import signal, sys, threading, time
import numpy as np
from colabkit import open_run
from colabkit.errors import ColabKitError

run = open_run(sys.argv[1], mirror=sys.argv[2])
run._mirror.lease._heartbeat_every, run._mirror.lease._ttl = 0.1, 2.5
run.save({"by": "first", "x": np.full(2000, 1)}, step=1)
run.flush()
put = run._mirror.storage.put

def stopped_before_it(name, *given, **named):
    if "step-000000002" in name:
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # to the process it would come some steps later
    return put(name, *given, **named)

run._mirror.storage.put = stopped_before_it
run.save({"by": "first", "x": np.full(2000, 2)}, step=2)
while run._mirror.lease.held:
    time.sleep(0.05)
print(str(run.status().error).replace("\\n", " "), flush=True)
try:
    run.save({"by": "first", "x": np.full(2000, 3)}, step=3)
except ColabKitError as error:
    print(type(error).__name__, str(error).replace("\\n", " "), flush=True)
run.close()
"""


def wait_until_stopped(process):
    """Wait for the instant at which the system has stopped all threads of a process."""
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), (status, process.stderr.read())


def test_a_stopped_writer_keeps_its_folder(start, tmp_path):
    """However long it stops, in the middle of a state, others are refused in words, and it goes on undisturbed."""
    folder = tmp_path / "run"
    writer = start(WRITES, folder)
    wait_until_stopped(writer)
    other = open_run(folder)
    assert other.restore().step == 1
    with pytest.raises(RunBusyError, match=rf"is being written by process {writer.pid} "):
        other.save({"x": np.full(2000, 9)}, step=9)
    other.close()
    writer.send_signal(signal.SIGCONT)
    assert writer.stdout.readline() == "2\n"
    writer.kill()
    writer.wait()
    found = other.restore()
    assert (found.step, set(found.state["x"])) == (2, {2})
    other.save({"x": np.full(2000, 3)}, step=3)
    other.close()
    assert [entry.step for entry in other.checkpoints()] == [3, 2, 1]


@pytest.mark.slow
def test_a_writer_that_was_stopped_past_its_lease_stands_aside(start, tmp_path):
    """Another machine takes the mirror over; the stopped one, in the middle of a copy, then finds out and says so."""
    mirror = tmp_path / "copies"
    first = start(COPIES, tmp_path / "one", mirror)
    wait_until_stopped(first)
    second = open_run(tmp_path / "two", mirror=mirror)
    second._mirror.lease._heartbeat_every, second._mirror.lease._ttl = 0.1, 2.5
    assert second.restore().step == 1
    for step in (2, 3):
        second.save({"by": "second", "x": np.full(2000, step)}, step=step)
        second.flush(60)
    assert second.status().confirmed_step == 3
    first.send_signal(signal.SIGCONT)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err
    words = f"RunBusyError the run one is being written by process {os.getpid()} on "
    status, saved = out.splitlines()
    assert saved.startswith(words)
    assert status == saved.removeprefix("RunBusyError ")
    assert "nothing more is copied from here" in err
    lock = json.loads((mirror / "lock.json").read_text())
    assert lock["session"] == second._mirror.lease._session
    second.save({"by": "second", "x": np.full(2000, 4)}, step=4)
    second.flush(60)
    assert (second.status().confirmed_step, second.status().error) == (4, None)
    for candidate in remote_store.candidates(open_storage(mirror), tmp_path / "fresh", tries=0):
        assert set(candidate.load().tensors["state/x"]) == {candidate.step}
    second.close()
    again = open_run(tmp_path / "one", mirror=mirror)
    found = again.restore()
    assert (found.step, found.state["by"]) == (4, "second")
    again.close()
