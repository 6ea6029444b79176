"""What the README and the documentation show works: their code is executed as it stands."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from colabkit.testing import DriveFolder
from tests.unit.docs.pages import PAGES, ROOT, blocks, run_blocks, trains

if TYPE_CHECKING:
    from pathlib import Path

needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason='trains with Keras: pip install -e ".[all,test]"'
)

needs_fuse = pytest.mark.skipif(bool(DriveFolder.missing()), reason=f"mounts a Drive: {DriveFolder.missing()}")

# Runs in a process of its own: reads [page, [[line, source, printed], …], kill] from stdin. What Keras would fetch
# is the sample that ships with colabkit; with `kill` the process dies as soon as a checkpoint is there.
DRIVER = """
import contextlib, io, json, os, pathlib, signal, sys, threading, time
page, blocks, kill = json.load(sys.stdin)
if any("keras.datasets.mnist" in source for _, source, _ in blocks):
    import keras
    from colabkit.models.datasets import sample
    digits = sample()
    keras.datasets.mnist.load_data = lambda: ((digits.x_train, digits.y_train), (digits.x_test, digits.y_test))
def watch():
    while not any(pathlib.Path().rglob("*.safetensors")):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)
if kill:
    threading.Thread(target=watch, daemon=True).start()
space = {"__name__": "__main__"}
for line, source, printed in blocks:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile("\\n" * line + source, page, "exec"), space)
    if printed is not None and out.getvalue() != printed:
        sys.exit(f"{page}, line {line}: prints {out.getvalue()!r}, and the page says {printed!r}")
"""


def _frameworks(page: Path) -> list[pytest.MarkDecorator]:
    """A page that trains with torch and what stands on it is slow, and needs them."""
    code = "\n".join(block.text for block in run_blocks(page))
    names = [
        name
        for name in ("jax", "torch", "lightning", "transformers")
        if re.search(rf"^(import|from) {name}\b", code, re.MULTILINE)
    ]
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    reason = f"pip install torch==2.13.0 {' '.join(names)}"
    return [pytest.mark.slow, pytest.mark.skipif(bool(missing), reason=reason)] if names else []


def _params() -> list[object]:
    found = []
    for page in PAGES:
        # The code of a Chinese page is that of the English one: test_tables.py compares.
        if run_blocks(page) and not page.name.endswith(".zh.md"):
            marks = [pytest.mark.slow, needs_keras] if trains(page) else []
            marks += _frameworks(page)
            if "colabkit.testing import" in page.read_text(encoding="utf-8"):
                marks.append(needs_fuse)
            found.append(pytest.param(page, id=page.name, marks=marks))
    return found


@pytest.mark.parametrize("page", _params())
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path):
    """Python blocks work in order in one fresh process and print what is shown; our commands end with 0."""
    found = run_blocks(page)
    python = [(block.line, block.text, block.printed) for block in found if block.language == "python"]
    if python:
        # A page with a server of its own talks to nobody else, and offline it could not even do that.
        own = ("FaultServer", "FakeGCS", "FakeWeb", "FakeKaggle", "FakeScope")
        offline = not any(name in source for name in own for _, source, _ in python)
        _run([sys.executable, "-c", DRIVER], tmp_path, given=_given(page, python), offline=offline)
        if trains(page):  # what it prints says that it begins anew, so only the first process is held to it
            again = [(line, source, None) for line, source, _ in python]
            _run([sys.executable, "-c", DRIVER], tmp_path, given=_given(page, again), offline=offline)
    for block in found:
        for command in block.commands if block.language == "console" else []:
            _run([sys.executable, "-m", *shlex.split(command, comments=True)], tmp_path)


@pytest.mark.slow
@needs_keras
def test_the_first_example_goes_on_in_a_second_process_after_a_kill(tmp_path: Path):
    """README's own promise, with nothing added to its lines: killed with a checkpoint there, run again, it goes on."""
    page = ROOT / "README.md"
    python = [(block.line, block.text, None) for block in run_blocks(page) if block.language == "python"]
    words = [sys.executable, "-c", DRIVER]
    killed = _start(words, tmp_path, given=_given(page, python, kill=True))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = _start(words, tmp_path, given=_given(page, python))
    assert again.returncode == 0, again.stderr
    assert re.search(r"continuing (with|in) epoch|already trained", again.stderr)


def _given(page: Path, blocks: list[tuple[int, str, str | None]], *, kill: bool = False) -> str:
    return json.dumps([str(page.relative_to(ROOT)), blocks, kill])


def _run(words: list[str], folder: Path, *, given: str = "", offline: bool = True) -> None:
    done = _start(words, folder, given=given, offline=offline)
    assert done.returncode == 0, f"{shlex.join(words[2:4])}\n{done.stdout}\n{done.stderr}"


def _start(
    words: list[str], folder: Path, *, given: str = "", offline: bool = True
) -> subprocess.CompletedProcess[str]:
    # HOME and the cache are the test's own, see conftest.
    env = {**os.environ, "COLABKIT_OFFLINE": str(int(offline)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(words, cwd=folder, env=env, input=given, capture_output=True, text=True, timeout=300)


def test_the_documentation_is_found():
    """A moved folder must not make these tests pass by running nothing."""
    assert {"README.md", "fetch.md", "index.md", "resume.md"} <= {page.name for page in PAGES}
    assert sum(len(run_blocks(page)) for page in PAGES) > 20


def test_few_blocks_are_left_out_and_each_says_why(record_testsuite_property):
    """A block that is not run has a reason above it, and they stay the exception."""
    left_out = {
        f"{page.name}:{block.line}": block.left_out
        for page in PAGES
        if not page.name.endswith(".zh.md")  # its code is that of the English page
        for block in blocks(page)
        if block.can_run and block.left_out is not None
    }
    record_testsuite_property("documentation blocks not run", len(left_out))
    assert all(left_out.values()), left_out
    assert len(left_out) <= sum(len(run_blocks(page)) for page in PAGES) / 4, left_out
