"""A secret in each way in, all verbs, and a look into every way out: output, errors, logs, files, mirrors, locks."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])
WAYS = ("env", "argv", "netrc", "header", "cookie", "user", "query", "index", "dotenv", "form", "basic")
CANARIES = {way: f"Canary{way}9Zq" for way in WAYS}

VERBS = r"""
import contextlib, json, logging, sys, traceback
import colabkit as ck
from colabkit.cli import main
from colabkit.launch import launch
from colabkit.port import port
from colabkit.tracking import read_log

here, web = sys.argv[1:3]
logging.basicConfig(level=logging.DEBUG)
logging.getLogger("urllib3").setLevel(logging.INFO)  # its own lines name the address, at a level that users do not see

def tried(name, act):
    "Do it, and show what it gives or raises, with all that a traceback can show."
    try:
        print(name, "->", repr(act()), flush=True)
    except ck.errors.ColabKitError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        print(name, "raised", error, json.dumps(error.to_json()), *told.format(), flush=True)
        with contextlib.suppress(Exception):
            print("\n".join(error._render_traceback_()))
    except SystemExit as error:
        print(name, "ended with", error.code, flush=True)

C = json.loads(sys.argv[3])
lines = {
    "plain": f"{web}/plain.bin",
    "netrc": f"{web}/netrc.bin",
    "query": f"{web}/q.bin?token={C['query']}",
    "user": web.replace("://", f"://ada:{C['user']}@") + "/u.bin",
    "header": f"curl -H 'X-Api-Key: {C['header']}' -o h.bin {web}/h.bin",
    "cookie": f"curl -b 'session={C['cookie']}' -o c.bin {web}/c.bin",
    "basic": f"curl -u ada:{C['basic']} -o b.bin {web}/b.bin",
    "form": f"curl -d 'user=ada&password={C['form']}' -o f.bin {web}/f.bin",
    "wget": f"wget --header='Authorization: Bearer {C['header']}' {web}/w.bin",
}
for name, line in lines.items():
    tried("fetch " + name, lambda: ck.fetch(line, progress=False))
    refused = line.replace(".bin", ".refused")
    tried("fetch refused " + name, lambda: ck.fetch(refused, progress=False))
    tried("cli " + name, lambda: main(["fetch", refused, "--json"]))
    tried("odd " + name, lambda: ck.fetch(line + " --no-such-option [", progress=False))
tried("secret", lambda: ck.secret("DOT_TOKEN"))
tried("detect", ck.detect)
tried("doctor", ck.doctor)
for text in ("--index-url https://u:{index}@h/simple x", "x @ https://u:{index}@127.0.0.1:9/x.whl", "git+https://{index}@h/x"):
    tried("install", lambda: ck.install(text.format(**C), dry_run=True))
tried("lock", lambda: ck.lock("requirements.lock"))
tried("setup", lambda: ck.setup("tokens.toml", dry_run=True))
tried("setup", lambda: ck.setup("plain.toml", dry_run=True))
run = ck.open_run("runs/a", mirror="mirror/a")
run.save({"x": 1}, step=1, metrics={"loss": 1.0})
run.flush()
tried("status", run.status)
tried("run", lambda: run)
tried("log", lambda: read_log(run))
tried("runs", lambda: main(["runs", "list", "runs/a", "--json"]))
tried("push", lambda: ck.push("plain.bin", "pushed.bin"))
tried("push refused", lambda: ck.push("plain.bin", f"s3://ada:{C['user']}@b/x?sig={C['query']}"))
tried("push to a web address", lambda: ck.push("plain.bin", f"https://ada:{C['user']}@127.0.0.1:9/x?sig={C['query']}"))
tried("mirror refused", lambda: ck.open_run("runs/q", mirror=f"gss://ada:{C['user']}@h/x?sig={C['query']}"))
tried("keep refused", lambda: ck.fetch("plain.bin", keep=f"s3://ada:{C['user']}@h/x?sig={C['query']}", progress=False))
tried("a variable before", lambda: ck.fetch(f"KAGGLE_KEY={C['form']} kaggle datasets download a/b", progress=False))
tried("no f-string", lambda: ck.fetch(f"wget --password {C['basic']} -O {{x}} {web}/x.bin", progress=False))
tried("a parameter", lambda: main(["run", "worker.py", "-p", f"to ken={C['form']}"]))
tried("a token as a name", lambda: ck.secret("hf_" + C["form"] * 3))
tried("port", lambda: port("note.ipynb"))
tried("launch", lambda: launch("worker.py", "--token", C["argv"], local=2))
print("READY", flush=True)
sys.stdin.readline()
run.close()
"""
OTHER = "import colabkit as ck\nck.open_run('runs/a').save({'x': 2}, step=2)"


class Repeats(http.server.BaseHTTPRequestHandler):
    """Gives a file, or refuses it and repeats all that it was sent."""

    def log_message(self, *_):
        """Be quiet."""

    def do_GET(self):
        """Answer."""
        length = int(self.headers.get("Content-Length") or 0)
        words = f"<title>Forbidden</title>{self.path} {dict(self.headers)} {self.rfile.read(length)}".encode()
        refused = "refused" in self.path
        self.send_response(403 if refused else 200)
        self.send_header("Content-Type", "text/html" if refused else "application/octet-stream")
        self.send_header("Content-Length", str(len(words if refused else b"data")))
        self.end_headers()
        self.wfile.write(words if refused else b"data")

    do_POST = do_GET  # noqa: N815 - the names are those of the base class


@pytest.fixture
def web():
    """Serve on loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repeats) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def planted(home, work):
    """Write the files that hold a secret because the user put it there; they alone may have it afterwards."""
    netrc = home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login ada password {CANARIES['netrc']}\n")
    netrc.chmod(0o600)
    (work / ".env").write_text(f"DOT_TOKEN={CANARIES['dotenv']}\n")
    (work / "tokens.toml").write_text(
        f"[data.x]\nsource = 'https://example.org/a?token={CANARIES['query']}'\nto = 'x'\n"
    )
    (work / "plain.toml").write_text("secrets = ['DOT_TOKEN', 'HF_TOKEN']\n")
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": "!pip install -q numpy",
    }
    (work / "note.ipynb").write_text(json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [cell]}))
    (work / "worker.py").write_text("import sys\nprint(len(sys.argv))\n")
    return {netrc, work / ".env", work / "tokens.toml"}


