"""What a reference model is, and what a training gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from colabkit._types import StrPath

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from colabkit.models.classifier import Classifier
    from colabkit.models.recipes import Sprint

    Array = np.ndarray[Any, Any]

Data: TypeAlias = StrPath | tuple[Any, ...] | list[Any] | Mapping[str, Any]
"""Where data comes from: a path, or arrays; `colabkit.models.datasets.read_digits` lists the forms."""

Build: TypeAlias = Callable[[], Any]
"""A function of the user's that builds and compiles a model."""


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """Samples ready for a model.

    Attributes:
        x_train: float32, shape (samples, height, width) or (samples, height, width, channels), 0 to 1. What a user's
            own function gives may be of any shape and dtype.
        y_train: Class numbers, shape (samples,).
        x_test: As `x_train`; no samples where there is nothing to test on.
        y_test: As `y_train`.
        labels: The name of each class; empty where they are not known.
        source: Where the samples come from, in words.
        divided_by: What the raw values were divided by to make `x_train`.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    labels: tuple[str, ...]
    source: str
    divided_by: float = 1.0


class ReferenceModel(Protocol):
    """What the file of a reference model offers; the module itself is the object."""

    EPOCHS: int
    BATCH_SIZE: int
    STEPS_AT_ONCE: int | None
    FASTEST_ON_CPU: str | None
    SPRINT: Sprint | None

    def load(self, data: Data | None) -> ImageData:
        """Load the data, the user's own where it is given."""

    def build(self, learning_rate: Any = ...) -> Any:
        """Build and compile the Keras model."""


@dataclass(frozen=True, kw_only=True)
class Result:
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
        seconds: Seconds by phase: `data`, `build`, `fit`, `evaluate`.
        run_dir: The run's folder.
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

    @property
    def classifier(self) -> Classifier:
        """The model with what it takes to use it on raw images: preprocessing and labels.

        Raises:
            DataError: The classes have no names, as with data of a user's own function.
        """
        from colabkit.models.classifier import Classifier

        return Classifier(
            name=self.name,
            model=self.model,
            shape=tuple(self.data.x_train.shape[1:]),
            divide_by=self.data.divided_by,
            labels=self.data.labels,
            metrics=self.metrics,
        )
