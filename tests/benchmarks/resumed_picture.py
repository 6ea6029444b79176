"""Draw a training that is killed with SIGKILL and run again, over one that was left alone.

    python tests/benchmarks/resumed_picture.py [PICTURE]

It makes docs/images/resumed.gif. Three processes train the tutorial's model on the sample that ships with colabkit;
what is drawn is what they logged, and grows as it did.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

EPOCHS = 3
EVERY = 60  # steps between two saves
KILL_AT = 300  # in the second epoch, well after a save
STEPS = 188  # an epoch: 6,000 images by 32
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "resumed.gif"
STEPS_A_FRAME = 12
FRAMES_A_SECOND = 12


def train(folder: str, log: str) -> None:
    """Train, and log the loss after each step."""
    import keras

    import colabkit as ck
    from colabkit.models import datasets

    data = datasets.sample()
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(128, "relu")]
    model = keras.Sequential([*layers, keras.layers.Dropout(0.2), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    run = ck.open_run(folder, every=f"{EVERY} steps")

    class Log(keras.callbacks.Callback):
        stateless = True

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            print(json.dumps([self.epoch, batch + 1, float(logs["loss"])]), file=file, flush=True)

    with open(log, "a", encoding="utf-8") as file:
        x = data.x_train / 255
        model.fit(x, data.y_train, epochs=EPOCHS, verbose=0, callbacks=[Log(), run.resume()])
    weights = b"".join(weight.tobytes() for weight in model.get_weights())
    print(hashlib.sha256(weights).hexdigest())


def start(folder: Path, log: Path) -> subprocess.Popen[str]:
    """Train in a process of its own."""
    words = [sys.executable, __file__, "train", str(folder), str(log)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def read(log: Path) -> list[tuple[int, float]]:
    """Read a log: the number of each step in the whole training, and the loss after it."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [(epoch * STEPS + step, loss) for epoch, step, loss in lines]


def main(picture: str | Path = PICTURE) -> int:
    """Train three times and draw; returns 1 if the weights differ at the end."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        whole, log = base / "whole.jsonl", base / "killed.jsonl"
        left_alone = start(base / "whole", whole).communicate()[0].strip()
        first = start(base / "run", log)
        while not log.exists() or len(log.read_text(encoding="utf-8").splitlines()) < KILL_AT:
            time.sleep(0.002)
        first.kill()
        first.wait()
        before = read(log)
        again = start(base / "run", log).communicate()[0].strip()
        after = read(log)[len(before) :]
        move(Path(picture), read(whole), before, after, end=(left_alone, again))
    print(f"killed after step {before[-1][0]}, went on after step {after[0][0] - 1}")
    print(f"the weights' sha256, left alone: {left_alone}\n                      run again: {again}")
    return int(left_alone != again)


def draw(whole: list, before: list, after: list, *, end: tuple[str, str]) -> Any:
    """Draw the three logs, and say whether the weights are the same at their end."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 3.6), dpi=80, layout="constrained")
    for steps, options in (
        (whole, {"color": "#c9ccd1", "linewidth": 7, "label": "never killed"}),
        (before, {"color": "#1a5fb4", "linewidth": 2, "label": "first process"}),
        (after, {"color": "#d9480f", "linewidth": 2, "label": "the same lines, run again"}),
    ):
        for number, part in enumerate(epochs(steps)):
            axes.plot(*zip(*part, strict=True), solid_capstyle="butt", **(options if number == 0 else without(options)))
    (killed, loss), (resumed, _) = before[-1], after[0]
    axes.plot(killed, loss, "X", color="#1a5fb4", markersize=11, zorder=5)
    axes.annotate("kill -9", (killed, loss), (killed, loss + 0.28), ha="center", arrowprops={"arrowstyle": "-"})
    axes.plot(*after[0], "o", color="#d9480f", markersize=7, zorder=5)
    axes.annotate(
        f"goes on after the step\nsaved last ({resumed - 1})",
        after[0],
        (resumed - 14, after[0][1] + 0.75),
        ha="center",
        arrowprops={"arrowstyle": "-"},
    )
    axes.set(xlabel="step", ylabel="loss of the epoch so far", xlim=(0, whole[-1][0]), ylim=(0, 2))
    words = f"the same weights, sha256 {end[0][:12]}…" if end[0] == end[1] else "OTHER WEIGHTS"
    axes.annotate(words, whole[-1], (whole[-1][0] - 4, whole[-1][1] + 0.28), ha="right", arrowprops={"arrowstyle": "-"})
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def move(picture: Path, whole: list, before: list, after: list, *, end: tuple[str, str]) -> None:
    """Draw them as they grew: the first process until it is killed, then the second one to the end."""
    from matplotlib.animation import PillowWriter

    figure = draw(whole, before, after, end=end)
    axes = figure.axes[0]
    axes.get_legend().remove()
    title = axes.set_title(" ", loc="left", family="monospace", fontsize=13)
    lines = [line for line in axes.lines if line.get_color() != "#c9ccd1"]
    curves = [(line, *line.get_data(), line.get_color() == "#d9480f") for line in lines]
    killed, saved, same = axes.texts
    pause = FRAMES_A_SECOND

    def show(words: str, step: int, *, again: bool) -> None:
        title.set_text(words)
        for line, xs, ys, second in curves:
            upto = step if second == again else (0 if second else before[-1][0])
            shown = [at for at, x in enumerate(xs) if x <= upto]
            line.set_data([xs[at] for at in shown], [ys[at] for at in shown])
        killed.set_visible(again or step >= before[-1][0])
        saved.set_visible(again)
        same.set_visible(again and step >= whole[-1][0])
        writer.grab_frame()

    writer = PillowWriter(fps=FRAMES_A_SECOND)
    with writer.saving(figure, str(picture), 80):
        for step in [*range(0, before[-1][0], STEPS_A_FRAME), *[before[-1][0]] * pause]:
            show("\\$ python train.py" + ("   Killed" if step == before[-1][0] else ""), step, again=False)
        first, last = after[0][0], whole[-1][0]
        for step in [*[first] * pause, *range(first, last, STEPS_A_FRAME), *[last] * pause * 3]:
            show("\\$ python train.py   # the same again", step, again=True)


def without(options: dict) -> dict:
    """Leave out the label: the legend names a line once."""
    return {name: value for name, value in options.items() if name != "label"}


def epochs(steps: list) -> list[list]:
    """Cut a log where an epoch begins, at which the mean starts anew."""
    cuts = [at for at, (one, two) in enumerate(pairwise(steps), 1) if (one[0] - 1) // STEPS != (two[0] - 1) // STEPS]
    return [steps[begin:end] for begin, end in pairwise([0, *cuts, len(steps)])]


if __name__ == "__main__":
    sys.exit(train(*sys.argv[2:]) if sys.argv[1:2] == ["train"] else main(*sys.argv[1:]))
