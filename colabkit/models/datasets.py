"""The data sets of the reference models: fetched whole and verified, the user's own, or the sample that ships here."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk import lfs_pointer
from colabkit._internal.disk.paths import expand
from colabkit._internal.display.show import Shown
from colabkit._internal.log import notify, warn
from colabkit.errors import ColabKitError, DataError, NotFoundError
from colabkit.models.readers.npz import read_npz
from colabkit.transfer.fetching import fetch

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from colabkit._internal.display.show import Facts
    from colabkit._types import StrPath
    from colabkit.models.base import Data

    Array = np.ndarray[Any, Any]

MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_CHECKSUM = "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
"""As in `keras.datasets.mnist`."""

DIGIT_RECOGNIZER = "kaggle:competitions/digit-recognizer"

SAMPLE = "sample"
"""What `data=` is for the images that ship with colabkit."""

SAMPLE_SOURCE = "the MNIST sample that ships with colabkit"

LABELS = tuple("0123456789")
SIDE = 28
PIXELS = [f"pixel{number}" for number in range(SIDE * SIDE)]

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_TEST_SHARE = 21  # one in 21: of the competition's 42,000 rows 40,000 train and 2,000 test
_IDX = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
_RARE = 10
_FORM = "pass an .npz file with x_train, y_train, x_test and y_test, as numpy.savez writes it"
_FORMS = (
    "pass a train.csv, an .npz file, a folder with MNIST's IDX files or with one folder of pictures a digit, "
    "or arrays as (x, y) or ((x_train, y_train), (x_test, y_test))"
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Digits(Shown):
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

    def _facts(self) -> Facts:
        counts = [("train", f"{len(self.x_train):,}"), ("test", f"{len(self.x_test):,}")]
        return "Digits", [("source", self.source), *counts]


def load_mnist(data: Data | None = None, *, url: str = MNIST_URL, checksum: str = MNIST_CHECKSUM) -> Digits:
    """Load MNIST: 60,000 training and 10,000 test images.

    Args:
        data: The user's own digits, see `read_digits`; fetched when None.
        url: Where to fetch it.
        checksum: What the fetched file must have.

    Raises:
        DataError: The data is not of this form; the message names the array, row or column.
        TransferError: It cannot be fetched; the message says what else can be trained on.
    """
    if data is not None:
        return read_digits(data)
    with _or_the_sample():
        path = fetch(url, checksum=checksum, unpack=False)
    return _read_npz(path, f"MNIST from {url}")


def load_digit_recognizer(data: Data | None = None, *, source: str = DIGIT_RECOGNIZER) -> Digits:
    """Load the digits of Kaggle's competition: 40,000 rows to train on and 2,000 for the test.

    Args:
        data: The user's own digits, see `read_digits`; fetched when None.
        source: Where to fetch them, which needs your Kaggle token.

    Raises:
        DataError: The data is not of this form; the message names the array, row or column.
    """
    if data is not None:
        return read_digits(data)
    with _or_the_sample():
        path = fetch(source)
    return read_digits(path)


@contextlib.contextmanager
def _or_the_sample() -> Iterator[None]:
    """Add to an error of a fetch what can be trained on instead; nothing else is trained on than was asked for."""
    try:
        yield
    except ColabKitError as error:
        first = f"{error.hint.rstrip('.')}. " if error.hint else ""
        other = "Or pass your own file as data=, or train on the 7,000 real images that ship with colabkit: "
        error.hint = f'{first}{other}data="{SAMPLE}" (--data {SAMPLE})'
        raise


def sample() -> Digits:
    """Load the real MNIST sample that ships with colabkit: 6,000 training and 1,000 test images."""
    with importlib.resources.as_file(importlib.resources.files("colabkit.models") / "data/mnist-sample.npz") as path:
        return _read_npz(path, SAMPLE_SOURCE)


def read_digits(data: Data) -> Digits:
    """Read digits from wherever the user has them.

    Args:
        data: A CSV with the columns label, pixel0 to pixel783; an `.npz` file; a folder with such a train.csv, with
            MNIST's IDX files (packed or not), or with one folder of pictures a digit (also below `train` and `test`);
            arrays as `(x, y)`, as `((x_train, y_train), (x_test, y_test))` or as a dict with these four names. Where
            no test data comes along, every 21st of a fixed shuffle is it.

    Raises:
        DataError: The message names the file and the array, row or column that is wrong.
    """
    if not isinstance(data, (str, os.PathLike)):
        return _from_arrays(data)
    if str(data) == SAMPLE:
        return sample()
    path = expand(data)
    if path.is_dir():
        return _from_folder(path)
    lfs_pointer.refuse(path, DataError)
    if path.suffix.lower() == ".csv":
        x, y = read_train_csv(path)
        return _split(x, y, str(path))
    return _read_npz(path, str(path))


def read_train_csv(path: Path) -> tuple[Array, Array]:
    """Read the competition's train.csv: images, uint8 (rows, 28, 28), and labels; kept as a binary copy."""
    table = _table(path, ["label", *PIXELS])
    return table[:, 1:].reshape(-1, SIDE, SIDE), table[:, 0]


