"""Claims about tracking: the same records whatever killed the run, and files that TensorBoard itself reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import colabkit as ck
from colabkit.errors import DataError, StorageError
from colabkit.tracking import Record, read_log
from colabkit.tracking.event_file import EventFiles, pack, step_of, unpack
from colabkit.tracking.jsonl import JsonLines
from tests.support.browser import CHROMIUM, FLAGS, is_available

ROOT = Path(__file__).parents[3]

TRAIN = """
import json, os, signal, sys
import numpy as np, keras, colabkit as ck
options = json.loads(sys.argv[2])
keras.utils.set_random_seed(3)
rng = np.random.default_rng(0)
x = rng.normal(size=(1000, 8)).astype("float32"); y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dropout(0.1), keras.layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"],
              steps_per_execution=options.get("at_once", 1))
run = ck.open_run(sys.argv[1], every="7 steps")
done = [0]
class Kill(keras.callbacks.Callback):
    stateless = True  # it counts what this process does
    def on_train_batch_end(self, batch, logs=None):
        done[0] += 1
        if done[0] == options.get("at"):
            run.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == options.get("at_end_of"):
            os.kill(os.getpid(), signal.SIGKILL)
model.fit(x, y, epochs=options.get("epochs", 3), batch_size=25, verbose=0, validation_data=(x[:100], y[:100]),
          callbacks=[ck.track(run, every=5, histograms=1), Kill(), run.resume()])
"""


def train(folder, **options):
    """Train in a process of its own on JAX; return its exit code."""
    env = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", TRAIN, str(folder), json.dumps(options)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def logged(folder):
    """Return the records of a run, without their times."""
    return [(record.step, record.epoch, dict(record.values)) for record in read_log(folder)]


def events(folder):
    """Return the events of each part of a run: their step and their content without the time."""
    found = {}
    for part in sorted((folder / "tensorboard").iterdir()):
        files = list(part.iterdir())
        assert len(files) == 1
        with open(files[0], "rb") as file:
            payloads = [payload for payload in unpack(file) if step_of(payload) is not None]
        found[part.name] = [(step_of(payload), payload[9:]) for payload in payloads]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never killed."""
    pytest.importorskip("jax", reason='JAX is missing; pip install "jax"')
    pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
    folder = tmp_path_factory.mktemp("whole")
    assert train(folder) == 0
    return folder


def test_every_fifth_step_and_each_epoch_is_logged(whole):
    """40 steps an epoch: eight records in each, the last of them before the epoch's own with its validation."""
    steps = [(step, epoch) for step, epoch, _ in logged(whole)]
    expected = []
    for epoch in range(3):
        expected += [(40 * epoch + step, None) for step in range(5, 41, 5)] + [(40 * epoch + 40, epoch + 1)]
    assert steps == expected
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} == logged(whole)[-1][2].keys()
    # scalars of the epoch, and the histograms of kernel and bias in one event behind them
    assert [step for step, _ in events(whole)["train"]] == [0, 0, 1, 1, 2, 2]
    assert [step for step, _ in events(whole)["validation"]] == [0, 1, 2]


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param([{"at": 59}], id="in the middle of an epoch"),
        pytest.param([{"at_end_of": 2}], id="between the log of an epoch and its checkpoint", marks=pytest.mark.slow),
        pytest.param([{"at": 3}, {"at": 90}, {"at": 20}], id="three times", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_it_logs_the_same(whole, tmp_path, kills):
    """After kill -9 nothing is logged twice and nothing is missing: same records, same events, value for value."""
    for kill in kills:
        assert train(tmp_path / "run", **kill) == -signal.SIGKILL
    assert train(tmp_path / "run") == 0
    assert logged(tmp_path / "run") == logged(whole)
    assert events(tmp_path / "run") == events(whole)


@pytest.mark.slow
def test_several_steps_at_once_log_at_the_first_moment_after(whole, tmp_path):
    """With 16 steps an execution a kill changes nothing either, and no step is beyond the epoch's 40."""
    assert train(tmp_path / "whole", at_once=16) == 0
    assert train(tmp_path / "run", at_once=16, at=4) == -signal.SIGKILL
    assert train(tmp_path / "run", at_once=16) == 0
    assert logged(tmp_path / "run") == logged(tmp_path / "whole")
    assert [step for step, epoch, _ in logged(tmp_path / "run") if epoch is None][:3] == [16, 32, 40]


@pytest.mark.slow
def test_more_epochs_go_on_behind_what_is_there(whole, tmp_path):
    """A finished run that gets another epoch has the old records and the new ones."""
    assert train(tmp_path / "run", epochs=1) == 0
    assert train(tmp_path / "run", epochs=3) == 0
    assert logged(tmp_path / "run") == logged(whole)


def test_damaged_logs_are_passed_over(tmp_path):
    """A line that was cut off, foreign ones and NaN do not hide the records around them."""
    log = JsonLines(tmp_path / "tracking")
    log.resume([], epoch=0)
    log.log(Record(step=1, epoch=None, values={"loss": float("nan")}))
    log.log(Record(step=2, epoch=1, values={"loss": 0.5}))
    log.close()
    path = tmp_path / "tracking" / "metrics.jsonl"
    assert "NaN" not in path.read_text()
    path.write_bytes(b"[]\n\xff\n" + path.read_bytes() + b'{"step": 3, "epo')
    first, second = read_log(tmp_path)
    assert (first.step, second.step, second.values) == (1, 2, {"loss": 0.5})
    assert np.isnan(first.values["loss"])


@pytest.mark.parametrize("cut", [1, 5, 17, 40])
def test_an_event_file_that_a_kill_has_cut_off_is_continued(tmp_path, cut):
    """Whatever byte it ends at, the whole events before stay, and those after the step where it goes on are gone."""
    one = EventFiles(tmp_path)
    one.resume([], epoch=0)
    for epoch in (1, 2, 3):
        one.log(Record(step=epoch * 10, epoch=epoch, values={"loss": 1 / epoch}))
    one.close()
    path = next((tmp_path / "train").iterdir())
    path.write_bytes(path.read_bytes()[:-cut])
    other = EventFiles(tmp_path)
    other.resume([Record(step=10, epoch=1, values={})], epoch=1)
    other.log(Record(step=20, epoch=2, values={"loss": 7.0}))
    other.close()
    (path,) = (tmp_path / "train").iterdir()
    with open(path, "rb") as file:
        assert [step_of(payload) for payload in unpack(file)] == [None, 0, 1]


def test_a_record_of_absurd_length_is_not_read(tmp_path):
    """A damaged length does not make the reader ask for that much memory."""
    (tmp_path / "a").write_bytes(pack(b"fine") + pack(b"x" * 20)[:4] + b"\xff" * 40)
    with open(tmp_path / "a", "rb") as file:
        assert list(unpack(file)) == [b"fine"]


def test_a_full_disk_ends_the_log_and_not_the_training(tmp_path, caplog):
    """A folder that cannot be written is told once, and fit goes on to its end."""
    keras = pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
    (tmp_path / "tracking").write_text("taken")
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((8, 2)), np.ones(8), epochs=2, verbose=0, callbacks=[ck.track(tmp_path)])
    assert len(history.history["loss"]) == 2
    assert [record.getMessage()[:19] for record in caplog.records] == ["tracking stops here"]


