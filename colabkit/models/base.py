"""What a reference model is: what its file offers, the samples that it trains on, what it says of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from colabkit._internal.display.show import Shown
from colabkit._types import StrPath

if TYPE_CHECKING:
    import numpy as np

    from colabkit._internal.display.show import Facts

    Array = np.ndarray[Any, Any]

Data: TypeAlias = StrPath | tuple[Any, ...] | list[Any] | Mapping[str, Any]
"""Where data comes from: a path, or arrays; `colabkit.models.datasets.read_digits` lists the forms."""

Build: TypeAlias = Callable[[], Any]
"""A function of the user's that builds and compiles a model."""


@dataclass(frozen=True, kw_only=True, repr=False)
class ImageData(Shown):
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

    def _facts(self) -> Facts:
        return "ImageData", [
            ("source", self.source),
            ("train", f"{len(self.x_train):,} samples of shape {self.x_train.shape[1:]}, {self.x_train.dtype}"),
            ("test", f"{len(self.x_test):,} samples"),
            ("classes", ", ".join(self.labels[:20]) + (" …" if len(self.labels) > 20 else "")),
        ]


@dataclass(frozen=True, kw_only=True, repr=False)
class Prediction(Shown):
    """What the model says of one image.

    Attributes:
        label: The most probable class.
        probability: How probable it is, 0 to 1.
        probabilities: The same of every class.
    """

    label: str
    probability: float
    probabilities: dict[str, float]

    def _facts(self) -> Facts:
        best = sorted(self.probabilities.items(), key=lambda pair: -pair[1])[:3]
        return "Prediction", [(label, f"{share:.1%}") for label, share in best]


@dataclass(frozen=True, kw_only=True)
class Sprint:
    """The recipe `sprint` of a model.

    Attributes:
        epochs: How often to go through the data.
        batch_size: Samples a step.
        learning_rate: Where it begins; it falls to 0 along a cosine.
        bfloat16_on_cpu: Whether the model is faster in bfloat16 on a CPU that computes it.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    bfloat16_on_cpu: bool = False


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


@runtime_checkable
class HasVariants(Protocol):
    """A reference model with several networks, of which one is chosen when a run begins."""

    variant: str
    weights_from: StrPath | None

    def unfreeze(self, model: Any, learning_rate: float | None = ...) -> bool:
        """Let the whole network train, and compile it anew; says whether there was anything frozen."""

    def choose(self) -> None:
        """Choose one; where `variant` names one already, that."""
