"""secret() off Colab: the environment, a .env file, Kaggle's service, and the user at a terminal."""

from __future__ import annotations

import http.server
import json
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import colabkit as ck
from colabkit.errors import AddressError, SecretNotFoundError
from colabkit.runtime import env_file

DOUBLES = Path(__file__).parents[2] / "support" / "doubles"

TRY = """
import sys, time, colabkit as ck
for name in sys.argv[1:]:
    start = time.monotonic()
    try:
        said = "got " + ck.secret(name, prompt=False)[::-1]
    except ck.errors.ColabKitError as error:
        said = f"{type(error).__name__}: {error}".replace("\\n", " ")
    print(said, "|", "waited" if time.monotonic() - start > 0.7 else "")
"""


def test_the_order(tmp_path, monkeypatch):
    """The environment comes before the file, an empty variable counts as none, and the file before the default."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("TOKEN=from-file\nOTHER=x\n")
    assert str(ck.secret("TOKEN", env={"TOKEN": "from-env"})) == "from-env"
    assert str(ck.secret("TOKEN", env={"TOKEN": ""})) == "from-file"
    assert ck.secret("NO_SUCH", default=None, env={}) is None
    assert ck.secret("NO_SUCH", "other", env={}) == "other"


def test_a_value_behaves_as_text_and_hides(monkeypatch):
    """It equals its text and goes through format and JSON; its repr, alone or in a list, does not show it."""
    value = ck.secret("TOKEN", env={"TOKEN": "abc"})
    assert value == "abc"
    assert f"Bearer {value}" == "Bearer abc"
    assert json.loads(json.dumps({"key": value})) == {"key": "abc"}
    assert "abc" not in f"{value!r} {[value]} { ({'a': value}) }"


def test_a_failure_lists_every_place(tmp_path, monkeypatch):
    """Without a value the error says what each place answered, and what to do."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SecretNotFoundError, match=r"the environment: has none; the \.env file: has none") as caught:
        ck.secret("TOKEN", prompt=False, env={})
    assert isinstance(caught.value, LookupError)
    assert "set the variable TOKEN" in caught.value.do


@pytest.mark.parametrize("name", ["", "a b", "A=B", "A\0", "A\n"])
def test_names_that_are_none(name):
    """A name that no variable can have is refused before any place is asked."""
    with pytest.raises(AddressError, match="cannot be the name of a secret"):
        ck.secret(name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("TOKEN=plain", "plain"),
        ("  export TOKEN = spaced  ", "spaced"),
        ("TOKEN=a#b", "a#b"),
        ("TOKEN=a # comment", "a"),
        ("TOKEN='single $HOME \\n'", "single $HOME \\n"),
        ('TOKEN="double \\"q\\" \\n end"  # c', 'double "q" \n end'),
        ('TOKEN="-----BEGIN-----\nabc\n-----END-----"', "-----BEGIN-----\nabc\n-----END-----"),
        ("TOKEN=$(touch pwned)", "$(touch pwned)"),
        ("TOKEN=${OTHER}\nOTHER=1", "${OTHER}"),
        ("TOKEN=first\nTOKEN=second", "second"),
        ("TOKEN=a=b==", "a=b=="),
        ("\ufeffTOKEN=bom", "bom"),
        ("TOKEN=windows\r\nOTHER=1\r\n", "windows"),
        ("#TOKEN=off", None),
        ("NOT_TOKEN=1\nTOKENS=2", None),
        ("TOKEN", None),
        ('TOKEN="never closed\nOTHER=1', None),
        ("TOKEN=", ""),
        ("garbage \x00\x01 = = =\nTOKEN=after", "after"),
        ("OTHER='a\nTOKEN=inside\n'", None),
    ],
)
def test_env_files(tmp_path, text, value):
    """Assignments are read as dotenv writes them; nothing is expanded or run, and junk does no harm."""
    path = tmp_path / ".env"
    path.write_bytes(text.encode())
    assert env_file.read(path, "TOKEN") == value
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"TOKEN=secret-value\nX=\xff\xfe", "not UTF-8"), (b"TOKEN=secret-value\n" + b"#" * (1 << 20), "more than 1 MiB")],
)
def test_an_env_file_that_is_none(tmp_path, monkeypatch, data, words):
    """A file that is not text, or far too big, is reported without a byte of it; other places still count."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(ck.errors.SecretError) as caught:
        ck.secret("TOKEN", prompt=False, env={})
    assert words in str(caught.value)
    assert "secret-value" not in str(caught.value)
    assert str(ck.secret("TOKEN", env={"TOKEN": "abc"})) == "abc"


def test_an_env_file_is_quick(tmp_path):
    """A hostile file of the greatest size does not make the parser crawl."""
    path = tmp_path / ".env"
    path.write_text('A="' + "\\\n" * ((env_file.MAX_BYTES - 3) // 2))
    start = time.process_time()
    assert env_file.read(path, "TOKEN") is None
    assert time.process_time() - start < 2


class _Kaggle(http.server.BaseHTTPRequestHandler):
    """Kaggle's service for secrets."""

    def do_POST(self):
        """Answer by the label."""
        label = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Label"]
        self.server.asked.append(label)
        if label == "REFUSED":
            self.send_error(403)
            return
        if label == "STALLS":
            self.server.release.wait(10)
        if label == "GOOD":
            answer = {"wasSuccessful": True, "result": {"secret": "value-1"}}
        elif label == "ODD":
            answer = {"wasSuccessful": True, "odd": "value-2"}
        else:
            why = f"No user secrets exist for kernel id 1 and label {label}."
            answer = {"errors": [why], "error": {"code": 5}, "wasSuccessful": False}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):  # noqa: A002 - the name there
        """Say nothing."""


