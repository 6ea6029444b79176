"""Claims about the file format: readable by others, and never believed when it is not what was written."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import subprocess

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from colabkit.checkpoint.format import file as container
from colabkit.errors import CheckpointError, CorruptCheckpointError, NewerFormatError

TENSORS = {
    "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
    "step": np.array(7, np.int64),
    "none": np.zeros((0, 4), np.float16),
    "mask": np.array([True, False]),
}


def content(tensors=TENSORS, **meta):
    """Write a checkpoint to memory."""
    file = io.BytesIO()
    container.write(file, tensors, meta)
    return file.getvalue()


def forged(header, data=b"", *, size=None):
    """Make a file whose hash is right and whose header is the attacker's."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = struct.pack("<Q", len(text) if size is None else size) + text + data
    return body + hashlib.sha256(body).digest()


def header_of(entry):
    """Give a header with good metadata and one tensor entry."""
    return {"__metadata__": {"colabkit": '{"format": 1}'}, "x": entry}


def test_other_readers_open_it(tmp_path):
    """The safetensors library reads every array without knowing colabkit."""
    path = tmp_path / "one.safetensors"
    path.write_bytes(content())
    found = load_file(path)
    assert found.pop("colabkit.sha256").shape == (32,)
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_shell_can_prove_it(tmp_path):
    """`head -c -32 FILE | sha256sum` prints the digest at the end of the file."""
    path = tmp_path / "one.safetensors"
    path.write_bytes(content())
    printed = subprocess.run(
        ["sh", "-c", 'head -c -32 "$1" | sha256sum', "sh", str(path)], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert printed == path.read_bytes()[-32:].hex() == container.read(path).digest


@pytest.mark.parametrize("name", container._DTYPES)
def test_every_dtype_comes_back(tmp_path, name):
    """Each dtype of the table round-trips, bit for bit, and the arrays may be written to."""
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    array = np.array([0, 1, 1, 0], np.int8).astype(dtype).reshape(2, 2)
    path = tmp_path / "one.safetensors"
    path.write_bytes(content({"x": array}, note="kept"))
    found = container.read(path)
    assert found.tensors["x"].dtype == dtype
    assert found.tensors["x"].tobytes() == array.tobytes()
    assert found.meta == {"note": "kept"} == container.verify(path)
    found.tensors["x"][0, 0] = 1


def test_byte_order_and_strides_do_not_matter(tmp_path):
    """A big-endian array and a transposed view come back with the same values."""
    path = tmp_path / "one.safetensors"
    array = np.arange(12, dtype=">i4").reshape(3, 4)
    path.write_bytes(content({"big": array, "view": array.T[::2]}))
    found = container.read(path).tensors
    np.testing.assert_array_equal(found["big"], array)
    np.testing.assert_array_equal(found["view"], array.T[::2])


@pytest.mark.parametrize("array", [np.array([1j]), np.array(["a"]), np.array(["2026-01-01"], "M8[D]")])
def test_a_dtype_without_a_place_is_named(array):
    """What the format cannot hold is refused, with the name of the array."""
    with pytest.raises(CheckpointError, match="'odd'"):
        content({"odd": array})


@pytest.mark.parametrize("reader", [container.read, container.verify])
def test_every_truncation_is_noticed(tmp_path, reader):
    """A file cut at any byte is refused."""
    whole, path = content(), tmp_path / "cut.safetensors"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptCheckpointError):
            reader(path)


@pytest.mark.parametrize("reader", [container.read, container.verify])
def test_every_flipped_byte_is_noticed(tmp_path, reader):
    """A file with any one byte changed, or with one more at its end, is refused."""
    whole, path = content(), tmp_path / "flipped.safetensors"
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(CorruptCheckpointError):
            reader(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CorruptCheckpointError):
        reader(path)


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(forged(b""), id="nothing"),
        pytest.param(hashlib.sha256(b"").digest(), id="only-a-hash"),
        pytest.param(forged(b"{}", size=2**63), id="huge-header"),
        pytest.param(forged(b"{}", size=3), id="header-into-the-hash"),
        pytest.param(forged(b"[]"), id="no-object"),
        pytest.param(forged(b"\xff\xfe"), id="no-text"),
        pytest.param(forged(b"[" * 100_000), id="deep"),
        pytest.param(forged({}), id="no-metadata"),
        pytest.param(forged({"__metadata__": {"colabkit": "[" * 100_000}}), id="deep-metadata"),
        pytest.param(forged({"__metadata__": {"colabkit": "[]"}}), id="metadata-no-object"),
        pytest.param(forged({"__metadata__": {"colabkit": "{}"}}), id="no-format"),
    ],
)
def test_hostile_headers_are_refused(tmp_path, hostile):
    """A header that lies is refused as corrupt by both readers, although its hash is right."""
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(hostile)
    for reader in (container.read, container.verify):
        with pytest.raises(CorruptCheckpointError):
            reader(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "U8", "shape": [4], "data_offsets": [0, 9]},
        {"dtype": "U8", "shape": [4], "data_offsets": [-4, 4]},
        {"dtype": "U8", "shape": [4], "data_offsets": [4, 0]},
        {"dtype": "U8", "shape": [5], "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": [10**30], "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": [0.5], "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": 4, "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": [1] * 200, "data_offsets": [0, 1]},
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "OBJECT", "shape": [4], "data_offsets": [0, 4]},
        {"dtype": [], "shape": [4], "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": [4], "data_offsets": ["0", "4"]},
        {"dtype": "U8", "shape": [4]},
        None,
    ],
    ids=repr,
)
def test_hostile_tensors_are_refused(tmp_path, entry):
    """An entry with offsets outside the file, or whose shape and dtype do not fit its bytes, is refused."""
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(forged(header_of(entry), b"\1\2\3\4"))
    with pytest.raises(CorruptCheckpointError, match="'x'"):
        container.read(path)


@pytest.mark.parametrize("version", [container.FORMAT + 1, 10**30, "2"])
def test_a_newer_format_is_told_apart(tmp_path, version):
    """A newer format asks for an update: it is not taken for damage."""
    path = tmp_path / "newer.safetensors"
    path.write_bytes(forged({"__metadata__": {"colabkit": json.dumps({"format": version})}}))
    for reader in (container.read, container.verify):
        with pytest.raises(NewerFormatError, match="update colabkit"):
            reader(path)
