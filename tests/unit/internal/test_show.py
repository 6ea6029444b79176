"""What a cell's last line shows: a short text and an HTML form, of every object that a public function returns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter

import colabkit as ck
from colabkit._internal.display.curves import curve
from colabkit.drive.health_report import Health
from colabkit.drive.upload_status import Upload
from colabkit.models.base import ImageData, Prediction
from colabkit.models.results.result import Result
from colabkit.packages import InstallReport

PIXELS = np.zeros((60_000, 28, 28), np.uint8)
DATA = ImageData(
    x_train=PIXELS,
    y_train=PIXELS[:, 0, 0],
    x_test=PIXELS[:9],
    y_test=PIXELS[:9, 0, 0],
    labels=("0", "1"),
    source="<script>alert(1)</script>",
)


class Model:
    """What is asked of a model to show how well it does."""

    layers = (type("Softmax", (), {})(),)

    def predict(self, x, verbose):
        """Be sure of the first class."""
        return np.tile([0.75, 0.25], (len(x), 1))


HISTORY = {"loss": [0.5, 0.25], "val_loss": [0.6, 0.3], "accuracy": [0.8, 0.9]}


def _result() -> Result:
    return Result(
        name="digits",
        model=Model(),
        history=HISTORY,
        metrics={"loss": 0.3, "accuracy": 0.91},
        resumed_from={"epoch": 1, "step": 12},
        data=DATA,
        strategy="the CPU",
        recipe="same",
        seconds={"fit": 2.5},
        run_dir=Path("runs/digits"),
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_result, ["accuracy", "0.9100", "epoch 2, step 12", "60,000 to train"]),
        (lambda: DATA, ["60,000 samples of shape (28, 28), uint8"]),
        (ck.detect, ["Python"]),
        (lambda: ck.strategy("cpu"), ["device", "cpu", "why"]),
        (lambda: ck.open_run("runs/one"), ["60 s", "nothing yet"]),
        (lambda: ck.open_run("runs/one").status(), ["nothing yet, 0 checkpoints, 0 B"]),
        (lambda: Prediction(label="7", probability=0.9, probabilities={"7": 0.9, "1": 0.1}), ["7", "90.0%"]),
        (lambda: Health(mountpoint=Path("/content/drive"), state="dead"), ["dead"]),
        (lambda: Upload(path=Path("a"), state="yes", why=""), []),
        (InstallReport, ["everything is already there"]),
        (ck.doctor, []),
    ],
)
def test_the_last_line_of_a_cell_is_short_and_has_an_html_form(make, words, tmp_path, monkeypatch):
    """IPython's own formatter finds both; the text is at most 30 lines, and nothing of the values becomes markup."""
    monkeypatch.chdir(tmp_path)
    data, _ = DisplayFormatter().format(make())
    assert set(data) == {"text/plain", "text/html"}
    assert len(data["text/plain"].splitlines()) <= 30
    assert max(map(len, data["text/plain"].splitlines())) < 400
    assert [word for word in words if word not in data["text/plain"]] == []
    assert "<script>" not in data["text/html"]
    assert "array(" not in repr(make())
    assert "\n" not in repr(make())


def test_a_curve_has_axes_and_a_scale_of_its_own_for_each_metric():
    """Loss and accuracy share no scale, validation stands beside training, and no colour is fixed to a white page."""
    drawn = curve(HISTORY)
    assert drawn.count("<svg") == 2
    assert "loss over 2 epochs: training 0.25, validation 0.3 at the end" in drawn
    assert "#fff" not in drawn
    assert ">0.25</text>" in drawn


def test_a_plot_is_a_picture_without_a_magic(tmp_path):
    """The formatter of a kernel that has run no `%matplotlib` gets a PNG of it."""
    data, _ = DisplayFormatter().format(ck.plot(HISTORY))
    assert data["image/png"].startswith(b"\x89PNG")
