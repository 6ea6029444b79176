"""Claims about a machine that is short of something: every verb says so in words, and blames nothing else."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import colabkit as ck
from colabkit._internal.process.proc import signal_name
from colabkit.cli import main
from colabkit.errors import ColabKitError, StorageError
from colabkit.headless import run_file
from colabkit.launch import launch
from colabkit.launch.report import in_words

ROOT = str(Path(__file__).parents[3])


NO_MORE_FILES = """
import json, os, pathlib, resource, sys, zipfile
import colabkit as ck
from colabkit.errors import ColabKitError
from colabkit.headless import run_file
from colabkit.launch import launch

free = int(sys.argv[1])
pathlib.Path("a.csv").write_text("7,0,0")
pathlib.Path("w.py").write_text("print(1)")
with zipfile.ZipFile("a.zip", "w") as packed:
    packed.writestr("b.csv", "7")
verbs = {
    "fetch": lambda: ck.fetch("a.csv", "here", overwrite=True, progress=False),
    "unpack": lambda: ck.fetch("a.zip", "out/", overwrite=True, progress=False, unpack=True),
    "push": lambda: ck.push("a.csv", "there.csv", overwrite=True),
    "run": lambda: run_file("w.py", quiet=True),
    "lock": lambda: ck.lock("r.lock"),
    "launch": lambda: launch("w.py", local=2, timeout=20),
}
if free:
    del verbs["launch"]  # what asyncio has half opened then is its own matter
for verb in verbs.values():
    verb()  # what is imported is not what is short
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
kept, told = [], {}
try:
    while True:
        kept.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for _ in range(free):
    os.close(kept.pop())
for name, verb in verbs.items():
    try:
        verb()
    except ColabKitError as error:
        told[name] = error.to_json()
print(json.dumps(told))
for each in kept:
    os.close(each)  # a thread of a library that ends now loads a file of glibc's, and would end the process without it
"""


@pytest.mark.parametrize("free", [0, 2])
def test_no_more_files_can_be_opened(tmp_path, free):
    """A verb works or says that files are short; an archive is not called damaged, a disk not unhealthy."""
    command = [sys.executable, "-c", NO_MORE_FILES, str(free)]
    env = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told
    for name, error in told.items():
        assert "Too many open files" in error["why"], (name, error)
        assert "ulimit" in error["do"], (name, error)


def test_neither_threads_nor_processes_can_be_had(tmp_path, monkeypatch):
    """Workers that cannot be started are told with the way out, by the verb and by the command."""
    script = tmp_path / "w.py"
    script.write_text("print(1)\n")

    def refuse(*_, **__):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "_fork_exec", refuse)
    for act in (lambda: launch(script, local=2, timeout=20), lambda: run_file(script, quiet=True)):
        with pytest.raises(StorageError, match="out of memory, threads or processes"):
            act()
    monkeypatch.undo()

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("colabkit.launch.supervisor.fingerprint", no_thread)
    with pytest.raises(StorageError, match="out of memory, threads or processes"):
        launch(script, local=2, timeout=20)


def test_a_folder_for_temporary_files_that_is_not_there(tmp_path, monkeypatch, capsys):
    """A container without /tmp: a plan of an installation says which folder is missing."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    try:
        ck.install("six<1.16", dry_run=True)
    except ColabKitError as error:
        assert str(tmp_path / "gone") in str(error)  # noqa: PT017 - a machine may need no such folder


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="it has no real-time signals")
def test_a_script_ended_by_a_real_time_signal_has_words(tmp_path):
    """A scheduler's own signal has no name in Python; the run says its number and tries again."""
    script = tmp_path / "s.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGRTMIN + 6)\n")
    with pytest.raises(ColabKitError, match=r"ended by SIGRTMIN\+6"):
        run_file(script, retries=1, quiet=True)
    assert signal_name(9) == "SIGKILL"
    assert in_words(1, -signal.SIGRTMIN - 6).endswith("SIGRTMIN+6")


def test_a_full_disk_is_told_by_the_command(tmp_path, monkeypatch, capsys):
    """A command has no traceback for what only the machine lacks, and one for a fault of the user's own code."""
    from colabkit.cli import fetch as command

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")

    monkeypatch.setattr(command, "run", full)
    assert main(["fetch", "a.csv"]) == 12
    assert "no room left to use /data/x" in capsys.readouterr().err
