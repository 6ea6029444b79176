"""Claims about `colabkit.models.datasets`."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from colabkit.errors import DataError, IntegrityError, NotFoundError, TransferError
from colabkit.models import datasets
from colabkit.testing.http import Fault, FaultServer


def arrays(**changed):
    """A tiny data set that is in order, but for what is changed."""
    return {
        "x_train": np.zeros((4, 28, 28), np.uint8),
        "y_train": np.array([0, 1, 2, 9]),
        "x_test": np.zeros((2, 28, 28), np.uint8),
        "y_test": np.array([3, 4]),
    } | changed


def test_the_sample_is_real_mnist():
    """What ships in the wheel is the head of MNIST, as the canonical labels and pixel sums show."""
    digits = datasets.sample()
    assert (digits.x_train.shape, digits.x_test.shape) == ((6000, 28, 28), (1000, 28, 28))
    assert digits.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert digits.y_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # computed from the first 6,000 images of the canonical train-images-idx3-ubyte (md5 6bbc9ace...31adb)
    assert hashlib.sha256(digits.x_train.tobytes()).hexdigest()[:16] == "a051f814a250d347"


@pytest.mark.parametrize("status", [400, 403, 404, None])
def test_data_that_cannot_be_had_is_an_error_that_names_the_sample(quick_retries, status):
    """No network, a server that refuses, one that is down: nothing else is trained on, and the way out is told."""
    with FaultServer() as server:
        url = "http://127.0.0.1:9/mnist.npz"
        if status is not None:
            server.put("mnist.npz", b"no", Fault(kind="status", status=status, times=99))
            url = server.url("mnist.npz")
        with pytest.raises(TransferError, match=r'data="sample"'):
            datasets.load_mnist(url=url, checksum="sha256:" + "0" * 64)
    with pytest.raises(TransferError, match=r'data="sample"'):
        datasets.load_digit_recognizer()
    assert len(datasets.load_digit_recognizer("sample").x_train) == 6000


def test_the_fetched_file_is_verified_and_used(tmp_path):
    """A file with the pinned hash is used; one that differs is refused, never replaced by the sample."""
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **arrays())
    content = path.read_bytes()
    good = "sha256:" + hashlib.sha256(content).hexdigest()
    with FaultServer() as server:
        server.put("mnist.npz", content)
        digits = datasets.load_mnist(url=server.url("mnist.npz"), checksum=good)
        assert digits.y_train.tolist() == [0, 1, 2, 9]
        with pytest.raises(IntegrityError):
            datasets.load_mnist(url=server.url("mnist.npz"), checksum="sha256:" + "1" * 64)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"x_train": np.zeros((4, 784), np.uint8)}, "x_train"),
        ({"x_test": np.zeros((2, 28, 28), np.float64)}, "float64"),
        ({"y_train": np.array([0, 1, 2])}, "y_train"),
        ({"y_test": np.array([3, 10])}, r"y_test\[1\]"),
        ({"y_train": np.array([0.5, 1, 2, 3])}, "float64"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, int)}, "empty"),
    ],
)
def test_wrong_arrays_are_refused_by_name(tmp_path, changed, named):
    """A file of another shape, type or range says which array is wrong."""
    np.savez(tmp_path / "data.npz", **arrays(**changed))
    with pytest.raises(DataError, match=named):
        datasets.load_mnist(tmp_path / "data.npz")


def test_files_that_are_no_archive_are_refused(tmp_path):
    """Text, a bare array, a pickle and a missing file are each an error that names the file."""
    (tmp_path / "text.npz").write_text("label,pixel0\n")
    np.save(tmp_path / "bare.npy", np.zeros(3))
    np.savez(tmp_path / "pickle.npz", **arrays(y_test=np.array([object()], dtype=object)))
    for name in ("text.npz", "bare.npy", "pickle.npz", "missing.npz"):
        with pytest.raises(NotFoundError if name == "missing.npz" else DataError, match=name.partition(".")[0]):
            datasets.load_mnist(tmp_path / name)
