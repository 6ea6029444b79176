"""Damaged and hostile model files: refused in words, or read; see `tests/unit/fuzz`, whose variables count here too."""

from __future__ import annotations

import io
import json
import os
import random
import time
import zipfile

import numpy as np
import pytest

import colabkit as ck
from colabkit.errors import ColabKitError, UnsafeModelError
from tests.unit.fuzz.mutate import mutated, mutated_json

keras = pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
h5py = pytest.importorskip("h5py", reason="h5py comes with keras")

SECONDS = float(os.environ.get("COLABKIT_FUZZ_SECONDS", "1"))
SEED = os.environ.get("COLABKIT_FUZZ_SEED", "0")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Save a small model in each form."""
    folder = tmp_path_factory.mktemp("models")
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, activation="relu", name="dense")])
    names = [ck.save_model(model, folder / name) for name in ("a.keras", "a.weights.h5")]
    return model, {path.name: path.read_bytes() for path in names}


def inputs(draw, name, data):
    """Damage the bytes, a member, or the JSON of a file."""
    if name.endswith(".h5") or draw.random() < 0.3:
        return mutated(draw, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    member = draw.choice(sorted(members))
    if member.endswith(".json") and draw.random() < 0.8:
        members[member] = json.dumps(mutated_json(draw, json.loads(members[member]))).encode()
    else:
        members[member] = mutated(draw, members[member])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return out.getvalue()


@pytest.mark.parametrize("name", ["a.keras", "a.weights.h5"])
def test_damaged_models_are_refused_in_words(files, tmp_path, name):
    """Whatever Keras, h5py and the zip make of it is one of our errors."""
    model, contents = files
    draw = random.Random(f"{SEED} {name}")  # noqa: S311 - test data
    path, until, tried = tmp_path / name, time.monotonic() + SECONDS, 0
    while time.monotonic() < until or tried < 3:
        data = inputs(draw, name, contents[name])
        path.write_bytes(data)
        tried += 1
        try:
            ck.load_model(path, into=model if name.endswith(".h5") else None)
        except ColabKitError as error:
            json.dumps(error.to_json()).encode()
        except Exception as error:  # noqa: BLE001 - that is the claim
            pytest.fail(f"{type(error).__name__}: {error!s:.300} of {data[:2000]!r}")
    if SECONDS > 1:
        print(f"{name}: {tried:,} inputs")  # noqa: T201 - asked for by the long run


def test_an_array_that_claims_to_be_huge_is_refused(files, tmp_path):
    """A chunked array without chunks needs no bytes in the file and terabytes in memory."""
    path = tmp_path / "a.weights.h5"
    path.write_bytes(files[1]["a.weights.h5"])
    with h5py.File(path, "a") as file:
        file.create_dataset("bomb", (1 << 40,), np.float32, chunks=(1 << 20,), compression="gzip")
    with pytest.raises(UnsafeModelError):
        ck.load_model(path, into=files[0])