def read_test_csv(path: Path) -> Array:
    """Read the competition's test.csv: images, uint8 (rows, 28, 28); kept as a binary copy."""
    return _table(path, PIXELS).reshape(-1, SIDE, SIDE)


def _table(path: Path, columns: list[str]) -> Array:
    from colabkit.models.readers import binary_cache, csv

    return binary_cache.with_copy(path, lambda: csv.read_csv(path, columns), variant=columns[0])


def _from_folder(folder: Path) -> Digits:
    from colabkit.models.readers.idx import read_idx
    from colabkit.models.readers.images import read_folder

    if (folder / "train.csv").is_file():
        return _split(*read_train_csv(folder / "train.csv"), str(folder / "train.csv"))
    paths = {name: _idx_file(folder, stem) for name, stem in _IDX.items()}
    if any(paths.values()):
        if missing := [_IDX[name] for name, path in paths.items() if path is None]:
            raise DataError(f"{folder} has no file {missing[0]}", hint="put MNIST's four files into one folder")
        return _checked({name: read_idx(path) for name, path in paths.items() if path}, str(folder), place=folder)
    size = (SIDE, SIDE)
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        x_train, y_train = read_folder(folder / "train", LABELS, size)
        x_test, y_test = read_folder(folder / "test", LABELS, size)
        arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
        return _checked(arrays, str(folder), place=folder)
    return _split(*read_folder(folder, LABELS, size), str(folder))


def _idx_file(folder: Path, stem: str) -> Path | None:
    names = [stem, f"{stem}.gz", stem.replace("-idx", ".idx"), f"{stem.replace('-idx', '.idx')}.gz"]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _from_arrays(data: Any) -> Digits:
    import numpy as np

    if isinstance(data, Mapping):
        if missing := [name for name in _ARRAYS if name not in data]:
            raise DataError(f"the data has no array {missing[0]!r}", hint=_FORMS)
        return _checked({name: np.asarray(data[name]) for name in _ARRAYS}, "arrays", place="the data")
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise DataError(f"data of type {type(data).__name__} cannot be read as digits", hint=_FORMS)
    if all(isinstance(part, (tuple, list)) and len(part) == 2 for part in data):
        parts = {
            f"{name}_{part}": pair[at]
            for pair, part in zip(data, ("train", "test"), strict=True)
            for at, name in enumerate("xy")
        }
        return _checked({name: np.asarray(value) for name, value in parts.items()}, "arrays", place="the data")
    return _split(np.asarray(data[0]), np.asarray(data[1]), "arrays")


