"""What `train` takes from the data before it trains: the validation samples, and a weight for each class."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify
from colabkit.errors import DataError

if TYPE_CHECKING:
    from colabkit.models.base import ImageData, ReferenceModel


def class_weights(given: str | dict[int, float] | None, samples: ImageData) -> dict[int, float] | None:
    """Return a weight for each class of the training data, as Keras takes it.

    Raises:
        DataError: The targets are no class numbers, or a class has no weight.
    """
    import numpy as np

    if given is None:
        return None
    y = samples.y_train
    if y.dtype.kind not in "ui" or y.ndim != 1:
        raise DataError(
            "class_weight needs class numbers",
            why=f"the targets are {y.dtype} of shape {y.shape}",
            hint="leave it out, or pass the classes as whole numbers, one per sample",
        )
    numbers, counts = np.unique(y, return_counts=True)
    if not isinstance(given, dict):
        weights = len(y) / (len(numbers) * counts)
        given = dict(zip(numbers.tolist(), weights.tolist(), strict=True))
        notify("class weights: %s", ", ".join(f"{number} {weight:.3g}" for number, weight in given.items()))
    if missing := [number for number in numbers.tolist() if number not in given]:
        raise DataError(
            f"class_weight has no weight for the class {missing[0]}",
            hint="give a weight for each class number, 1.0 for those that count as they are",
        )
    return given


def split_validation(
    samples: ImageData, given: Any, reference: ReferenceModel
) -> tuple[ImageData, tuple[Any, Any] | None]:
    """Take the validation data from where the user has it.

    Args:
        samples: The data.
        given: A share of the training data, drawn by a fixed shuffle; arrays or a path in the form of the data; None.
        reference: Reads arrays and paths as it reads its data.

    Returns:
        What is left to train on, and the validation data as `fit` takes it.

    Raises:
        DataError: The share is less than a sample, or all; or the samples are of another shape.
    """
    import numpy as np

    if given is None:
        return samples, None
    if isinstance(given, (int, float)) or hasattr(given, "dtype"):
        total = len(samples.x_train)
        number = round(total * float(given))
        if not 0 < number < total:
            raise DataError(f"validation={given:g} of {total} samples is {number}", hint="pass another share")
        order = np.random.default_rng(0).permutation(total)
        train, drawn = np.sort(order[number:]), np.sort(order[:number])
        validation = (samples.x_train[drawn], samples.y_train[drawn])
        return replace(samples, x_train=samples.x_train[train], y_train=samples.y_train[train]), validation
    read = reference.load(given)
    x, y = np.concatenate([read.x_train, read.x_test]), np.concatenate([read.y_train, read.y_test])
    if x.shape[1:] != samples.x_train.shape[1:]:
        raise DataError(
            f"the validation samples have the shape {x.shape[1:]}",
            why=f"those to train on have {samples.x_train.shape[1:]}",
            hint="pass samples of one shape",
        )
    return samples, (x, y)
