"""Claims about `import colabkit`: light, and the same names for Python and for type checkers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import colabkit


def test_three_lists_of_names_are_one():
    """`__all__`, the lazy table and the block for type checkers agree."""
    static = {}
    tree = ast.parse(Path(colabkit.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    for node in block.body:
        for name in node.names:
            assert name.asname == name.name
            static[name.name] = node.module
    assert static == colabkit._PUBLIC
    assert colabkit.__all__ == sorted(static)
    assert set(static) <= set(dir(colabkit))


def test_an_unknown_name_is_an_attribute_error():
    """A typo reads as it does for any module."""
    with pytest.raises(AttributeError, match="module 'colabkit' has no attribute 'opne_run'"):
        _ = colabkit.opne_run


def test_the_public_names_lead_where_they_say():
    """A lazy name gives the object of its home, and is looked up once."""
    from colabkit.checkpoint import open_run

    assert colabkit.open_run is open_run
    assert "open_run" in vars(colabkit)
    assert colabkit.errors.ColabKitError.exit_code == 3


def test_importing_it_loads_nothing_else():
    """`import colabkit` brings no third-party module, and of its own only the root."""
    script = """
import sys
before = set(sys.modules)
import colabkit
import json
print(json.dumps(sorted(set(sys.modules) - before - {"json", "json.decoder", "json.encoder", "json.scanner"})))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = json.loads(done.stdout)
    foreign = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"colabkit"}
    assert "colabkit" in loaded
    assert not foreign
    assert [name for name in loaded if name.startswith("colabkit.")] == []


BASE_ONLY = """
import importlib.machinery, importlib.metadata, sys
from packaging.requirements import Requirement
from colabkit._version import DISTRIBUTION

requires = [Requirement(text) for text in importlib.metadata.requires(DISTRIBUTION)]
hidden = {one.name.replace("-", "_") for one in requires if one.marker} - {
    one.name.replace("-", "_") for one in requires if not one.marker
}

find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = staticmethod(
    lambda name, *more: None if name.partition(".")[0] in hidden else find(name, *more)
)
import colabkit
from colabkit.errors import MissingDependencyError
"""
"""A process in which only what `pip install` brings without an extra can be imported."""


@pytest.fixture
def base_only(tmp_path):
    """Run a script in such a process; returns it, ended."""

    def run(script):
        words = [sys.executable, "-c", BASE_ONLY + script]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    return run


def test_without_extras_every_name_is_there_or_says_what_to_install(base_only):
    """No raw ModuleNotFoundError in the first cell of somebody who installed the package alone."""
    done = base_only("""
for name in colabkit.__all__:
    try:
        getattr(colabkit, name)
    except MissingDependencyError as error:
        assert "pip install" in error.do, error
        print(name)
for call in (lambda: colabkit.open_run("runs/a"), lambda: colabkit.train("mnist-mlp"), lambda: colabkit.strategy()):
    try:
        call()
    except MissingDependencyError as error:
        assert "tensorflow" in error.do, error
    else:
        raise AssertionError(call)
""")
    assert done.returncode == 0, done.stderr
    assert {"open_run", "train"} <= set(done.stdout.split())
    assert not {"fetch", "push", "install", "detect", "doctor", "drive", "secret"} & set(done.stdout.split())


@pytest.mark.parametrize("words", [["quickstart"], ["train", "mnist-mlp"], ["predict", "a.png", "--model", "b"]])
def test_without_extras_a_command_says_what_to_install(base_only, words):
    """The same in a shell: three lines, no traceback."""
    done = base_only(f"from colabkit.cli import main; sys.exit(main({words!r}))")
    assert "Traceback" not in done.stderr
    assert done.returncode == 4, done.stderr
    assert "pip install" in done.stderr
