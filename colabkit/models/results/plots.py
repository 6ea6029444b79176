"""Pictures of a training: its curves, and what the model says of a few images."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import atomic_path
from colabkit._internal.optional import require
from colabkit.errors import AddressError, DataError, NotFoundError
from colabkit.runtime import my_drive
from colabkit.tracking import folder_of, read_log

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.models.base import Array, ImageData, Prediction
    from colabkit.models.results.evaluation import Mistake

_DPI = 120
_BLUE, _RED, _GREEN = "#1f5fa8", "#b3261e", "#2e7d32"


def plot(history: Any, path: StrPath | None = None) -> Any:
    """Draw the metrics of a training by epoch, for a quick look.

    Args:
        history: What `fit` or `train` gave, the `history` in it, a run, or a run's folder.
        path: Where the picture goes as a PNG; not written when None.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        DataError: There is nothing to draw.

    Example:
        ```python
        ck.plot(model.fit(x, y, epochs=5), "training.png")
        ```
    """
    if path is not None:
        path = _target(path)
    values = _by_epoch(history)
    names = sorted({name.removeprefix("val_") for name in values}, key=lambda name: (name != "loss", name))
    if not names:
        raise DataError(
            "there is nothing to draw",
            why="no epoch has been logged",
            hint="pass what fit() returned, or track: fit(..., callbacks=[run.resume(), ck.track(run)])",
        )
    figure, places = _curves(names)
    for axes, name in zip(places, names, strict=True):
        for key, label, color in ((name, "training", _BLUE), (f"val_{name}", "validation", _RED)):
            if series := values.get(key):
                axes.plot(range(1, len(series) + 1), series, marker="o", color=color, label=label)
        axes.legend(frameon=False)
    if path is not None:
        _save(figure, path)
    return figure


def _by_epoch(history: Any) -> dict[str, list[float]]:
    values = getattr(history, "history", history)
    if isinstance(values, Mapping):
        alone = [name for name, series in values.items() if not isinstance(series, Iterable)]
        if alone:
            raise DataError(
                f"{alone[0]!r} has one value, and a curve needs a list of them, one for each epoch",
                why=f"it is of the type {type(values[alone[0]]).__name__}",
                hint="pass what fit() returned, or {'loss': [0.9, 0.5]}",
            )
        return {str(name): list(series) for name, series in values.items()}
    folder = folder_of(values)
    if not folder.is_dir():
        raise NotFoundError(
            f"there is no run at {folder}",
            why="its folder is not there",
            hint='pass the run, its folder as in "./runs/digits", or what fit() returned',
        )
    by_name: dict[str, list[float]] = {}
    for record in read_log(values):
        if record.epoch is not None:
            for name, value in record.values.items():
                by_name.setdefault(name, []).append(value)
    return by_name


def save_training_plot(history: Mapping[str, list[float]], metrics: Mapping[str, float], path: StrPath) -> None:
    """Draw loss and accuracy by epoch, beside the value on the test data.

    Args:
        history: The values of each metric by epoch.
        metrics: The values on the test data.
        path: Where the PNG goes; it appears whole.
    """
    names = ["loss", "accuracy"]
    figure, places = _curves(names)
    for axes, name in zip(places, names, strict=True):
        values = history.get(name, [])
        axes.plot(range(1, len(values) + 1), values, marker="o", color=_BLUE, label="training")
        if name in metrics:
            test = metrics[name]
            axes.axhline(test, color=_RED, linestyle="--", label=f"test, at the end: {test:.4f}")
        axes.legend(frameon=False)
    _save(figure, path)


def save_predictions_plot(model: Any, images: ImageData, path: StrPath, *, columns: int = 8, rows: int = 2) -> None:
    """Draw test images with what the model predicts and what is true; a few mistakes come last, in red.

    Args:
        model: The trained `keras.Model`.
        images: What it was trained and is tested on.
        path: Where the PNG goes; it appears whole.
        columns: Images side by side.
        rows: Images one below the other.
    """
    predicted = model.predict(images.x_test, verbose=0).argmax(axis=-1)
    right = (predicted == images.y_test).nonzero()[0]
    wrong = (predicted != images.y_test).nonzero()[0][: columns // 2]
    shown = [*right[: columns * rows - len(wrong)], *wrong]
    figure = _figure(1.25 * columns, 1.75 * rows)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, index in zip(figure.axes, shown, strict=False):
        said, true = images.labels[predicted[index]], images.labels[images.y_test[index]]
        axes.imshow(images.x_test[index].squeeze(), cmap="gray_r")
        text = said if said == true else f"{said}, not {true}"
        axes.set_title(text, color=_GREEN if said == true else _RED, fontsize=11)
    figure.suptitle(f"{len(right):,} of {len(predicted):,} test images are right", fontsize=11)
    _save(figure, path)


def mistakes_plot(images: Array, mistakes: Callable[[], list[Mistake]], path: StrPath | None) -> Any:
    """Draw the worst mistakes of a classifier of images; see `Result.plot_mistakes`.

    Args:
        images: The test samples.
        mistakes: Gives the mistakes to draw, the worst first.
        path: Where the PNG goes; not written when None.

    Raises:
        DataError: The samples are no images.
    """
    if images.ndim not in (3, 4):
        raise DataError(
            "the samples are not images, so there is nothing to draw",
            why=f"one has the shape {images.shape[1:]}",
            hint="look at result.mistakes() instead",
        )
    worst = mistakes()
    columns = max(1, min(3, len(worst)))
    rows = max(1, -(-len(worst) // columns))
    figure = _figure(2.0 * columns, 2.2 * rows)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes in places:
        axes.axis("off")
    for axes, one in zip(figure.axes, worst, strict=False):
        image = images[one.index].squeeze()
        axes.imshow(image / image.max() if image.dtype.kind == "f" and image.max() > 1 else image, cmap="gray_r")
        axes.set_title(f"{one.said} ({one.probability:.0%}), not {one.label}", color=_RED, fontsize=10)
    if not worst:
        figure.suptitle("no mistakes on the test data", fontsize=11)
    if path is not None:
        _save(figure, path)
    return figure


def save_prediction_plot(image: Array, said: Prediction, path: StrPath) -> None:
    """Draw one image beside the probability of each class.

    Args:
        image: Shape (height, width).
        said: What the model says of it.
        path: Where the PNG goes; it appears whole.
    """
    figure = _figure(6.4, 2.6)
    shown, bars = figure.subplots(1, 2, width_ratios=(1, 1.6))
    shown.imshow(image, cmap="gray_r")
    shown.axis("off")
    shown.set_title(f"{said.label}: {said.probability:.1%}", fontsize=11)
    names = list(said.probabilities)
    colors = [_BLUE if name == said.label else "#b8c4d0" for name in names]
    bars.bar(names, list(said.probabilities.values()), color=colors)
    bars.set(ylim=(0, 1), ylabel="probability")
    bars.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _curves(names: list[str]) -> tuple[Any, list[Any]]:
    """Make a figure with a place for a curve by epoch for each name, side by side.

    A plot is made at the end of each training and may take a hundredth of a short one: margins are fixed, as measuring
    all texts takes as long as drawing them, and so does each tick.
    """
    ticker = require("matplotlib.ticker", extra="train", why="the plots are drawn with it")
    width, height, left, right, bottom, top = 4.5, 3.6, 0.7, 0.15, 0.55, 0.35  # of each place and its margins, inches
    figure = _figure(width * len(names), height, layout=None)
    places = []
    for number, name in enumerate(names):
        box = (width * number + left, bottom, width - left - right, height - bottom - top)
        scale = (width * len(names), height) * 2
        axes = figure.add_axes(tuple(inches / whole for inches, whole in zip(box, scale, strict=True)))
        axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_locator(ticker.MaxNLocator(nbins=5))
        axes.set_title(name, y=1.02)
        axes.set_xlabel("epoch")
        axes.xaxis.set_label_coords(0.5, -0.12)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        places.append(axes)
    return figure, places


def _figure(width: float, height: float, *, layout: str | None = "constrained") -> Any:
    # The object, not pyplot: nothing of the user's own plotting changes.
    return _shown_figure()(figsize=(width, height), layout=layout)


@functools.cache
def _shown_figure() -> Any:
    """Make a figure that a notebook draws as the last line of a cell, also without `%matplotlib inline`."""
    base = require("matplotlib.figure", extra="train", why="the plots are drawn with it").Figure

    class Figure(base):  # type: ignore[misc,valid-type]
        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png", dpi=_DPI)
            return picture.getvalue()

    return Figure


def _target(path: StrPath) -> Path:
    return my_drive.path_to_write(path, 'draw it here, then ck.push(FILE, "{}")')


def _save(figure: Any, path: StrPath) -> None:
    target = _target(path)
    known = figure.canvas.get_supported_filetypes()
    if target.suffix[1:].lower() not in known:
        raise AddressError(
            f"{target} has no ending that says what kind of picture it is",
            why=f"known are {', '.join(sorted(known))}",
            hint=f'write "{target}/training.png"' if target.is_dir() else f'write "{target}.png"',
        )
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=_DPI)
