"""The data sets of the reference models: fetched whole and verified, or the real sample that ships with colabkit."""

from __future__ import annotations

import importlib.resources
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._tools.log import say
from colabkit.errors import DataError, OfflineError
from colabkit.transfer import fetch

if TYPE_CHECKING:
    import numpy as np

    from colabkit._types import StrPath

    Array = np.ndarray[Any, Any]

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_CHECKSUM = "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
"""As in `keras.datasets.mnist`."""

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Pictures of handwritten digits with their labels.

    Attributes:
        x_train: uint8, shape (samples, 28, 28), 0 is the background.
        y_train: Integers 0 to 9, shape (samples,).
        x_test: As `x_train`.
        y_test: As `y_train`.
        source: Where they come from, in words.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    source: str


def load_mnist(data: StrPath | None = None, *, url: str = MNIST_URL, checksum: str = MNIST_CHECKSUM) -> Digits:
    """Load MNIST: 60,000 training and 10,000 test images, or without a network the first 6,000 and 1,000 of them.

    Args:
        data: An `.npz` file with the arrays `x_train`, `y_train`, `x_test` and `y_test`; fetched when None.
        url: Where to fetch it.
        checksum: What the fetched file must have.

    Raises:
        DataError: The file is not of this form; the message names the array.
        TransferError: The fetch failed for another reason than a missing network.
    """
    if data is not None:
        return _read(Path(data), str(data))
    try:
        path = fetch(url, checksum=checksum, unpack=False)
    except OfflineError as error:
        say(
            "no network (%s): using the sample of 7,000 real MNIST images that ships with colabkit",
            error.why or error.what,
        )
        return sample()
    return _read(path, f"MNIST from {url}")


def sample() -> Digits:
    """Load the real MNIST sample that ships with colabkit: 6,000 training and 1,000 test images."""
    with importlib.resources.as_file(importlib.resources.files("colabkit.models") / "data/mnist-sample.npz") as path:
        return _read(path, "the MNIST sample that ships with colabkit")


def _read(path: Path, source: str) -> Digits:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS if name in file}
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}", do="check the path") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        # np.load gives a bare array, no archive, for a .npy file: that has no context manager
        raise DataError(f"{path} is not an .npz file of arrays", why=str(error), do=_FORM) from error
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise DataError(f"{path} has no array {missing[0]!r}", do=_FORM)
    for part in ("train", "test"):
        _check(path, part, arrays[f"x_{part}"], arrays[f"y_{part}"])
    return Digits(**arrays, source=source)


def _check(path: Path, part: str, x: Array, y: Array) -> None:
    if x.ndim != 3 or x.shape[1:] != (28, 28):
        raise DataError(f"x_{part} in {path} has the shape {x.shape}", why="(samples, 28, 28) is needed", do=_FORM)
    if x.dtype != "uint8":
        raise DataError(f"x_{part} in {path} is of {x.dtype}", why="uint8, 0 to 255, is needed", do=_FORM)
    if y.shape != x.shape[:1]:
        raise DataError(f"y_{part} in {path} has the shape {y.shape}", why=f"{len(x)} labels are needed", do=_FORM)
    if not len(x):
        raise DataError(f"x_{part} in {path} is empty", do="pass a file with images in it")
    if y.dtype.kind not in "iu":
        raise DataError(f"y_{part} in {path} is of {y.dtype}", why="labels are whole numbers", do=_FORM)
    wrong = (y < 0) | (y > 9)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"y_{part}[{row}] in {path} is {y[row]}", why="labels are 0 to 9", do="correct the file")


_FORM = "pass an .npz file with x_train, y_train, x_test and y_test, as numpy.savez writes it"
