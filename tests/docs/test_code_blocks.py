"""What the README and the documentation show works: their code is executed as it stands."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from colabkit.testing import DriveFolder
from tests.docs.pages import PAGES, ROOT, blocks, run_blocks, trains

if TYPE_CHECKING:
    from pathlib import Path

needs_keras = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason='trains with Keras: pip install -e ".[all,test]"'
)

needs_fuse = pytest.mark.skipif(bool(DriveFolder.missing()), reason=f"mounts a Drive: {DriveFolder.missing()}")

# Runs in a process of its own: reads [page, [[line, source, printed], …]] from stdin.
DRIVER = """
import contextlib, io, json, sys
page, blocks = json.load(sys.stdin)
space = {"__name__": "__main__"}
for line, source, printed in blocks:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile("\\n" * line + source, page, "exec"), space)
    if printed is not None and out.getvalue() != printed:
        sys.exit(f"{page}, line {line}: prints {out.getvalue()!r}, and the page says {printed!r}")
"""


def _params() -> list[object]:
    found = []
    for page in PAGES:
        if run_blocks(page) and page.name != "README.zh.md":  # its code is that of README.md: test_tables.py compares
            marks = [pytest.mark.slow, needs_keras] if trains(page) else []
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
        given = json.dumps([str(page.relative_to(ROOT)), python])
        # A page with a server of its own talks to nobody else, and offline it could not even do that.
        own = ("FaultServer", "FakeGCS", "FakeWeb", "FakeKaggle")
        offline = not any(name in source for name in own for _, source, _ in python)
        _run([sys.executable, "-c", DRIVER], tmp_path, given=given, offline=offline)
    for block in found:
        for command in block.commands if block.language == "console" else []:
            _run([sys.executable, "-m", *shlex.split(command, comments=True)], tmp_path)


def _run(words: list[str], folder: Path, *, given: str = "", offline: bool = True) -> None:
    # HOME and the cache are the test's own, see conftest.
    env = {**os.environ, "COLABKIT_OFFLINE": str(int(offline)), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(words, cwd=folder, env=env, input=given, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{shlex.join(words[2:4])}\n{done.stdout}\n{done.stderr}"


def test_the_documentation_is_found():
    """A moved folder must not make these tests pass by running nothing."""
    assert {"README.md", "fetch.md", "index.md", "resume.md"} <= {page.name for page in PAGES}
    assert sum(len(run_blocks(page)) for page in PAGES) > 20


def test_few_blocks_are_left_out_and_each_says_why(record_testsuite_property):
    """A block that is not run has a reason above it, and they stay the exception."""
    left_out = {
        f"{page.name}:{block.line}": block.left_out
        for page in PAGES
        for block in blocks(page)
        if block.can_run and block.left_out is not None
    }
    record_testsuite_property("documentation blocks not run", len(left_out))
    assert all(left_out.values()), left_out
    assert len(left_out) <= sum(len(run_blocks(page)) for page in PAGES) / 4, left_out
