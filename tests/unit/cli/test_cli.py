"""Claims about the command line as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import subprocess
import sys

import pytest

from colabkit import cli
from colabkit._version import __version__


def colabkit(*words, **env):
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "colabkit", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=120,
    )


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_examples(command):
    """`colabkit COMMAND --help` explains itself as a man page does, and its examples are lines that parse."""
    done = colabkit(command, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout
    assert "\nexit status:\n" in done.stdout
    shown = done.stdout.partition("\nexamples:\n")[2].partition("\n\n")[0].splitlines()
    assert shown
    for example in shown:
        words = shlex.split(example)
        begin = words.index("colabkit") + 1
        end = next((at for at, word in enumerate(words) if word in ("||", ">")), None)
        assert cli.parse(words[begin:end]).command == command


def test_usage_errors_end_with_2():
    """No command, an unknown one and an unknown option are usage errors."""
    for words in ((), ("no-such-command",), ("detect", "--no-such-option")):
        assert colabkit(*words).returncode == 2


def test_the_version_is_told():
    """`colabkit --version` names the version; with `--json`, on either side of a word, the answer is an object."""
    assert colabkit("--version").stdout.strip() == f"colabkit {__version__}"
    told = json.loads(colabkit("--version", "--json").stdout)
    assert (told["name"], told["version"]) == ("colabkit", __version__)
    assert "host" in json.loads(colabkit("--json", "detect").stdout)


def on_a_terminal(*words, **env):
    """Run the command with a terminal as its output; return what the terminal got."""
    ours, its = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", *env)}
    process = subprocess.Popen(
        [sys.executable, "-m", "colabkit", *words], stdout=its, stderr=its, env={**clean, "TERM": "xterm", **env}
    )
    os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(ours, 1 << 16):
            shown += piece
    os.close(ours)
    process.wait(timeout=60)
    return shown.decode()


def test_colour_is_for_terminals_only():
    """Headings and errors have colour on a terminal; never in a pipe, on a dumb one, or where NO_COLOR is set."""
    for words in (("detect", "--help"), ("train", "no-such-model")):
        assert "\x1b[" in on_a_terminal(*words)
        plain = colabkit(*words, TERM="xterm")
        assert "\x1b[" not in plain.stdout + plain.stderr
        assert "\x1b[" not in on_a_terminal(*words, NO_COLOR="1")
        assert "\x1b[" not in on_a_terminal(*words, TERM="dumb")


def test_an_error_has_its_own_exit_code_and_is_json_on_request():
    """An unknown model ends with 5, the message lists the models, and `--json` gives what, why and do."""
    done = colabkit("train", "no-such-model", "--json")
    assert done.returncode == 5
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "UnknownNameError"
    assert "mnist-mlp" in error["do"]
    assert "no-such-model" in done.stderr


def test_detect_prints_one_object():
    """`colabkit detect --json` prints one JSON object and nothing else on stdout."""
    assert json.loads(colabkit("detect", "--json").stdout)["host"] == "local"


@pytest.mark.parametrize("command", ["runs", "port"])
def test_the_help_fits_a_terminal_of_60_columns(monkeypatch, command):
    """Its paragraphs are filled anew, and the lines of its examples stay lines."""
    monkeypatch.setenv("COLUMNS", "60")
    text, _, examples = (
        cli.build_parser([command])._subparsers._group_actions[0].choices[command].format_help().partition("examples:")
    )
    assert max(len(line) for line in text.splitlines()) <= 60
    assert all(f"\n  {line}\n" in examples for line in cli.examples(cli.module_of(command)))


def test_help_imports_no_third_party_package():
    """`colabkit --help` loads the standard library and colabkit only, so that it is instant."""
    code = (
        "import sys; from colabkit.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "roots = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(sorted(root for root in roots if not root.startswith(('_', 'site', 'colabkit'))), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "meant", "code"),
    [
        (["trian", "mnist-mlp"], "train", 2),
        (["runs", "lst"], "list", 2),
        (["drive", "unmout"], "unmount", 2),
        (["runs", "prune", "x", "--kep", "2"], "--keep", 2),
        (["train", "mnist-mlp", "--epoch", "2"], "--epochs", 2),
        (["train", "digit-cnn"], "digits-cnn", 5),
        (["train", "mnist-mlp", "--recipe", "sprnt"], "sprint", 5),
        (["train", "mnist-mlp", "--tracker", "mflow"], "mlflow", 5),
    ],
)
def test_a_mistyped_word_gets_the_one_that_was_meant(capsys, words, meant, code):
    """Commands, their actions and options are usage errors; names that a command reads have their own code."""
    try:
        ended = cli.main(words)
    except SystemExit as end:
        ended = end.code
    assert ended == code
    assert re.search(rf"did you mean '?{meant}'?\?", capsys.readouterr().err, re.IGNORECASE)


@pytest.mark.parametrize("words", [["runs", "--help"], ["completion", "bash"]])
def test_a_pipe_that_is_closed_early_ends_quietly(words):
    """`| head -1` gets its line, and nobody a traceback."""
    line = f"{sys.executable} -m colabkit {shlex.join(words)} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")  # 0 where all of it went into the pipe first


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_output_without_letters_for_a_name_gets_it_written_otherwise(more, tmp_path):
    """A file in Chinese, and a terminal or a file in ASCII: the letters are replaced, and JSON stays JSON."""
    (tmp_path / "笔记.py").write_text("!pip install six  # 你好\n", encoding="utf-8")
    done = colabkit("port", str(tmp_path / "笔记.py"), "--diff", *more, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, "")
    if more:
        assert "# 你好" in json.loads(done.stdout)["diff"]
    else:
        assert r'+ck.install("six")  # \u4f60\u597d' in done.stdout


@pytest.mark.parametrize("words", [["detect"], ["detect", "--json"], ["completion", "bash"]])
@pytest.mark.parametrize(("where", "code"), [(">&-", "0"), ("> /dev/full", "141")])
def test_an_output_that_is_closed_or_full_is_told_in_a_line(words, where, code):
    """`>&-` wants no output; a full disk is told, without a traceback."""
    line = f"{sys.executable} -m colabkit {shlex.join(words)} {where}; echo $? >&2"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    *told, ended = done.stderr.splitlines()
    assert ended == code
    assert len(told) == (code != "0")


@pytest.mark.parametrize(
    "words",
    [
        "push nope.csv ./out",
        "fetch ./nope.csv",
        "run nope.ipynb",
        "setup nope.toml",
        "install nope.lock",
        "runs list nope",
        "runs restore nope",
        "launch --local 1 nope.py",
    ],
)
def test_a_missing_file_has_one_exit_code(words, capsys, tmp_path, monkeypatch):
    """Whichever command looks for it: 22, its name is told, and no run is begun."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(words.split()) == 22
    assert "nope" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
