"""Secrets in the environment and the command line, and what a training, its trackers, notebooks and packs write."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.test_canaries import _files, _leaks, web  # noqa: F401 - a fixture

ROOT = str(Path(__file__).parents[2])
CANARY = "CanaryenvQ7x9Zq"
ARGV = "CanaryargvQ7x9Zq"
WAYS = {"env": CANARY, "argv": ARGV, "netrc": "CanarynetrcQ7x9Zq"}

TRAIN = r"""
import contextlib, sys
import numpy as np
import colabkit as ck
from colabkit.cli import main
import keras

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
model.compile("adam", "mse")
x = np.zeros((32, 4), "float32")
run = ck.open_run("runs/fit", mirror="mirror/fit")
logged = ck.track(run, every=1, more=sys.argv[3:])
model.fit(x, x[:, :2], epochs=2, verbose=0, callbacks=[run.resume(), logged])
print(run, repr(model), repr(logged), run.status())
run.close()
result = ck.train("mnist-mlp", data="sample", epochs=1, run="runs/train", batch_size=512)
print(result, repr(result))
ck.save_model(result, "model.zip"), ck.save_model(result, "model.keras")
print(repr(ck.load_model("model.zip")))
for words in (["runs", "pack", "runs/fit"], ["runs", "list", "runs"], ["evaluate", "runs/train", "--data", "sample"]):
    with contextlib.suppress(SystemExit):
        main(words)
main(["runs", "pack", "runs/train", "--json"])
"""

MLFLOW = r"""
import sys
import numpy as np
import keras
import mlflow
import colabkit as ck

run = ck.open_run("run", mirror="mirror")
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
model.compile("adam", "mse")
x = np.zeros((32, 4), "float32")
model.fit(x, x[:, :2], epochs=2, verbose=0, callbacks=[run.resume(), ck.track(run, every=1, more="mlflow")])
run.close()
print(run, run.status(), mlflow.active_run())
"""

SHELL = r"""
import sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
web = sys.argv[1]
shell.run_line_magic("xmode", "Verbose")
for cell in (
    f"import colabkit as ck; ck.fetch('{web}/a.refused', progress=False)",
    f"ck.fetch('hf:me/model/a.bin', progress=False)",
    "ck.fetch('kaggle:me/data', progress=False)",
    "ck.push('no-such-file', 'hf:me/model/x')",
    "ck.secret('NO_SUCH_TOKEN_HERE')",
    "ck.open_run('hf:me/runs/x')",
):
    shell.run_cell(cell)
    shell.run_line_magic("tb", "Verbose")
"""

SIGNATURES = r"""
import importlib, inspect, pkgutil, pydoc, sys
import colabkit as ck

def shown(thing):
    print(pydoc.plain(pydoc.render_doc(thing)), repr(thing))
    try:
        print(inspect.signature(thing))
    except (TypeError, ValueError):
        pass

for name in ck.__all__[1:]:
    shown(getattr(ck, name))
for module in ("checkpoint", "transfer", "packages", "setup_file", "launch", "runtime", "tracking", "models", "port",
               "headless", "diagnosis", "drive", "storage", "remote", "accelerator", "config", "errors"):
    loaded = importlib.import_module(f"colabkit.{module}")
    for name in getattr(loaded, "__all__", [name for name in vars(loaded) if not name.startswith("_")]):
        value = getattr(loaded, name)
        if callable(value):
            shown(value)
seen = set()
for info in pkgutil.walk_packages(ck.__path__, "colabkit."):
    if ".testing" in info.name or ".shims" in info.name or info.name.endswith("__main__"):
        continue
    try:
        loaded = importlib.import_module(info.name)
    except ImportError:
        continue
    for name, value in vars(loaded).items():
        if getattr(value, "__module__", "").startswith("colabkit") and id(value) not in seen:
            seen.add(id(value))
            print(repr(value))
            if callable(value):
                try:
                    print(inspect.signature(value))
                except (TypeError, ValueError):
                    pass
        elif not name.startswith("__") and not inspect.ismodule(value):
            print(name, repr(value)[:5000])
