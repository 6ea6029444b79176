"""Claims about the command line as a whole."""

from __future__ import annotations

import json
import os
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
def test_every_command_has_help_with_an_example(command):
    """`colabkit COMMAND --help` explains itself, and its example is a line that parses."""
    done = colabkit(command, "--help")
    assert done.returncode == 0
    example = done.stdout.rpartition("example: ")[2].strip()
    assert example.startswith(f"colabkit {command}")
    words = [word.strip("\"'") for word in example.split()[1:]]
    assert cli._parser(words).parse_args(words).command == command
    assert "--json" in done.stdout


def test_usage_errors_end_with_2():
    """No command, an unknown one and an unknown option are usage errors."""
    for words in ((), ("no-such-command",), ("detect", "--no-such-option")):
        assert colabkit(*words).returncode == 2


def test_the_version_is_told():
    """`colabkit --version` names the version."""
    assert colabkit("--version").stdout.strip() == f"colabkit {__version__}"


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
