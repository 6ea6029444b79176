"""Claims about `colabkit quickstart` as a user types it, in processes of their own.

The bundled sample is used (no network is tried), so that every machine trains on the same digits.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from colabkit import models

pytest.importorskip("tensorflow", reason='TensorFlow is missing; pip install "tensorflow>=2.18"')
h5py = pytest.importorskip("h5py", reason="h5py comes with keras")

COMMAND = [sys.executable, "-m", "colabkit", "quickstart", "--json", "--epochs", "3", "--every", "20 steps"]
STEPS = 188  # 6,000 images in batches of 32


def environment():
    """Keep the network and the choice of backend out of it."""
    return {**os.environ, "COLABKIT_OFFLINE": "1", "KERAS_BACKEND": "tensorflow"}


def quickstart(folder, *more, check=True):
    """Run it to its end; return what it printed as JSON, and its stderr."""
    done = subprocess.run(
        [*COMMAND, "--where", str(folder), *more], env=environment(), capture_output=True, text=True, timeout=300
    )
    if check:
        assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def stop_at(folder, step, number):
    """Start it, send it a signal once a checkpoint of that step is there; return its exit code, stdout and stderr."""
    process = subprocess.Popen(
        [*COMMAND, "--where", str(folder)], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    checkpoints = folder / "checkpoints"
    while process.poll() is None:
        steps = [int(path.name.split("-")[1]) for path in checkpoints.glob("step-*")] if checkpoints.is_dir() else []
        if max(steps, default=0) >= step:
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def weights(folder):
    """Every array of the saved weights, by name."""
    found = {}
    with h5py.File(folder / "model.weights.h5") as file:
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()} if hasattr(item, "dtype") else {}))
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never killed, and what it reported."""
    folder = tmp_path_factory.mktemp("quickstart") / "whole"
    report, err = quickstart(folder)
    return folder, report, err


def test_it_trains_real_digits_and_leaves_everything_it_names(whole):
    """One command ends with a model that recognises digits, its weights, two plots and a report."""
    folder, report, err = whole
    assert report["test_accuracy"] > 0.85
    assert report["epochs"] == 3
    assert report["resumed_from"] is None
    assert set(report["seconds"]) == {"runtime", "data", "build", "fit", "checkpoints", "evaluate", "save"}
    for path in report["files"].values():
        assert Path(path).stat().st_size > 1000, path
    for name in ("training.png", "predictions.png"):
        assert (folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads((folder / "report.json").read_text()) == report
    for word in ("runtime:", "because", "run:", "no network", "data:", "strategy:", "epoch 3 of 3"):
        assert word in err
    assert "cannot be continued" not in err  # none of our own callbacks keeps what a kill would lose
    assert [path for path in folder.iterdir() if ".part-" in path.name] == []


def test_the_saved_model_predicts_in_another_process(whole):
    """The .keras file loads without colabkit and gives the reported accuracy."""
    folder, report, _ = whole
    code = (
        "import sys, keras, numpy as np\n"
        "data = np.load(sys.argv[2]); model = keras.saving.load_model(sys.argv[1])\n"
        "said = model.predict(data['x_test'].astype('float32') / 255, verbose=0).argmax(-1)\n"
        "print((said == data['y_test']).mean())"
    )
    sample = Path(models.__file__).parent / "data" / "mnist-sample.npz"
    command = [sys.executable, "-c", code, str(folder / "model.keras"), str(sample)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert float(done.stdout) == pytest.approx(report["test_accuracy"], abs=1e-6)


def test_killed_it_continues_and_ends_with_the_same_weights(whole, tmp_path):
    """After kill -9 in the second epoch: the same command resumes and ends bit for bit like the run never killed."""
    folder, report, _ = whole
    code, _, _ = stop_at(tmp_path / "run", STEPS + 40, signal.SIGKILL)
    assert code == -signal.SIGKILL
    again, err = quickstart(tmp_path / "run")
    assert again["resumed_from"]["epoch"] >= 1
    assert "continuing" in err
    assert again["history"] == report["history"]
    assert weights(tmp_path / "run") == weights(folder)


def test_ctrl_c_saves_and_says_how_to_resume(whole, tmp_path):
    """Ctrl-C ends with code 130 and one sentence; the same command continues at that very step."""
    folder, _, _ = whole
    code, out, err = stop_at(tmp_path / "run", 60, signal.SIGINT)
    assert code == 130
    assert out == ""
    assert "run it again and it continues there" in err
    assert "Traceback" not in err
    again, _ = quickstart(tmp_path / "run")
    assert again["resumed_from"]["step"] >= 60
    assert weights(tmp_path / "run") == weights(folder)


def test_the_same_again_trains_nothing_and_reports_the_same(whole):
    """A second call on a finished run is safe: nothing is trained, the numbers stay."""
    folder, report, _ = whole
    before = weights(folder)
    again, err = quickstart(folder)
    assert "already trained" in err
    assert (again["test_accuracy"], again["history"]) == (report["test_accuracy"], report["history"])
    assert weights(folder) == before


def test_a_folder_that_cannot_be_written_is_refused_in_words(tmp_path):
    """A file where the run should live gives the error's own exit code, as JSON too, and changes nothing."""
    (tmp_path / "taken").write_text("mine")
    said, err = quickstart(tmp_path / "taken" / "run", check=False)
    assert said["error"]["type"] == "NotWritableError"
    assert said["error"]["exit_code"] == 11
    assert "What to do" in err
    assert (tmp_path / "taken").read_text() == "mine"