def test_no_canary_gets_out(web, tmp_path, isolated):
    """Not into output, errors with all locals, logs, locks, mirrors, caches, receipts, reports or another's error."""
    work = tmp_path / "work"
    work.mkdir()
    kept = planted(isolated, work)
    env = {
        **os.environ,
        "PYTHONPATH": ROOT,
        "COLABKIT_CACHE": str(tmp_path / "cache"),
        "PIP_INDEX_URL": f"https://u:{CANARIES['index']}@127.0.0.1:9/simple",
        "COLABKIT_LAUNCH_SECRET": CANARIES["env"] * 3,
        **dict.fromkeys(("HF_TOKEN", "KAGGLE_API_TOKEN", "WANDB_API_KEY", "GITHUB_TOKEN"), CANARIES["env"]),
    }
    command = [sys.executable, "-c", VERBS, str(work), web, json.dumps(CANARIES), "--hf-token", CANARIES["argv"]]
    shown = set()
    with open(tmp_path / "out.txt", "w+b") as out:
        process = subprocess.Popen(command, cwd=work, env=env, stdin=subprocess.PIPE, stdout=out, stderr=out)
        try:
            while process.poll() is None and b"READY" not in (tmp_path / "out.txt").read_bytes():
                shown |= _processes_of(process.pid)
                threading.Event().wait(0.02)
            other = subprocess.run([sys.executable, "-c", OTHER], cwd=work, env=env, capture_output=True, timeout=60)
            busy = other.stdout + other.stderr
            found = _leaks(busy, "another process is told") + _files(tmp_path, isolated, kept)
            process.communicate(b"\n", timeout=60)
        finally:
            process.kill()
            process.wait()
    text = (tmp_path / "out.txt").read_bytes()
    assert b"READY" in text, text[-3000:].decode(errors="replace")
    assert b"RunBusyError" in busy
    assert text.count(b"Forbidden") >= 9, "the server's words are shown"
    assert found + _leaks(text, "output") + _files(tmp_path, isolated, kept) == []
    assert shown, "programs were started"
    # A fork has the words of its parent, which are the test's own, until it has become another program.
    others = [words for words in shown if CANARIES["env"].encode() + b'", "argv' not in words]
    seen = [leak for words in others for leak in _leaks(words, "ps")]
    assert [leak for leak in seen if not leak.startswith("argv ")] == [], "a script's own arguments alone are in ps"


def _processes_of(parent):
    """Return the command lines of what a process has started, as `ps` shows them."""
    found = set()
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            with contextlib.suppress(OSError):
                found.add(Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" "))
            found |= _processes_of(child)
    return {words for words in found if words}


def _files(*folders_and_kept, ways=CANARIES):
    *folders, kept = folders_and_kept
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and path not in kept and path.name != "out.txt":
                found += _leaks(path.read_bytes() + path.name.encode(), str(path), ways)
    return found


def _leaks(data, place, ways=CANARIES):
    lines = data.decode("utf-8", "replace").splitlines()
    return [
        f"{way} in {place}: {line.strip()[:300]}" for way, canary in ways.items() for line in lines if canary in line
    ]
