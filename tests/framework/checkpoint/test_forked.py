"""Claims about forked workers, threads that cannot be started, and one run that is used from several threads."""

from __future__ import annotations

import json
import os
import threading

import numpy as np
import pytest

from colabkit.checkpoint import open_run
from colabkit.errors import RunBusyError, StorageError

FORKED = """
import multiprocessing, sys, time
import colabkit as ck
run = ck.open_run(sys.argv[1], mirror=sys.argv[1] + "-mirror")
run.save({"x": 1}, step=1)
run.flush()
forks = multiprocessing.get_context("fork")
begun = forks.Event()
def work():
    begun.set()
    time.sleep(600)
child = forks.Process(target=work, daemon=True)
child.start()
begun.wait()
print(child.pid, flush=True)
if sys.argv[2] == "close":
    run.close()
    print("closed", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["kill", "close"])
def test_a_forked_worker_keeps_the_run_from_nobody(start, tmp_path, end):
    """A DataLoader's worker outlives its parent's kill, or its close(); others may write at once."""
    parent = start(FORKED, tmp_path / "run", end)
    worker = int(parent.stdout.readline())
    if end == "close":
        parent.stdout.readline()
    else:
        parent.kill()
        parent.wait()
    try:
        run = open_run(tmp_path / "run")
        run.save({"x": 2}, step=2)
        run.close()
        os.kill(worker, 0)
    finally:
        os.kill(worker, 9)
    assert [entry.step for entry in run.checkpoints()] == [2, 1]


def in_a_child(act):
    """Fork, act in the child and give what it says; a child that hangs is ended after 20 s."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        said = "nothing"
        try:
            said = str(act())
        except BaseException as error:  # noqa: BLE001 - told to the parent
            said = type(error).__name__
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    watch = threading.Timer(20, os.kill, (child, 9))
    watch.start()
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    watch.cancel()
    return said


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_leaves_the_run_to_its_parent(tmp_path, monkeypatch):
    """It cannot save while the parent writes, and waits for nothing; once the parent has closed it may."""
    from colabkit.checkpoint.format import naming

    gate, publish = threading.Event(), naming.publish
    run = open_run(tmp_path / "run", mirror=tmp_path / "mirror")
    with monkeypatch.context() as patch:
        patch.setattr(naming, "publish", lambda *a, **o: gate.wait(60) and publish(*a, **o))
        run.save({"x": 0}, step=1)
        assert in_a_child(lambda: run.save({"x": "child"}, step=100)) == RunBusyError.__name__
        assert in_a_child(run.close) == "None"
        assert in_a_child(lambda: run._writer.wait(timeout=10)) == "True"
        gate.set()
    run.flush()
    assert [entry.step for entry in run.checkpoints()] == [1]
    run.close()

    def train():
        run.save({"x": "child"}, step=2)
        run.close()
        return run.status().confirmed_step

    assert in_a_child(train) == "2"
    assert run.restore().state == {"x": "child"}


@pytest.fixture
def no_threads(monkeypatch):
    """Let the system give no thread whose name begins with one of these."""
    start = threading.Thread.start

    def refuse(*names):
        def begin(thread):
            if thread.name.startswith(names):
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", begin)

    return refuse


@pytest.mark.parametrize("name", ["colabkit", "colabkit-hash", "colabkit-copy", "colabkit-checkpoints"])
def test_without_threads_all_is_saved_and_nothing_hangs(tmp_path, no_threads, name):
    """Where no thread can be started the training's own does the work; nothing is raised, lost or hangs."""
    no_threads(name)
    run = open_run(tmp_path / "run", mirror=tmp_path / "mirror")
    for step in (1, 2):
        run.save({"x": np.full(9_000_000, step)}, step=step)
    run.close()
    assert (run.status().saved_step, run.status().mirrored_step, run.status().error) == (2, 2, None)
    no_threads("none")
    assert run.restore().state["x"][0] == 2


def test_a_lack_of_threads_is_told(tmp_path, no_threads, caplog):
    """status() and the log say that nothing is copied; once threads are there again it goes on by itself."""
    no_threads("colabkit-mirror", "colabkit-heartbeat")
    run = open_run(tmp_path / "run", mirror=tmp_path / "mirror")
    for step in (1, 2):
        run.save({"x": 1}, step=step)
        run.written()
    assert "no thread can be started" in run.status().error
    assert caplog.text.count("no thread can be started") == 1
    no_threads("none")
    run.save({"x": 1}, step=3)
    run.flush(60)
    assert (run.status().mirrored_step, run.status().error) == (3, None)
    run.close()


def test_a_thread_that_dies_at_birth_is_not_waited_for(tmp_path, monkeypatch):
    """Memory was there for its stack and not for its first step: Thread.start() alone would wait for ever."""
    from colabkit._internal.process import threads

    monkeypatch.setattr(threads, "_PATIENCE", 0.05)
    monkeypatch.setattr(threads, "_failed_at", -1e9)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda _: None)
    run = open_run(tmp_path / "run")
    run.save({"x": np.zeros(9_000_000)}, step=1)
    run.close()
    assert run.status().saved_step == 1


