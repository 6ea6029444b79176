"""Word of a training's end: sent once, to one place, without a secret, and never at the cost of the training."""

from __future__ import annotations

import http.server
import json
import sys
import threading

import pytest

import colabkit as ck
from colabkit._internal.process.ports import free_ports
from colabkit.checkpoint.management.notice import Notice
from colabkit.errors import AddressError

PLACE = "T0AAA/B0BBB/s3cretpart"


@pytest.fixture
def hook(monkeypatch):
    """A web server that keeps what is posted to it; gives its address and what came."""
    monkeypatch.setenv("COLABKIT_OFFLINE", "0")
    came = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            came.append((self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if "down" in self.path else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/services/{PLACE}", came
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_loop_tells_a_webhook_of_its_end(hook, tmp_path):
    """JSON with `text` for Slack and `content` for Discord, with the run's name and numbers."""
    address, came = hook
    loop = ck.open_run(tmp_path / "digits", notify=address).loop([1, 2], epochs=2)
    for number in loop:
        loop.log(loss=1 / number)
    assert len(came) == 1
    kind, body = came[0]
    assert kind == "application/json"
    told = json.loads(body)
    assert told["text"] == told["content"]
    assert told["text"].startswith("digits is trained, 2 epochs: loss 0.5 (")


def test_an_error_is_told_by_its_kind(tmp_path):
    """What its message says may be a secret; the user's own error goes on."""
    told = []

    def batches():
        yield 1
        raise ValueError("token=abc")

    with pytest.raises(ValueError, match="token=abc"):
        list(ck.open_run(tmp_path / "digits", notify=told.append).loop(batches))
    assert len(told) == 1
    assert "failed at step 1: ValueError" in told[0]
    assert "abc" not in told[0]


@pytest.mark.parametrize("place", ["down", "nobody", "command"])
def test_a_place_that_does_not_answer_ends_no_training(hook, tmp_path, caplog, place):
    """It is told once, by its host or its program, without the address."""
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}/{PLACE}"
    where = {"down": f"{hook[0]}/down", "nobody": nobody, "command": [sys.executable, "-c", "raise SystemExit(3)"]}
    run = ck.open_run(tmp_path / "digits", notify=where[place])
    for epochs in (1, 2):
        assert list(run.loop([1, 2], epochs=epochs)) == [1, 2]
    assert caplog.text.count("no notice was sent to") == 1
    assert "s3cret" not in caplog.text + repr(run) + repr(run.notice)


def test_a_command_gets_the_text_as_its_last_word(tmp_path):
    """It is not a line of a shell."""
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    Notice([sys.executable, "-c", code, str(tmp_path / "said")]).send("ended", "a; b $(c)")
    assert (tmp_path / "said").read_text() == "a; b $(c)"


def test_there_are_never_many():
    """One of a kind a minute, and at most twenty."""
    now, told = [0.0], []
    notice = Notice(told.append, clock=lambda: now[0])
    for _ in range(100):
        notice.send("failed", "again")
        now[0] += 31
    assert len(told) == 20


@pytest.mark.parametrize("where", ["", "http://example.org/x", "ftp://a/b", "ntfy:", "ntfy:a/b", "topic", 3, [], [3]])
def test_what_is_no_place_is_refused(tmp_path, where):
    """Before the folder is made, and without repeating it."""
    with pytest.raises(AddressError, match="notify is") as caught:
        ck.open_run(tmp_path / "run", notify=where)
    assert not (tmp_path / "run").exists()
    assert "example" not in str(caught.value)
