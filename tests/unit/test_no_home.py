"""A user whom the machine does not know, or whose home cannot be written: a container that runs as another user."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import colabkit as ck
from colabkit import config
from colabkit.errors import ColabKitError
from colabkit.port import port
from colabkit.testing.http import FaultServer

UNKNOWN = """
import os, pwd
os.environ.pop("HOME", None)
def unknown(number):
    raise KeyError(number)
pwd.getpwuid = unknown
"""
"""As `docker run --user 12345` has it, and no entry in /etc/passwd."""

CALLS = """
import sys
import colabkit as ck
from colabkit.errors import SecretNotFoundError
run = ck.open_run("runs/a")
run.save({"x": 1.0}, step=1)
run.close()
assert run.restore().state == {"x": 1.0}
first, second = ck.fetch(sys.argv[1]), ck.fetch(sys.argv[1])
assert first == second and first.read_bytes() == b"7,0"
assert ck.fetch(sys.argv[1], "out/a.csv").read_bytes() == b"7,0"
ck.detect(), ck.doctor(), ck.lock("requirements.lock"), ck.install("packaging")
try:
    ck.secret("NOT_THERE")
except SecretNotFoundError:
    print("done")
"""


@pytest.mark.parametrize("unknown", [False, True], ids=["a home that is no folder", "no home"])
def test_everything_works_without_a_home_folder(tmp_path, unknown):
    """What would lie in the home folder lies in a temporary one of this user's own, and nothing is refused."""
    env = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "COLABKIT_CACHE")}
    env |= {"HOME": "/dev/null", "TMPDIR": str(tmp_path / "tmp")}
    if unknown:
        env["COLABKIT_CACHE"] = str(tmp_path / "cache")  # root may write to /, which stands for the home then
    (tmp_path / "tmp").mkdir()
    with FaultServer() as server:
        server.put("a.csv", b"7,0")
        words = [sys.executable, "-c", (UNKNOWN if unknown else "") + CALLS, server.url("a.csv")]
        done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("done\n")
        assert len(server.seen) == 1  # then it is in the cache
    folders = [path for path in (tmp_path / "tmp").iterdir() if path.name.startswith("colabkit-")]
    assert [folder.stat().st_mode & 0o077 for folder in folders] == ([] if unknown else [0])


def test_a_temporary_cache_of_somebody_else_is_not_used(tmp_path, monkeypatch):
    """Its name can be guessed: what others may write is no cache of ours."""
    monkeypatch.delenv("COLABKIT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"colabkit-{os.getuid()}"
    assert config.cache_dir() == folder
    folder.chmod(0o777)
    assert config.cache_dir().as_posix() == "/dev/null/.cache/colabkit"
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert config.cache_dir().as_posix() == "/dev/null/.cache/colabkit"


@pytest.mark.parametrize(
    "call",
    [
        ck.open_run,
        ck.tensorboard,
        ck.plot,
        ck.download,
        ck.load_model,
        ck.setup,
        port,
        lambda path: ck.push(path, "there"),
        lambda path: ck.fetch("http://127.0.0.1:1/a.csv", path),
    ],
)
def test_the_home_of_nobody_is_told(call):
    """A typed error of ours, wherever a path may be written."""
    with pytest.raises(ColabKitError) as caught:
        call("~nobody-here/a.ipynb")
    assert caught.value.do
