"""A trained classifier with all it takes to use it on raw images: preprocessing, labels, and a plot."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from colabkit._internal.disk.files import write_text
from colabkit._internal.display.show import Shown, number
from colabkit.errors import DataError
from colabkit.models.base import Prediction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from colabkit._internal.display.show import Facts
    from colabkit._types import StrPath

    Array = np.ndarray[Any, Any]

Raw: TypeAlias = "StrPath | Sequence[StrPath] | Array"
"""Raw images: picture files, a CSV of pixels, or an array."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Classifier(Shown):
    """A model that classifies raw images.

    Attributes:
        name: The model's name.
        model: The `keras.Model`.
        shape: Of one sample, as the model takes it.
        divide_by: What raw values are divided by.
        labels: The name of each class.
        metrics: What it reached on the test data.
        versions: What it was saved with; empty before it is.
    """

    name: str
    model: Any
    shape: tuple[int, ...]
    divide_by: float
    labels: tuple[str, ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def _facts(self) -> Facts:
        labels = ", ".join(self.labels[:20]) + (" …" if len(self.labels) > 20 else "")
        rows = [("labels", labels), ("image", f"{self.shape}, divided by {self.divide_by:g}")]
        rows += [(name, number(value)) for name, value in sorted(self.metrics.items())]
        return f"Classifier {self.name}", [*rows, *self.versions.items()]

    def __post_init__(self) -> None:
        classes = self.model.output_shape[-1]
        if len(self.labels) != classes:
            raise DataError(
                f"{self.name} distinguishes {classes} classes, and {len(self.labels)} labels were given",
                hint=f"name all {classes} classes, as in Classifier(labels=(...))",
            )

    def prepare(self, raw: Raw) -> Array:
        """Turn raw images into what the model takes.

        Args:
            raw: A picture file or several, a CSV in the form of the competition's test.csv, or an array: one image or
                many, flat or with height and width, with values as a picture has them.

        Returns:
            float32, one sample of `shape` an image.

        Raises:
            DataError: It cannot be read as images of this shape.
        """
        import numpy as np

        array = self._read(raw)
        if array.dtype.kind not in "uif" or not np.isfinite(array).all():
            raise DataError("the images hold values that are not numbers", hint="pass the pixels as numbers")
        if array.dtype.kind == "f" and self.divide_by > 1 and array.size and 0 < array.max() <= 1 and array.min() >= 0:
            raise DataError(
                "the images hold values from 0 to 1",
                why=f"{self.name} takes them as a picture has them, 0 to {self.divide_by:g}, and divides them itself",
                hint=f"pass images * {self.divide_by:g}; result.model.predict(images) takes them as they are",
            )
        size = math.prod(self.shape)
        if not array.size or array.size % size or (array.ndim > 1 and not self._fits(array.shape)):
            raise DataError(
                f"an array of shape {array.shape} is not an image for {self.name}",
                why=f"an image has the shape {self.shape}",
                hint="pass one such image, or several one after the other",
            )
        prepared: Array = array.reshape(-1, *self.shape).astype("float32") / np.float32(self.divide_by)
        return prepared

    def probabilities(self, raw: Raw) -> Array:
        """Give the probability of each class, float32, shape (images, classes)."""
        return self._of(self.prepare(raw))

    def predict(self, raw: Raw, *, plot: StrPath | None = None) -> list[Prediction]:
        """Say what raw images show.

        Args:
            raw: As for `prepare`.
            plot: Where to draw the first image beside its probabilities, as a PNG; not drawn when None.

        Returns:
            One prediction an image.

        Raises:
            DataError: It cannot be read as images of this shape.

        Example:
            ```python
            result = ck.train("digits-cnn", data="train.csv")
            said = result.classifier.predict("seven.png", plot="seven-said.png")
            print(said[0].label, said[0].probability)
            ```
        """
        prepared = self.prepare(raw)
        predictions = []
        for row in self._of(prepared).tolist():
            best = max(range(len(row)), key=row.__getitem__)
            of_each = dict(zip(self.labels, row, strict=True))
            predictions.append(Prediction(label=self.labels[best], probability=row[best], probabilities=of_each))
        if plot is not None:
            from colabkit.models.results.plots import save_prediction_plot

            save_prediction_plot(prepared[0].squeeze(), predictions[0], plot)
        return predictions

    def write_submission(self, test_csv: StrPath, path: StrPath) -> Path:
        """Classify the competition's test.csv and write its submission.csv, with the columns ImageId and Label.

        Args:
            test_csv: The file with the columns pixel0 to pixel783.
            path: Where the submission goes; it appears whole.

        Returns:
            The written file.

        Raises:
            DataError: The file is not of this form; the message names row and column.
        """
        best = self.probabilities(test_csv).argmax(axis=-1)
        lines = [f"{number},{self.labels[index]}\n" for number, index in enumerate(best.tolist(), start=1)]
        write_text(path, "ImageId,Label\n" + "".join(lines))
        return Path(path)

    def probability_model(self) -> Any:
        """Return a Keras model that gives probabilities: this one, with a Softmax on top where it gives logits."""
        import keras

        if not gives_logits(self.model):
            return self.model
        return keras.Sequential([keras.layers.Input(self.shape), self.model, keras.layers.Softmax()])

    def _of(self, prepared: Array) -> Array:
        import numpy as np

        out: Array = np.asarray(self.model.predict(prepared, verbose=0), np.float32)
        if gives_logits(self.model):
            out = np.exp(out - out.max(axis=-1, keepdims=True))
            out /= out.sum(axis=-1, keepdims=True)
        return out

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether the last dimensions are those of an image: whole, without its channel, or flat."""
        ends = [self.shape, self.shape[:-1] if self.shape[-1] == 1 else self.shape, (math.prod(self.shape),)]
        return any(shape[-len(end) :] == end for end in ends)

    def _read(self, raw: Any) -> Array:
        import numpy as np

        from colabkit.models.datasets import read_test_csv
        from colabkit.models.readers.images import read_image
        from colabkit.models.readers.pictures import read_picture

        if isinstance(raw, (str, os.PathLike)):
            if Path(raw).suffix.lower() == ".csv":
                return read_test_csv(Path(raw))
            raw = [raw]
        if isinstance(raw, (list, tuple)) and raw and all(isinstance(one, (str, os.PathLike)) for one in raw):
            height, width = (*self.shape, 1, 1)[:2]
            if self.shape[2:] == (3,):
                return np.stack([read_picture(Path(one), (height, width)) for one in raw])
            return np.stack([read_image(Path(one), (height, width)) for one in raw])
        try:
            return np.asarray(raw)
        except ValueError as error:
            raise DataError("the images are not an array", why=str(error), hint="pass images of one shape") from error


def gives_logits(model: Any) -> bool:
    """Say whether a model ends without a softmax."""
    last = model.layers[-1]
    name = type(last).__name__
    return name != "Softmax" and getattr(getattr(last, "activation", None), "__name__", "") not in (
        "softmax",
        "sigmoid",
    )
