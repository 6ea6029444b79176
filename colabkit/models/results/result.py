"""What a training gives back."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.show import Shown, number
from colabkit.errors import DataError
from colabkit.models.results import evaluation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from colabkit._internal.display.show import Facts
    from colabkit._types import StrPath
    from colabkit.checkpoint.time_use import TimeUse
    from colabkit.models.base import ImageData
    from colabkit.models.results.classifier import Classifier

    Array = np.ndarray[Any, Any]

_EVALUATED_AT_MOST = 20_000  # test samples; to show more of them takes longer than one looks at a result


def _time_of(seconds: Mapping[str, float], use: TimeUse | None) -> str:
    told = f"{seconds.get('fit', 0.0):.1f} s"
    return told if use is None or not use.seconds else f"{told}; of the steps {use}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Result(Shown):
    """A trained model.

    Attributes:
        name: The model's name.
        model: The trained `keras.Model`.
        history: For each metric its value at the end of each epoch, the epochs of earlier processes included.
        metrics: `loss` and the model's metrics on the test data; empty where there is none.
        resumed_from: The `epoch` (from 0) and the `step` in it where this call continued, or None for a new run.
        data: What it was trained on.
        strategy: Which devices were used, and why, in words.
        recipe: How it was trained.
        seconds: Seconds by phase: `data`, `build`, `fit`, `evaluate`; `checkpoints` is a part of `fit`.
        run_dir: The run's folder.
        stopped: Why it ended before its last epoch, in words; empty where it did not.
        batch_size: Samples a step; None where the data came in batches.
        parts: In how many parts each batch was computed, so that it fits the memory.
        time_use: Where the time of the steps went: waiting for data, computing, saving; None where it is not known.
    """

    name: str
    model: Any
    history: dict[str, list[float]]
    metrics: dict[str, float]
    resumed_from: dict[str, int] | None
    data: ImageData
    strategy: str
    recipe: str
    seconds: dict[str, float]
    run_dir: Path
    stopped: str = ""
    batch_size: int | None = None
    parts: int = 1
    time_use: TimeUse | None = None

    def _facts(self) -> Facts:
        epochs = max(map(len, self.history.values()), default=0)
        resumed = self.resumed_from
        where = None if resumed is None else f"epoch {resumed['epoch'] + 1}, step {resumed['step']}"
        return self.name, [
            *((name, number(value)) for name, value in sorted(self.metrics.items())),
            ("epochs", epochs),
            ("ended early", self.stopped),
            ("resumed from", where),
            ("training", _time_of(self.seconds, self.time_use)),
            ("batch size", f"{self.batch_size}, in {self.parts} parts" if self.parts > 1 else self.batch_size),
            ("devices", self.strategy),
            ("recipe", self.recipe),
            ("data", f"{self.data.source}: {len(self.data.x_train):,} to train, {len(self.data.x_test):,} to test"),
            ("run", self.run_dir),
        ]

    def _picture(self) -> str:
        from colabkit._internal.display.curves import curve

        drawn = curve(self.history)
        if 0 < len(self.data.x_test) <= _EVALUATED_AT_MOST and self._is_classifier:
            drawn += evaluation.to_html(self.confusion, self._names)
        return drawn

    @functools.cached_property
    def probabilities(self) -> Array:
        """What the model says of each test sample: float32, shape (samples, classes)."""
        if not self._is_classifier or not len(self.data.x_test):
            raise DataError(
                f"{self.name} cannot tell classes apart",
                why="there is no test data" if self._is_classifier else "its targets are not class numbers",
                hint="give test data, as data=((x_train, y_train), (x_test, y_test))",
            )
        return self._predict(self.data.x_test)

    @functools.cached_property
    def confusion(self) -> Array:
        """The confusion matrix on the test data: a row is what a sample is, a column what the model says."""
        said = self.probabilities.argmax(axis=-1)
        return evaluation.confusion(self.data.y_test, said, len(self._names))

    @property
    def per_class(self) -> list[evaluation.ClassScore]:
        """Precision, recall and F1 of each class on the test data."""
        return evaluation.scores(self.confusion, self._names)

    def mistakes(self, at_most: int = 9) -> list[evaluation.Mistake]:
        """List the wrong answers on the test data of which the model is the surest, the worst first."""
        return evaluation.mistakes(self.data.y_test, self.probabilities, self._names, at_most)

    def plot_mistakes(self, path: StrPath | None = None, *, at_most: int = 9) -> Any:
        """Draw the worst mistakes with what they are and what the model says.

        Args:
            path: Where the picture goes as a PNG; not written when None.
            at_most: How many.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        from colabkit.models.results.plots import mistakes_plot

        return mistakes_plot(self.data.x_test, lambda: self.mistakes(at_most), path)

    @property
    def _is_classifier(self) -> bool:
        y = self.data.y_test
        return y.ndim == 1 and y.dtype.kind in "ui" and self._classes > 1

    @property
    def _classes(self) -> int:
        return len(self.data.labels) or int(self.model.output_shape[-1])

    @property
    def _names(self) -> tuple[str, ...]:
        return self.data.labels or tuple(str(number) for number in range(self._classes))

    def _predict(self, x: Array) -> Array:
        import numpy as np

        from colabkit.models.results.classifier import gives_logits

        out: Array = np.asarray(self.model.predict(x, verbose=0), np.float32)
        if gives_logits(self.model):
            out = np.exp(out - out.max(axis=-1, keepdims=True))
            out /= out.sum(axis=-1, keepdims=True)
        return out

    @property
    def classifier(self) -> Classifier:
        """The model with what it takes to use it on raw images: preprocessing and labels.

        Raises:
            DataError: The classes have no names, as with data of a user's own function.
        """
        from colabkit.models.results.classifier import Classifier

        return Classifier(
            name=self.name,
            model=self.model,
            shape=tuple(self.data.x_train.shape[1:]),
            divide_by=self.data.divided_by,
            labels=self.data.labels,
            metrics=self.metrics,
        )
