"""A notebook that trains, as people write it, ported, killed in the middle, and run again: the weights are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from colabkit.port import port
from tests.support.notebooks import write_notebook
from tests.support.ported_notebooks import ends as printed

CELLS = [
    "!pip install -q packaging",
    """import os, signal
import keras
import numpy as np

x = np.linspace(0, 1, 640, dtype="float32").reshape(64, 10)
y = x.sum(axis=1)""",
    """class Dies(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and die and not os.path.exists("died"):
            open("died", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)""",
    """keras.utils.set_random_seed(7)
model = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
model.compile("adam", "mse")""",
    "history = model.fit(x, y, epochs=4, batch_size=8, verbose=0, callbacks=[Dies()])",
    """import hashlib
weights = b"".join(weight.tobytes() for weight in model.get_weights())
print(len(history.history["loss"]), hashlib.sha256(weights).hexdigest())""",
]


@pytest.mark.slow
def test_a_ported_training_goes_on_after_a_kill(tmp_path):
    """Killed once between two epochs, and never: both end with the same history and the same weights, bit for bit."""
    ends = []
    for die in (True, False):
        folder = tmp_path / str(die)
        folder.mkdir()
        notebook = port(write_notebook(folder / "n.ipynb", CELLS)).output
        done = subprocess.run(
            [sys.executable, "-m", "colabkit", "run", notebook, "-p", f"die={die}", "--json"],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["attempts"] == 1 + die
        cells = json.loads((folder / "n.ported.out.ipynb").read_text())["cells"]
        ends.append("".join(cells[-1]["outputs"][0]["text"]))
    assert ends[0] == ends[1]
    assert ends[0].startswith("4 ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "series"])
def test_ported_trainings_with_a_step_or_a_series_of_their_own_go_on_after_a_kill(tmp_path, name):
    """A GAN with `train_step`, and windows of a series that are shuffled without a seed: killed and never end alike."""
    killed, never = (printed(tmp_path / str(die), name, die=die) for die in (True, False))
    assert killed == never
