"""Files of weights for torch, and arrays, that others made: numbers and nothing else, or refused in words."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from unittest.mock import patch

import numpy as np
import pytest

import colabkit as ck
from colabkit.errors import ColabKitError, DataError, ModelFileError, UnsafeModelError
from colabkit.models.readers.npz import read_npz
from colabkit.tracking import read_log

torch = pytest.importorskip("torch", reason='torch is missing; pip install "colabkit[torch]"')


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        """Pickle writes this call."""
        return (os.mkdir, (self.mark,))


def safetensors(header, body=b""):
    """Write a file of this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def read(path):
    """Read it as its ending says."""
    if path.suffix == ".npz":
        return read_npz(path, hint="")
    return ck.load_model(path, into=torch.nn.Linear(1, 1))


DAMAGED = {
    "nested": safetensors(b"[" * 50_000),
    "a list": safetensors([ONE]),
    "a huge shape": safetensors({"weight": {**ONE, "shape": [2**70]}}, bytes(4)),
    "a negative shape": safetensors({"weight": {**ONE, "shape": [-1, -1]}}, bytes(4)),
    "another type": safetensors({"weight": {**ONE, "dtype": "__class__"}}, bytes(4)),
    "offsets in words": safetensors({"weight": {**ONE, "data_offsets": "ab"}}, bytes(4)),
    "behind the end": safetensors({"weight": {**ONE, "data_offsets": [0, 1 << 40]}}, bytes(4)),
    "one over another": safetensors(
        {str(n): {**ONE, "data_offsets": [0, 1 << 20]} for n in range(9999)}, bytes(1 << 20)
    ),
    "halves of letters": safetensors(b'{"\\\\ud800": {}}'),
    "other names": safetensors({"evil": ONE}, bytes(4)),
    "empty": b"",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_safetensors_are_refused_in_words(tmp_path, name):
    """Depth, overlaps, types, sizes and names: a ModelFileError, whatever torch or JSON would have raised."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(DAMAGED[name])
    with pytest.raises(ModelFileError):
        ck.load_model(path, into=torch.nn.Linear(1, 1))


def test_no_pickle_runs(tmp_path):
    """As a `.pt` in its new and its old form, as a `.pkl`, within an `.npz` and in the place of one."""
    made, mark = {}, tmp_path / "ran"
    torch.save({"weight": torch.ones(1), "x": Evil(mark)}, tmp_path / "new.pt")
    torch.save(Evil(mark), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    made["bare.pth"] = pickle.dumps(Evil(mark))
    made["learner.pkl"] = pickle.dumps(Evil(mark))
    made["bare.npz"] = pickle.dumps(Evil(mark))
    objects = io.BytesIO()
    np.save(objects, np.array([Evil(mark)], object), allow_pickle=True)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            archive.writestr(f"{name}.npy", objects.getvalue())
    made["objects.npz"] = packed.getvalue()
    made["array.npz"] = objects.getvalue()
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    for name in ("new.pt", "old.pt", *made):
        with pytest.raises(ColabKitError):
            read(tmp_path / name)
    assert not mark.exists()


def test_a_torch_whose_promise_is_broken_reads_no_pickle(tmp_path):
    """Before 2.6 `weights_only=True` could be made to run code (CVE-2025-32434)."""
    linear = torch.nn.Linear(1, 1)
    path = ck.save_model(linear, tmp_path / "a.pt")
    with patch.object(torch, "__version__", "2.5.1+cu124"):
        with pytest.raises(UnsafeModelError, match="newer torch"):
            ck.load_model(path, into=torch.nn.Linear(1, 1))
        ck.load_model(path, into=torch.nn.Linear(1, 1), trusted=True)
    ck.load_model(path, into=torch.nn.Linear(1, 1))


def test_arrays_that_unpack_to_far_too_much_are_refused(tmp_path):
    """Each of the four is bearable, and so is what they claim; a damaged one is told."""
    zeros = io.BytesIO()
    np.save(zeros, np.zeros(200 << 20, np.uint8))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", zeros.getvalue())
        archive.writestr("y.npy", zeros.getvalue())
    with pytest.raises(DataError, match="unpack to"):
        read_npz(tmp_path / "bomb.npz", hint="")
    good = io.BytesIO()
    np.savez_compressed(good, x=np.arange(1000), y=np.arange(1000))
    damaged = bytearray(good.getvalue())
    damaged[150:170] = b"\xff" * 20
    (tmp_path / "damaged.npz").write_bytes(damaged)
    with pytest.raises(DataError):
        read_npz(tmp_path / "damaged.npz", hint="")


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    """As the log of a run that somebody handed over, or as arrays: told, where nobody writes into it."""
    (tmp_path / "tracking").mkdir()
    for path in (tmp_path / "tracking" / "metrics.jsonl", tmp_path / "a.npz"):
        os.mkfifo(path)
    with pytest.raises(ColabKitError, match="pipe"):
        read_log(tmp_path)
    with pytest.raises(ColabKitError, match="no file"):
        read_npz(tmp_path / "a.npz", hint="")