class Full:
    """A tracker whose disk is full from the first record on."""

    closed = False

    def resume(self, records, *, epoch):
        """Begin."""

    def log(self, record):
        """Fail."""
        raise StorageError("no room left")

    def close(self):
        """Be closed."""
        self.closed = True


def test_a_disk_that_fills_up_is_told_once(tmp_path, caplog):
    """When several logs fail at the same moment one line says so, all are closed, and fit goes on to its end."""
    keras = pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
    from colabkit.tracking.keras import TrackCallback

    trackers = [Full(), Full()]
    callback = TrackCallback(tmp_path, trackers, events=EventFiles(tmp_path), every=0, histograms=0)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((8, 2)), np.ones(8), epochs=3, verbose=0, callbacks=[callback])
    assert len(history.history["loss"]) == 3
    assert [record.getMessage()[:19] for record in caplog.records] == ["tracking stops here"]
    assert all(tracker.closed for tracker in trackers)


def test_numbers_that_make_no_sense_are_refused(tmp_path):
    """A negative interval is a mistake, not a way to say never."""
    with pytest.raises(DataError, match="every=-1"):
        ck.track(tmp_path, every=-1)


def test_plot_draws_a_history_and_a_run(whole, tmp_path):
    """The same picture from what fit returned and from the log; nothing to draw is said."""
    pytest.importorskip("matplotlib", reason='matplotlib is missing; pip install "matplotlib>=3.7"')
    figure = ck.plot(whole, tmp_path / "run.png")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    assert len(figure.axes[0].lines) == 2
    assert (tmp_path / "run.png").read_bytes()[:4] == b"\x89PNG"
    assert len(ck.plot({"loss": [3, 2, 1]}).axes) == 1
    ticks = ck.plot({"loss": [3]}).axes[0].get_xticks()  # of a single epoch, too, which has no half
    assert [float(tick).is_integer() for tick in ticks] == [True] * len(ticks)
    with pytest.raises(DataError, match="nothing to draw"):
        ck.plot(tmp_path)


SERVE = """
import sys, colabkit as ck
print(ck.tensorboard(sys.argv[1]), flush=True)
sys.stdin.read()
"""


def see(url):
    """Look at it as a user does: the runs and the curves are on the page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        try:
            page = chromium.new_page()
            page.goto(f"{url}#timeseries")
            for words in ("epoch_loss", "batch_accuracy", "validation"):
                page.get_by_text(words, exact=True).first.wait_for(timeout=60_000)
            page.locator("scalar-card").first.wait_for(timeout=60_000)
        finally:
            chromium.close()


@pytest.mark.slow
@pytest.mark.skipif(not is_available(), reason=f"needs {CHROMIUM} (apt-get install chromium) and playwright (PyPI)")
def test_tensorboard_serves_the_run(whole):
    """A real TensorBoard reads our files: scalars of each part, and histograms; a real browser shows the curves."""
    pytest.importorskip("tensorboard", reason='TensorBoard is missing; pip install "tensorboard>=2.16"')
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", SERVE, str(whole)]
    with subprocess.Popen(command, env=env, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True) as process:
        url = process.stdout.readline().strip()

        def ask(path):
            with urllib.request.urlopen(f"{url}data/{path}", timeout=20) as reply:  # noqa: S310 - our own server
                return json.load(reply)

        until = time.monotonic() + 60
        while len(ask("runs")) < 3 and time.monotonic() < until:
            time.sleep(0.2)
        assert sorted(ask("runs")) == ["steps", "train", "validation"]
        points = ask("plugin/scalars/scalars?run=train&tag=epoch_loss")
        assert [step for _, step, _ in points] == [0, 1, 2]
        ends = [values["loss"] for _, epoch, values in logged(whole) if epoch is not None]
        assert [value for _, _, value in points] == pytest.approx(ends, rel=1e-6)
        steps = ask("plugin/scalars/scalars?run=steps&tag=batch_accuracy")
        assert [step for _, step, _ in steps] == list(range(5, 121, 5))
        histogram_tags = ask("plugin/histograms/tags")["train"]
        assert len(histogram_tags) == 2
        see(url)
        process.stdin.close()
        assert process.wait(30) == 0
