"""What a reference model is, and what a training gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from colabkit._types import StrPath

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ImageData:
    """Images ready for a model.

    Attributes:
        x_train: float32, shape (samples, height, width), 0 to 1.
        y_train: Class numbers, shape (samples,).
        x_test: As `x_train`.
        y_test: As `y_train`.
        labels: The name of each class.
        source: Where the images come from, in words.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    labels: tuple[str, ...]
    source: str


class ReferenceModel(Protocol):
    """What the file of a reference model offers; the module itself is the object."""

    EPOCHS: int
    BATCH_SIZE: int

    def load(self, data: StrPath | None) -> ImageData:
        """Load the data, from a file of the user's where one is named."""

    def build(self) -> Any:
        """Build and compile the Keras model."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A trained reference model.

    Attributes:
        name: The model's name.
        model: The trained `keras.Model`.
        history: For each metric its value at the end of each epoch, the epochs of earlier processes included.
        metrics: `loss` and `accuracy` on the test data.
        resumed_from: The `epoch` (from 0) and the `step` in it where this call continued, or None for a new run.
        data: What it was trained on.
        strategy: Which devices were used, and why, in words.
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
    seconds: dict[str, float]
    run_dir: Path
