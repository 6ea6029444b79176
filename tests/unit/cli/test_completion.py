"""Claims about the completion of words, made by the real shells."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest

from colabkit import cli


def script(shell, folder):
    """Write the script of a shell."""
    words = [sys.executable, "-m", "colabkit", "completion", shell]
    path = folder / f"colabkit.{shell}"
    path.write_text(subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout)
    return path


def needs(shell):
    """Skip a test where there is no such shell."""
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is missing: apt-get install {shell}")


@needs("bash")
def test_bash(tmp_path):
    """The commands, a command's options and its choices are offered; a word of the file system is left to the shell."""
    path = script("bash", tmp_path)

    def offered(*words):
        typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
        ask = f'source {path}; {typed}; _colabkit; echo "${{COMPREPLY[*]}}"'
        return subprocess.run(
            ["bash", "-c", ask], capture_output=True, text=True, check=True, timeout=30
        ).stdout.split()

    assert offered("colabkit", "''") == [*cli.COMMANDS, "--help", "--version"]
    assert offered("colabkit", "fe") == ["fetch"]
    assert offered("colabkit", "drive", "un") == ["unmount"]
    assert "--timeout" in offered("colabkit", "drive", "status", "--")
    assert offered("colabkit", "run", "train.i") == []


@needs("fish")
def test_fish(tmp_path):
    """The commands with their words, a command's options and its choices are offered."""
    path = script("fish", tmp_path)

    def offered(line):
        words = ["fish", "--no-config", "-c", f"source {path}; complete -C '{line}'"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
        return dict((shown + "\t").split("\t")[:2] for shown in done.stdout.splitlines())

    assert offered("colabkit ") == cli.COMMANDS
    assert "unmount" in offered("colabkit drive un")
    assert offered("colabkit fetch --che") == {
        "--checksum": "what the file must have: sha256, sha512, sha1, md5 or crc32c"
    }


@needs("zsh")
def test_zsh(tmp_path):
    """In a zsh with a terminal, Tab ends the word of a command, of a choice and of an option."""
    path = script("zsh", tmp_path)
    terminal, its = pty.openpty()
    env = {**os.environ, "TERM": "dumb", "PS1": "", "HOME": str(tmp_path)}
    process = subprocess.Popen(["zsh", "-f", "-i"], stdin=its, stdout=its, stderr=its, env=env, start_new_session=True)
    os.close(its)
    try:
        os.write(terminal, f"autoload -Uz compinit; compinit -u; source {path}; echo rea''dy\n".encode())
        assert "ready" in _until(terminal, "ready")
        for typed, word in (("quicks", "quickstart"), ("drive unm", "unmount"), ("fetch --che", "--checksum")):
            os.write(terminal, f"colabkit {typed}\t".encode())
            assert word in _until(terminal, word)
            os.write(terminal, b"\x15")  # empties the line
    finally:
        os.close(terminal)
        process.kill()
        process.wait()


def _until(terminal, word):
    shown, end = "", time.monotonic() + 20
    while word not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 1 << 16).decode(errors="replace").replace("\a", "")
    return shown
