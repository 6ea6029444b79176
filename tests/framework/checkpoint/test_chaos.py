"""A run under conditions that fail: whatever happens, nothing confirmed is lost, nothing hangs, and it is told.

`COLABKIT_CHAOS_ROUNDS=500 pytest -m slow tests/framework/checkpoint/test_chaos.py` tries as many rounds.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time

import numpy as np
import pytest

from colabkit.checkpoint import open_run

ROUNDS = int(os.environ.get("COLABKIT_CHAOS_ROUNDS", "10"))

SHORT_OF_MEMORY = """
import os, resource, sys, time
import numpy as np
import colabkit as ck
run = ck.open_run(sys.argv[1], mirror=sys.argv[1] + "-mirror")
w = np.zeros(3_000_000)
run.save({"w": w}, step=1)
run.flush()
size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
step = 1
for spare in (200, 60, 30, 12, 2):
    resource.setrlimit(resource.RLIMIT_AS, (size + (spare << 20), resource.RLIM_INFINITY))
    step += 1
    run.save({"w": w + 0 if spare > 100 else w}, step=step)
    time.sleep(0.3)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
began = time.monotonic()
run.save({"w": w + 7}, step=100)
run.close()
print("took", time.monotonic() - began, run.status().saved_step, run.status().confirmed_step, run.status().error)
"""

FEW_DESCRIPTORS = """
import os, resource, sys
import colabkit as ck
run = ck.open_run(sys.argv[1], mirror=sys.argv[1] + "-mirror")
run.save({"x": 1}, step=1)
run.flush()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for step in (2, 3):
    run.save({"x": step}, step=step)
    run._writer.wait(20)
told = run.status().error
for one in taken:
    os.close(one)
run.save({"x": 4}, step=4)
run.close()
print(bool(told), run.status().saved_step, run.status().confirmed_step, run.status().error, run.restore().step)
"""


def test_a_limit_of_memory_while_training(python, tmp_path):
    """Saves that find no memory are told; with memory again the next one is whole and confirmed, without a hang."""
    code, out, err = python(SHORT_OF_MEMORY, tmp_path / "run")
    assert code == 0, err[-2000:]
    _, seconds, saved, confirmed, error = out.splitlines()[-1].split(" ", 4)
    assert (saved, confirmed, error) == ("100", "100", "None"), err[-2000:]
    assert float(seconds) < 30
    assert open_run(tmp_path / "run").restore().state["w"][0] == 7


def test_a_limit_of_descriptors(python, tmp_path):
    """With none left nothing is raised; with some again it goes on."""
    code, out, err = python(FEW_DESCRIPTORS, tmp_path / "run")
    assert (code, out.split()) == (0, ["True", "4", "4", "None", "4"]), err[-2000:]


FAILING = ["write", "fsync", "replace", "open", "mkstemp", "chmod"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", FAILING)
def test_a_system_call_that_fails_in_a_save(tmp_path, monkeypatch, call, number):
    """Told, not raised; what was saved before is there, half a file is not, and the next save works."""
    import tempfile

    run = open_run(tmp_path / "run")
    run.save({"x": np.arange(3)}, step=1)
    run.flush()
    holder = tempfile if call == "mkstemp" else os
    real = getattr(holder, call)

    def fail(*given, **named):
        place = str(given[-1] if call == "replace" else named.get("dir", given[0] if given else ""))
        if call in ("write", "fsync") or "checkpoints" in place:
            raise OSError(number, os.strerror(number))
        return real(*given, **named)

    if call == "write":
        from colabkit.checkpoint.format import file

        monkeypatch.setattr(file, "write", lambda *_: fail(""))
    else:
        monkeypatch.setattr(holder, call, fail)
    run.save({"x": np.arange(3) + 1}, step=2)
    run._writer.wait(20)
    assert call == "open" or run.status().error is not None  # the files themselves are opened by io.open
    monkeypatch.undo()
    assert open_run(tmp_path / "run").restore().step in (1, 2)
    run.save({"x": np.arange(3) + 2}, step=3)
    run.flush()
    run.close()
    assert run.status().error is None
    assert open_run(tmp_path / "run").restore().step == 3
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir() if path.name.startswith(".")] == []


TRAINING = """
import os, random, sys, time
import numpy as np
import colabkit as ck
run = ck.open_run(sys.argv[1], mirror=sys.argv[1] + "-mirror", keep=2)
found = run.restore()
step = found.step if found else 0
assert found is None or (found.state["x"] == step).all()
while True:
    step += 1
    run.save({"x": np.full(50_000, step)}, step=step)
    confirmed = run.status().confirmed_step
    if confirmed:
        print(confirmed, flush=True)
    if step % 3 == 0 and os.fork() == 0:  # a worker that outlives its parent
        time.sleep(random.random())
        os._exit(0)
    time.sleep(0.005)
"""


@pytest.mark.slow
def test_rounds_of_kills_stops_and_forks(start, tmp_path):
    """In each round the training is stopped, continued and killed, with forked workers about; then all goes on."""
    draw, most = random.Random(0), 0  # noqa: S311 - when to kill
    for _ in range(ROUNDS):
        process = start(TRAINING, tmp_path / "run")
        time.sleep(0.3 + draw.random())
        process.send_signal(signal.SIGSTOP)
        time.sleep(draw.random() * 0.2)
        process.send_signal(signal.SIGCONT)
        time.sleep(draw.random() * 0.3)
        process.kill()
        out, err = process.communicate(timeout=30)
        assert "Traceback" not in err, err
        told = [int(line) for line in out.split()]
        most = max([most, *told])
        here, there = (open_run(tmp_path / name) for name in ("run", "run-mirror"))
        for found in (here.restore(), there.restore()):
            assert found is None or (found.state["x"] == found.step).all()
        assert most == 0 or there.restore().step >= most, "what was confirmed survives the loss of the machine"
    assert most > 0