def _split(x: Array, y: Array, source: str) -> Digits:
    """Keep one in 21 for the test, by a shuffle that is the same everywhere: files are often sorted by class."""
    import numpy as np

    _check(source, "", x, y)
    test = len(x) // _TEST_SHARE
    if not test:
        raise DataError(
            f"{source} has {len(x)} rows, too few to keep some for the test", why="21 are needed at least", hint=_FORMS
        )
    order = np.argsort(np.random.Philox(key=0).random_raw(len(x)), kind="stable")
    train, tested = np.sort(order[test:]), np.sort(order[:test])
    digits = _checked(
        {"x_train": x[train], "y_train": y[train], "x_test": x[tested], "y_test": y[tested]}, source, place=source
    )
    notify("%s: %s rows to train on, and %s drawn from them for the test", source, f"{len(train):,}", f"{test:,}")
    return digits


def _read_npz(path: Path, source: str) -> Digits:
    arrays = read_npz(path, names=_ARRAYS, hint=_FORMS)
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise DataError(f"{path} has no array {missing[0]!r}", hint=_FORM)
    return _checked(arrays, source, place=path)


def _checked(arrays: Mapping[str, Array], source: str, *, place: object) -> Digits:
    for part in ("_train", "_test"):
        _check(place, part, arrays[f"x{part}"], arrays[f"y{part}"])
    _check_classes(place, arrays["y_train"])
    return Digits(**arrays, source=source)


def _check(place: object, part: str, x: Array, y: Array) -> None:
    if x.ndim != 3 or x.shape[1:] != (SIDE, SIDE):
        raise DataError(f"x{part} in {place} has the shape {x.shape}", why="(samples, 28, 28) is needed", hint=_FORMS)
    if x.dtype != "uint8":
        raise DataError(f"x{part} in {place} is of {x.dtype}", why="uint8, 0 to 255, is needed", hint=_FORMS)
    if y.shape != x.shape[:1]:
        raise DataError(f"y{part} in {place} has the shape {y.shape}", why=f"{len(x)} labels are needed", hint=_FORMS)
    if not len(x):
        raise DataError(f"x{part} in {place} is empty", hint="pass data with images in it")
    if y.dtype.kind not in "iu":
        raise DataError(f"y{part} in {place} is of {y.dtype}", why="labels are whole numbers", hint=_FORMS)
    wrong = (y < 0) | (y >= len(LABELS))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"y{part}[{row}] in {place} is {y[row]}", why="labels are 0 to 9", hint="correct the data")


def _check_classes(place: object, y: Array) -> None:
    import numpy as np

    counts = np.bincount(y.astype(np.int64), minlength=len(LABELS))
    if (counts > 0).sum() < 2:
        raise DataError(
            f"all {len(y)} labels in {place} are {int(counts.argmax())}",
            why="one class alone teaches nothing",
            hint="pass data with more than one class",
        )
    rare = [name for name, count in zip(LABELS, counts, strict=True) if count * _RARE < counts.max()]
    if rare:
        shown = ", ".join(f"{name} has {counts[int(name)]}" for name in rare)
        warn("%s: the classes are out of balance: %s of %s images", place, shown, len(y))


def read_labelled(data: StrPath, *, shape: tuple[int, ...], labels: tuple[str, ...]) -> tuple[Array, Array]:
    """Read raw samples with their classes, to measure a classifier on.

    Args:
        data: What the classifier's model is trained on; the test part of it where it has one.
        shape: Of one sample, as the classifier takes it.
        labels: The names of its classes.

    Returns:
        Raw samples as `Classifier.predict` takes them, and class numbers in the order of its labels.

    Raises:
        DataError: The data is not of this form.
        NotFoundError: There is no such file or folder.
    """
    path = expand(data)
    if not path.exists():
        raise NotFoundError(f"there is no file or folder at {path}", hint="check the path")
    if shape[2:] == (3,):
        from colabkit.models.readers.pictures import read_pictures

        pictures = read_pictures(path, shape[:2], labels)  # type: ignore[arg-type]
        chosen = pictures.tested if pictures.tested is not None and pictures.tested.any() else slice(None)
        return pictures.x[chosen], pictures.y[chosen]
    if path.suffix.lower() == ".csv":
        return read_train_csv(path)
    digits = read_digits(path)
    return digits.x_test, digits.y_test
