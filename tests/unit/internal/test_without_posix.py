"""Claims about Windows, by a double without fcntl, fork, signals and process groups. No such machine was used.

The double hides POSIX's modules and calls after the standard library is loaded, which keeps its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[3])

DOUBLE = r"""
import asyncio, concurrent.futures, ctypes, errno, fcntl, getpass, glob, http.server, importlib.metadata, json, logging
import multiprocessing, netrc, os, pathlib, platform, random, selectors, shutil, signal, socket, ssl, subprocess, sys
import tarfile, tempfile, threading, time, types, urllib.request, uuid, webbrowser, zipfile
import IPython, google.auth, google.cloud.storage, huggingface_hub, ipywidgets, nbclient, nbformat, numpy, packaging
import packaging.requirements, requests, tqdm

def locking(descriptor, mode, count):
    "As _locking of the C library: one byte from the position on, and no position beyond 32 bits."
    at = os.lseek(descriptor, 0, os.SEEK_CUR)
    if at >= 1 << 31:
        raise OSError(errno.EINVAL, "Invalid argument")
    held = fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB
    fcntl.flock(descriptor, held)

sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, LK_UNLCK=0, LK_LOCK=1, locking=locking)
HIDDEN = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
for name in HIDDEN:
    sys.modules.pop(name, None)
for holder, names in {
    os: "fork forkpty register_at_fork O_NONBLOCK O_NOFOLLOW O_DIRECTORY O_CLOEXEC posix_fadvise POSIX_FADV_DONTNEED "
        "fchmod getuid geteuid getgid killpg getpgid setsid sched_getaffinity pread pwrite uname mkfifo "
        "fdatasync posix_fallocate sendfile waitid nice getloadavg chown sysconf pipe2 copy_file_range",
    signal: "SIGKILL SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGSTOP SIGCONT SIGXFSZ SIGPIPE SIGALRM setitimer alarm "
        "SIGRTMIN SIGRTMAX SIGCHLD pthread_kill pthread_sigmask",
    time: "CLOCK_BOOTTIME clock_gettime tzset",
}.items():
    for name in names.split():
        if hasattr(holder, name):
            delattr(holder, name)
sys.platform = "win32"

import importlib, pkgutil
import colabkit as ck

said = {"unimportable": []}
HEAVY = ("fastai", "jax", "keras", "keras_callbacks", "worker_init",
     "lightning", "tensorflow", "testing", "torch", "transformers", "_patches")
for module in pkgutil.walk_packages(ck.__path__, "colabkit."):
    if not set(module.name.split(".")) & {*HEAVY, "__main__"}:
        try:
            importlib.import_module(module.name)
        except BaseException as error:
            said["unimportable"].append(f"{module.name}: {error!r}")

from colabkit.cli import main
from colabkit.headless import run_file
from colabkit.launch import launch
from colabkit.port import port

def told(act):
    try:
        return repr(act())
    except ck.errors.ColabKitError as error:
        return f"{type(error).__name__}: {error.what}" + (f" ({error.__cause__!r})" if error.__cause__ else "")
    except BaseException as error:
        return f"RAW {error!r}"

here = pathlib.Path(sys.argv[1])
(here / "a.csv").write_text("7,0,0")
(here / "s.py").write_text("print(1)")
with zipfile.ZipFile(here / "a.zip", "w") as packed:
    packed.writestr("b/c.csv", "7")
run = ck.open_run(here / "run", mirror=str(here / "mirror"))
run.save({"x": numpy.arange(3)}, step=1)
run.flush()
said["run"] = told(lambda: (run.status().saved_step, run.status().confirmed_step))
run.close()
said["again"] = told(lambda: ck.open_run(here / "run").restore().step)
said["mirror"] = told(lambda: ck.open_run(here / "run2", mirror=str(here / "mirror")).restore().step)
said["fetch"] = told(lambda: ck.fetch(here / "a.csv", here / "b.csv", progress=False).name)
said["unpack"] = told(lambda: ck.fetch(here / "a.zip", f"{here}/out/", progress=False, unpack=True).name)
said["push"] = told(lambda: pathlib.Path(ck.push(here / "a.csv", here / "c.csv")).name)
said["run_file"] = told(lambda: run_file(here / "s.py", quiet=True).code)
said["port"] = told(lambda: port(here / "s.py").output.name)
said["lock"] = told(lambda: ck.lock(here / "r.lock").name)
said["detect"] = told(ck.detect)[:30]
said["launch"] = told(lambda: launch(here / "s.py", local=2))
print(json.dumps(said))
"""


def test_what_needs_no_posix_works_and_the_rest_declines(tmp_path):
    """Every module imports; runs, mirrors, locks, transfers and scripts work; several workers decline in words."""
    env = {**os.environ, "PYTHONPATH": ROOT, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", DOUBLE, str(tmp_path)], env=env, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said.pop("unimportable") == []
    assert said.pop("detect").startswith("<Runtime")
    assert said == {
        "run": "(1, 1)",
        "again": "1",
        "mirror": "1",
        "fetch": "'b.csv'",
        "unpack": "'a'",
        "push": "'c.csv'",
        "run_file": "0",
        "port": "'s.ported.py'",
        "lock": "'r.lock'",
        "launch": "UnsupportedError: workers cannot be supervised on this system",
    }
