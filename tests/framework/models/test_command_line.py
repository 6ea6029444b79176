"""Claims about `colabkit train FILE.py:build`, `predict`, `evaluate` and `export`: from code to use."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from colabkit import cli
from colabkit.models import datasets

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason='needs pip install ".[train]"'
)

CODE = """
import keras
import numpy as np

def build():
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model

def points():
    x = np.arange(64, dtype="float32").reshape(-1, 2) / 64
    return x, x.sum(axis=1)
"""


def colabkit(*words, code=0):
    """Run a command in a process of its own; give what `--json` prints, and stderr."""
    env = {**os.environ, "KERAS_BACKEND": "tensorflow", "COLABKIT_OFFLINE": "1"}
    command = [sys.executable, "-m", "colabkit", *map(str, words), "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
@needs_tensorflow
def test_a_function_in_a_file_is_trained_and_continued(tmp_path):
    """`train FILE.py:build --data FILE.py:points` twice, the second time with more epochs; then with an .npz file."""
    file = tmp_path / "train.py"
    file.write_text(CODE)
    words = ["train", f"{file}:build", "--data", f"{file}:points", "--run", tmp_path / "run"]
    first, _ = colabkit(*words, "--epochs", 1)
    second, err = colabkit(*words, "--epochs", 2)
    assert second["resumed_from"] == {"epoch": 1, "step": 0}
    assert second["history"]["loss"][:1] == first["history"]["loss"]
    assert second["model_file"].endswith("model.keras")
    assert "epoch 2 of 2" in err
    np.savez(tmp_path / "data.npz", x=np.zeros((40, 2), "float32"), y=np.zeros(40, "float32"))
    colabkit("train", f"{file}:build", "--data", tmp_path / "data.npz", "--run", tmp_path / "other", "--epochs", 1)


@pytest.mark.slow
@needs_tensorflow
def test_a_trained_run_predicts_is_measured_and_is_exported(tmp_path):
    """The run's folder is the model: pictures and a CSV are classified, accuracy is that of the training."""
    digits = datasets.sample()
    x, y = digits.x_test[:300], digits.y_test[:300]
    np.savez(tmp_path / "some.npz", x_train=digits.x_train[:2000], y_train=digits.y_train[:2000], x_test=x, y_test=y)
    run = tmp_path / "run"
    trained, _ = colabkit("train", "mnist-mlp", "--data", tmp_path / "some.npz", "--run", run, "--epochs", 2)
    measured, _ = colabkit("evaluate", tmp_path / "some.npz", "--model", run)
    assert measured["samples"] == 300
    assert measured["accuracy"] == pytest.approx(trained["metrics"]["accuracy"], abs=1e-6)
    assert np.array(measured["confusion"]).sum() == 300
    image = pytest.importorskip("PIL.Image")
    for number in range(2):
        image.fromarray(x[number]).save(tmp_path / f"{number}.png")
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    said, _ = colabkit("predict", *files, "--model", run, "--top", 3, "--to", tmp_path / "said.csv")
    assert [one["file"] for one in said["predictions"]] == [str(file) for file in files]
    assert [len(one["best"]) for one in said["predictions"]] == [3, 3]
    lines = (tmp_path / "said.csv").read_text().splitlines()
    assert lines[0] == "file,label,probability"
    assert len(lines) == 3
    exported, _ = colabkit("export", run, "--to", tmp_path / "digits.keras", "--probabilities")
    assert exported["file"] == str(tmp_path / "digits.keras")
    folder, _ = colabkit("export", tmp_path / "run" / "model.zip", "--to", tmp_path / "served" / "1")
    assert (tmp_path / "served" / "1" / "saved_model.pb").is_file(), folder


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("train train.py:bild --data data.npz", 5, "did you mean 'build'"),
        ("train broken.py:build --data data.npz", 40, "ZeroDivisionError"),
        ("train nope.py:build --data data.npz", 22, "nope.py"),
        ("predict a.png --model nope.zip", 22, "a.png"),
        ("predict data.npz --model nope.zip", 22, "nope.zip"),
        ("evaluate data.npz --model .", 22, "no model"),
        ("export nope.zip --to out", 22, "nope.zip"),
        ("train mnist-mlp --data nope.csv", 22, "nope.csv"),
        ("train mnist-mlp --data sample --test nope.csv", 22, "nope.csv"),
    ],
)
def test_what_is_not_there_is_told_before_any_work(tmp_path, monkeypatch, capsys, words, code, told):
    """Each ends with the code of its error and begins no run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("def build():\n    pass\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 2)), y=np.zeros(4))
    before = sorted(tmp_path.iterdir())
    assert cli.main(words.split()) == code
    assert told in capsys.readouterr().err
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before
