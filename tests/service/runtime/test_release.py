"""Machines given back: on the double of Colab, after the run is confirmed elsewhere; else declined."""

from __future__ import annotations

import http.server
import threading

import pytest

import colabkit as ck
from colabkit.errors import UnsupportedError
from colabkit.runtime.release import release
from colabkit.testing import DriveFolder, FakeColab


@pytest.fixture
def service():
    """Colab's service for runtimes: it notes what it is asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(bool(DriveFolder.missing()), reason=DriveFolder.missing())
def test_colab_gets_its_machine_back_once_the_run_is_elsewhere(tmp_path, service):
    """A run on this machine alone, and one that is still written, are kept; one with a mirror is confirmed first."""
    address, asked = service
    with FakeColab(tmp_path / "colab") as colab:
        colab.run(f"import os, colabkit as ck; os.environ['TBE_RUNTIME_ADDR'] = {address!r}")
        said = colab.run("run = ck.open_run('runs/alone'); run.save({'a': 1}, step=1)")
        assert 'thrown away when the session ends; open_run("drive:colabkit-runs/alone") outlives it' in said
        assert "thrown away" not in colab.run("ck.open_run('runs/alone')"), "once, of a new run"
        said = colab.run(
            "try:\n    run.finish(release=True)\nexcept ck.errors.CheckpointError as error:\n    print(error)"
        )
        assert "would be lost" in said
        assert asked == []
        colab.run("run.close()")
        colab.run(f"run = ck.open_run('runs/two', mirror={str(tmp_path / 'mirror')!r}); run.save({{'a': 1}}, step=1)")
        trying = "try:\n    run.finish(release=True)\nexcept ck.errors.CheckpointError as error:\n    print(error)"
        colab.run("other = ck.open_run(run.dir.parent / 'other'); other.save({'a': 1}, step=1)")
        assert "this process still writes the run other" in colab.run(trying)
        colab.run("other.close()")
        code = (
            "import sys, colabkit; run = colabkit.open_run(sys.argv[1]); run.save({'a': 2}, step=2); print(); input()"
        )
        colab.run(
            f"import subprocess, sys; pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
            f"child = subprocess.Popen([sys.executable, '-c', {code!r}, str(other.dir)], **pipes)\n"
            "_ = child.stdout.readline()"
        )
        assert "the run other is being written by process" in colab.run(trying)
        assert asked == []
        colab.run("_ = child.communicate(b'x')")
        said = colab.run("run.finish(release=True)")
        assert "given back to Colab" in said
        assert asked == ["/unassign"]
        assert any((tmp_path / "mirror").rglob("*"))


def test_elsewhere_it_is_declined_and_the_run_is_closed(tmp_path, capsys):
    """finish() does the rest, and the sentence says what to do by hand."""
    run = ck.open_run(tmp_path / "run")
    run.save({"a": 1}, step=1)
    run.finish(release=True)
    assert run.status().saved_step == 1
    with pytest.raises(UnsupportedError, match="cannot be given back from here"):
        release()
