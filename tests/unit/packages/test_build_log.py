"""A build that takes long shows that it works, and one that fails tells its last lines and where the rest is."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.package_index import write_source

BACKEND = """
import sys, time
def build_wheel(folder, config_settings=None, metadata_directory=None):
    for number in range(40):
        print("compiling", number, flush=True)
    time.sleep(3.5)
    print("x.c:3: fatal error: cuda.h: No such file", file=sys.stderr, flush=True)
    sys.exit(1)
"""


def test_a_build_that_fails_tells_its_last_lines_and_its_log(either, tmp_path):
    """After some seconds a line counts on and names the log, which holds all that the build printed."""
    folder, _archive = write_source(tmp_path, "evil", "1.0", tmp_path / "mark")
    (folder / "backend.py").write_text(BACKEND)
    either.env["COLABKIT_CACHE"] = str(tmp_path / "cache")
    said = either.install(str(folder))
    assert said["error"] == "NoWheelError"
    assert "cannot be built" in said["what"]
    assert "the build ended with: " in said["why"]
    assert "compiling 39 | x.c:3: fatal error: cuda.h: No such file; the whole log: " in said["why"]
    assert "compiling 3 " not in said["why"]
    log = Path(re.search(r"the whole log: (\S+\.log)", said["why"])[1])
    assert log.is_relative_to(tmp_path / "cache")
    assert all(f"compiling {number}\n" in log.read_text() for number in range(40))


def test_what_takes_seconds_is_shown_while_it_runs(monkeypatch, tmp_path):
    """The bar begins after three seconds, and counts them; what is printed stands in the log with no password."""
    import sys

    from colabkit.packages.installers import running

    shown = []

    class Bar:
        def __init__(self, label, unit):
            shown.append((label, unit))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            shown.append("closed")

        def update(self, done, total=None):
            shown.append(done)

    monkeypatch.setattr(running, "progress", Bar)
    monkeypatch.setattr(running, "_SILENT", 0.1)
    code = "import time; print('from https://me:hush@x.org/simple', flush=True); time.sleep(0.5); print('end')"
    log = tmp_path / "build.log"
    command = [sys.executable, "-c", code]
    done = running.run(command, label="building", timeout=60, env={}, cwd=None, log=log)
    assert (done.code, done.out) == (0, "from https://me:hush@x.org/simple\nend\n")
    assert shown[0] == ("building", "s")
    assert shown[-1] == "closed"
    assert log.read_text() == "from https://***@x.org/simple\nend\n"
    done = running.run([sys.executable, "-c", "import time; time.sleep(60)"], label="x", timeout=0.3, env={}, cwd=None)
    assert done.code is None
    assert "ran longer than" in done.err
