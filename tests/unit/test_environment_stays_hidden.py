"""Claims about the environment's values: no signature, help page, repr or traceback shows one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import colabkit as ck
from colabkit import config

TOKEN = "hf_leaked0token"  # noqa: S105

# In a process of its own: a default is taken when a module is imported, so the token must be there before.
WALK = """
import importlib, inspect, json, pkgutil, pydoc, sys, types
import colabkit
found = []
for module in pkgutil.walk_packages(colabkit.__path__, "colabkit."):
    if ".doubles" in module.name or module.name.endswith(("__main__", "kaggle_login")):
        continue
    try:
        members = vars(importlib.import_module(module.name))
    except ImportError:
        continue  # an extra that is not installed here
    for name, member in list(members.items()):
        if getattr(member, "__module__", "") != module.name or not isinstance(member, (types.FunctionType, type)):
            continue
        parts = [member, *vars(member).values()] if inspect.isclass(member) else [member]
        for part in parts:
            part = getattr(part, "__func__", part)
            try:
                shown = str(inspect.signature(part)) if callable(part) else repr(part)
            except (TypeError, ValueError):
                continue
            if sys.argv[1] in shown:
                found.append(f"{module.name}.{name}")
public = {name: getattr(colabkit, name) for name in colabkit.__all__}
found += [name for name, member in public.items() if callable(member) and sys.argv[1] in pydoc.render_doc(member)]
print(json.dumps(found))
"""


def test_no_signature_holds_the_environment(tmp_path):
    """The arguments' defaults of every function, class and method of the package hold no value of the environment."""
    env = {**os.environ, "HF_TOKEN": TOKEN, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", WALK, TOKEN], capture_output=True, text=True, check=True, timeout=300, env=env
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_no_source_takes_the_environment_as_a_default():
    """No parameter's default is `os.environ`, whoever may import the module."""
    found = []
    for path in Path(ck.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
                found += [f"{path}:{node.lineno}" for one in defaults if "environ" in ast.unparse(one)]
    assert found == []


FAILING = {
    "install": lambda: ck.install("not a (requirement"),
    "install nothing": ck.install,
    "install unknown": lambda: ck.install("no-such-package-of-nobody==99", index_url="http://127.0.0.1:9/simple"),
    "secret": lambda: ck.secret("NOBODY_HAS_THIS", prompt=False),
    "setup": lambda: ck.setup("/no/such/file.toml"),
    "fetch": lambda: ck.fetch("kaggle:nobody/nothing"),
    "fetch here": lambda: ck.fetch("/no/such/file"),
    "push": lambda: ck.push("/no/such/file", "gs://nobody/x"),
    "mount": ck.drive.mount,
    "uploaded": lambda: ck.drive.uploaded("/no/such/drive"),
    "restart": lambda: ck.detect().restart(),
    "strategy": lambda: ck.strategy("quantum"),
    "train": lambda: ck.train("no-such-model"),
    "open_run": lambda: ck.open_run("gs://"),
}


@pytest.mark.parametrize("name", FAILING)
def test_no_traceback_shows_a_value(name, monkeypatch, tmp_path):
    """A traceback with the local variables of every frame, as `%xmode Verbose` and Sentry make it, shows no value."""
    monkeypatch.setenv("SOME_TOKEN", TOKEN)
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ck.errors.ColabKitError) as caught:
        FAILING[name]()
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert TOKEN not in "".join(shown.format())


def test_the_environment_of_an_argument_is_read_when_it_is_needed(monkeypatch):
    """A variable that is set after the import counts; one mapping is wrapped once."""
    env = config.environment()
    monkeypatch.setenv("SET_LATER", "1")
    assert env["SET_LATER"] == "1"
    assert config.environment(env) is env
    assert dict(config.environment({"A": "1"})) == {"A": "1"}
    assert "1" not in repr(config.environment({"A": TOKEN})).split(maxsplit=1)[1]
    with pytest.raises(KeyError, match="NOT_THERE"):
        env["NOT_THERE"]