def test_a_lack_of_memory_does_not_end_the_training(tmp_path, monkeypatch, caplog):
    """Neither while the state is taken nor while it is copied; it is told, and the next state is saved."""
    run = open_run(tmp_path / "run")

    class Tensor:
        def __array__(self, *_, **__):
            raise MemoryError

    run.save({"x": Tensor()}, step=1)
    assert "no memory" in run.status().error
    monkeypatch.setattr(run._writer._buffers, "copy", lambda _: (_ for _ in ()).throw(MemoryError))
    run.save({"x": 1}, step=2)
    monkeypatch.undo()
    run.save({"x": 1}, step=3)
    run.flush()
    assert (run.status().saved_step, run.status().error) == (3, None)
    assert caplog.text.count("not saved") == 1
    run.close()


def test_close_in_one_thread_leaves_the_saves_of_another_alone(tmp_path, caplog):
    """What is being written is neither swept away nor left without the lock."""
    run, stop, failed = open_run(tmp_path / "run"), threading.Event(), []

    def train():
        step = 0
        while not stop.is_set():
            step += 1
            try:
                run.save({"x": np.full(20_000, step)}, step=step)
            except Exception as error:  # noqa: BLE001 - named below
                failed.append(repr(error))

    thread = threading.Thread(target=train)
    thread.start()
    for _ in range(40):
        run.close()
    stop.set()
    thread.join()
    run.close()
    assert (failed, caplog.text, run.status().error) == ([], "", None)
    found = run.restore()
    assert (found.state["x"] == found.step).all()


def test_one_folder_opened_twice_is_one_writer(tmp_path):
    """Two runs of one process take the lock together, and the close of one does not take it from the other."""
    runs = [open_run(tmp_path / "run") for _ in range(2)]
    failed = []

    def save(run, base):
        try:
            for step in range(base, base + 30):
                run.save({"x": step}, step=step)
        except Exception as error:  # noqa: BLE001 - named below
            failed.append(repr(error))

    threads = [threading.Thread(target=save, args=pair) for pair in zip(runs, (0, 100), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        run.close()
    assert failed == []
    assert runs[0].restore().step == 129


def test_the_lock_tells_no_arguments(start, tmp_path):
    """A token on the command line is neither in the lock, nor in the mirror's, nor in others' errors."""
    script = """
import sys, time, colabkit as ck
run = ck.open_run(sys.argv[1], mirror=sys.argv[1] + "-mirror")
run.save({"x": 1}, step=1)
run.flush()
print("saved", flush=True)
time.sleep(600)
"""
    process = start(script, tmp_path / "run", "--hf-token", "hf_SECRET")
    process.stdout.readline()
    lock, remote = tmp_path / "run/lock", tmp_path / "run-mirror/lock.json"
    assert lock.stat().st_mode & 0o007 == 0
    assert json.loads(lock.read_text()).keys() == {"pid", "host", "command"}
    with pytest.raises(RunBusyError) as caught:
        open_run(tmp_path / "run").save({"x": 2}, step=2)
    for text in (lock.read_text(), remote.read_text(), str(caught.value)):
        assert "SECRET" not in text
        assert str(process.pid) in text


def test_the_lock_of_an_earlier_version_tells_no_arguments_either(tmp_path):
    """It wrote the whole command line into the mirror's lock; what is shown of it is the program."""
    from colabkit._internal.disk.holder import described

    who, program = described({"pid": 7, "host": "a\x1b[31mb", "command": "/srv/train.py --hf-token hf_SECRET"})
    assert (who, program) == ("process 7 on a?[31mb", "train.py")


def test_a_pipe_is_no_checkpoint(tmp_path):
    """Nothing that is called like a checkpoint or a note is waited for; it is passed over, and named."""
    run = open_run(tmp_path / "run", mirror=tmp_path / "mirror")
    run.save({"x": 1}, step=1)
    run.close()
    os.mkfifo(run.dir / "checkpoints/step-000000009-0123456789ab.safetensors")
    for name in ("plot.png", ".colabkit-carried", ".colabkit-session"):
        (run.dir / name).unlink(missing_ok=True)
        os.mkfifo(run.dir / name)
    again = open_run(run.dir, mirror=tmp_path / "mirror")
    assert again.restore().step == 1
    again.save({"x": 2}, step=2)
    again.flush(60)
    again.close()


def test_status_survives_a_lack_of_descriptors(tmp_path, monkeypatch):
    """It says so in `error`; checkpoints() raises one of our errors."""
    run = open_run(tmp_path / "run")
    run.save({"x": 1}, step=1)
    run.flush()

    def iterdir(_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("pathlib.Path.iterdir", iterdir)
    assert "Too many open files" in run.status().error
    with pytest.raises(StorageError):
        run.checkpoints()
    monkeypatch.undo()
    run.close()


def test_a_mount_that_may_send_later_is_never_called_confirmed(tmp_path, monkeypatch):
    """Rclone and its like report a file as written that is still in their cache."""
    from colabkit.runtime import mounts

    plain = mounts.table()
    fuse = mounts.Mount(folder=str(tmp_path / "cloud"), kind="fuse.rclone", options=("rw",))
    (tmp_path / "cloud").mkdir()
    monkeypatch.setattr(mounts, "table", lambda: [*plain, fuse])
    run = open_run(tmp_path / "run", mirror=tmp_path / "cloud/run")
    run.save({"x": 1}, step=1)
    run.flush()
    assert (run.status().mirrored_step, run.status().confirmed_step) == (1, None)
    run.close()