@pytest.fixture
def kaggle(tmp_path):
    """Run secret() in a process on a Kaggle whose service is a server on this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Kaggle)
    server.asked, server.release = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def ask(*names, **env):
        given = {
            "KAGGLE_KERNEL_RUN_TYPE": "Interactive",
            "KAGGLE_USER_SECRETS_TOKEN": "a-token",
            "KAGGLE_URL_BASE": f"http://127.0.0.1:{server.server_port}",
            "PYTHONPATH": os.pathsep.join((str(DOUBLES / "kaggle"), str(Path(ck.__file__).parents[1]))),
        }
        done = subprocess.run(
            [sys.executable, "-c", TRY, *names],
            env={**os.environ, **given, **env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    yield ask, server
    server.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_kaggle(kaggle):
    """A secret of Kaggle, a missing one, a refusal and an odd answer are told apart."""
    ask, _ = kaggle
    good, missing, refused, odd = ask("GOOD", "NO_SUCH", "REFUSED", "ODD")
    assert good.startswith("got 1-eulav |")
    assert missing.startswith("SecretNotFoundError: no secret named 'NO_SUCH'")
    assert "Kaggle: has none of that label, or it is not attached" in missing
    assert refused.startswith("SecretAccessError: Kaggle refuses to give the secret 'REFUSED'")
    assert odd.startswith("SecretError: Kaggle did not give the secret 'ODD'")
    assert "value-2" not in odd


def test_kaggle_without_internet(kaggle):
    """Without Internet it is waited for once, remembered, and the environment still counts."""
    ask, server = kaggle
    first, second, third = ask("STALLS", "GOOD", "HERE", TEST_KAGGLE_TIMEOUT="0.7", HERE="abc")
    assert first.startswith("SecretTimeoutError: Kaggle's secrets do not answer")
    assert "switch on Internet" in first
    assert first.endswith("| waited")
    assert second.startswith("SecretTimeoutError")
    assert third.startswith("got cba |")
    assert server.asked == ["STALLS"]  # and not for the others: nobody waits again


def test_a_terminal_is_asked(tmp_path):
    """A script at a terminal asks the user, and what is typed is not echoed."""
    code = "import colabkit as ck; print('length', len(ck.secret('TOKEN')))"
    said = _at_a_terminal(code, "typed-value\n", tmp_path)
    assert "TOKEN: " in said
    assert "length 11" in said
    assert "typed-value" not in said


def test_a_subprocess_of_a_notebook_does_not_ask(tmp_path):
    """`!python` has a terminal that nobody sees: it fails at once and says why."""
    code = "import colabkit as ck\ntry: ck.secret('TOKEN')\nexcept ck.errors.SecretError as error: print(error)"
    assert "this is a subprocess of a notebook" in _at_a_terminal(code, "", tmp_path, JPY_PARENT_PID="1")


def _at_a_terminal(code, typed, folder, **env):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(ck.__file__).parents[1]), **env},
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    try:
        while True:
            said += os.read(ours, 4096)
            if typed and said.endswith(b": "):  # echo is off before the prompt is written
                os.write(ours, typed.encode())
                typed = ""
    except OSError:  # the process has closed its end
        pass
    finally:
        os.close(ours)
        assert process.wait(timeout=30) == 0
    return said.decode()