print("SEEN", len(seen))
"""


@pytest.fixture
def env(tmp_path, isolated):
    """Plant the secrets, and give the environment of the programs."""
    netrc = isolated / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login ada password {WAYS['netrc']}\n")
    netrc.chmod(0o600)
    names = ("HF_TOKEN", "KAGGLE_API_TOKEN", "KAGGLE_KEY", "WANDB_API_KEY", "GITHUB_TOKEN", "MY_PASSWORD", "PLAIN_WORD")
    return {
        **os.environ,
        **dict.fromkeys(names, CANARY),
        "PYTHONPATH": ROOT,
        "KERAS_BACKEND": "jax",
        "COLABKIT_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }


def run(code, *words, cwd, env):
    """Run a program to its end; return what it said."""
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=cwd, env=env, capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:].decode(errors="replace")
    return done.stdout + done.stderr


def leaks(data, place):
    """Find the secrets in some bytes."""
    return _leaks(data, place, WAYS)


@pytest.mark.slow
def test_a_training_and_its_trackers_write_no_secret(tmp_path, env, isolated):
    """Checkpoints, metrics, event files, W&B, trackio, models, reports and packs; nothing of it is for all to write."""
    trackers = [name for name in ("wandb", "trackio", "mlflow", "neptune") if importlib.util.find_spec(name)]
    said = run(TRAIN, "--hf-token", ARGV, *trackers, cwd=tmp_path, env=env)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert list(tmp_path.rglob("*.run.zip"))
    assert [path for path in written if path.name.startswith("events.out")]
    assert all(any(name in str(path) for path in written) for name in trackers)
    assert leaks(said, "output") + _files(tmp_path, isolated, {isolated / ".netrc"}, ways=WAYS) == []
    assert [path for path in written if path.stat().st_mode & 0o022] == []


@pytest.mark.slow
def test_mlflow_is_told_no_secret(tmp_path, env, isolated):
    """Not in its tables: no tag, parameter or source is of the environment or the command line; nor in our note."""
    for name in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(name, reason=f"{name} is missing; pip install colabkit[mlflow]")
    store = tmp_path / "mlflow.db"
    ways = {**WAYS, "address": "CanaryaddressQ7x9Zq", "password": "CanarypasswordQ7x9Zq"}
    more = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}?token={ways['address']}",
        "MLFLOW_TRACKING_PASSWORD": ways["password"],
        "MLFLOW_TRACKING_TOKEN": ways["password"],
    }
    said = run(MLFLOW, "--hf-token", ARGV, cwd=tmp_path, env={**env, **more})
    with contextlib.closing(sqlite3.connect(store)) as tables:
        ((name, source, entry),) = tables.execute("select name, source_name, entry_point_name from runs").fetchall()
        tags = tables.execute("select key, value from tags").fetchall()
        params = tables.execute("select key, value from params").fetchall()
        measured = tables.execute("select count(*) from metrics").fetchone()[0]
        dump = "\n".join(tables.iterdump())
    assert measured > 0
    assert name == "run"
    assert not source
    assert not entry
    assert (tags, params) == ([("mlflow.runName", "run")], [])
    note = json.loads((tmp_path / "run/tracking/mlflow.json").read_text())
    assert note["uri"] == f"sqlite:///{store}?…"
    assert list((tmp_path / "mirror").rglob("*mlflow.json*"))
    found = _leaks(dump.encode(), "tables", ways) + _leaks(said, "output", ways)
    assert found + _files(tmp_path, isolated, {isolated / ".netrc"}, ways=ways) == []


@pytest.mark.slow
def test_mlflow_on_a_server_that_refuses_tells_no_secret(tmp_path, env, isolated):
    """Neither the line that says so nor a file has the password of the server's address."""
    pytest.importorskip("mlflow", reason="mlflow is missing; pip install colabkit[mlflow]")
    ways = {**WAYS, "address": "CanaryaddressQ7x9Zq"}
    more = {
        "MLFLOW_TRACKING_URI": f"http://ada:{ways['address']}@127.0.0.1:9",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    said = run(MLFLOW, "--hf-token", ARGV, cwd=tmp_path, env={**env, **more})
    assert b"MLflow does not take the metrics" in said
    found = _leaks(said, "output", ways)
    assert found + _files(tmp_path, isolated, {isolated / ".netrc"}, ways=ways) == []


def test_tracebacks_show_no_secret_in_any_mode(tmp_path, env, web):  # noqa: F811 - the fixture
    """IPython's Verbose shows the values of variables, in the cell's own traceback and by `%tb`."""
    said = run(SHELL, web, cwd=tmp_path, env={**env, "HF_ENDPOINT": f"{web}/refused"})
    assert said.count(b"AccessError") >= 2
    assert leaks(said, "traceback") == []


@pytest.mark.slow
def test_no_signature_help_or_repr_shows_the_environment(tmp_path, env):
    """All public names by help() and all that any module of ours defines: Shift-Tab shows no value."""
    said = run(SIGNATURES, "--hf-token", ARGV, cwd=tmp_path, env=env)
    assert b"SEEN" in said
    assert leaks(said, "help") == []


@pytest.mark.slow
def test_a_notebook_that_is_run_keeps_no_secret(tmp_path, env, web):  # noqa: F811 - the fixture
    """What `colabkit run` writes after an error in a cell, and a parameter that would be saved in clear."""
    cells = [f"import colabkit as ck\nck.fetch('{web}/a.refused', progress=False)"]
    notebook = {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": []}
    for source in cells:
        notebook["cells"].append(
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
        )
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook))
    command = [sys.executable, "-m", "colabkit", "run", "a.ipynb", "--output", "out.ipynb"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, timeout=120)
    assert done.returncode == 92, done.stderr[-2000:]
    written = (tmp_path / "out.ipynb").read_bytes()
    assert b"AccessError" in written
    secret = [*command, "-p", f"hf_token={ARGV}"]
    refused = subprocess.run(secret, cwd=tmp_path, env=env, capture_output=True, timeout=120)
    assert refused.returncode == 6
    assert b"HF_TOKEN" in refused.stderr
    files = _files(tmp_path, {tmp_path / "none"}, ways=WAYS)
    assert leaks(done.stdout + done.stderr + refused.stdout + refused.stderr, "output") + files == []
