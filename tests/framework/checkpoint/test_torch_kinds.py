"""Claims about torch tensors of rare kinds in `run.save`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is missing; pip install torch==2.13.0"
)
# A process of its own: torch and TensorFlow do not live in one.
SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch
import colabkit as ck
from colabkit.errors import CheckpointError

numbers, folder = torch.tensor([0.5, -1.25, 3.0]), sys.argv[1]
state = {
    "sparse": torch.eye(3).to_sparse(),
    "e4m3": numbers.to(torch.float8_e4m3fn),
    "e5m2": numbers.to(torch.float8_e5m2),
    "bfloat16": numbers.to(torch.bfloat16),
}
with ck.open_run(folder + "/run") as run:
    run.save(state, step=1)
back = run.restore(into={name: torch.zeros_like(value) for name, value in state.items()}).state
same = {name: back[name].dtype == state[name].dtype for name in state}
for name in state:
    before, after = (each[name].to_dense() if name == "sparse" else each[name].float() for each in (state, back))
    same[name] = same[name] and torch.equal(before, after)
same["sparse"] = same["sparse"] and back["sparse"].is_sparse
refused = {}
for name, tensor in {
    "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "CSR": torch.eye(2).to_sparse_csr(),
}.items():
    run = ck.open_run(f"{folder}/{name}")
    try:
        run.save({"w": tensor}, step=1)
    except CheckpointError as error:
        refused[name] = [str(error), error.hint]
print(json.dumps({"same": same, "refused": refused}))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Save and restore in a process with torch; what came of it."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path_factory.mktemp("runs"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["sparse", "e4m3", "e5m2", "bfloat16"])
def test_sparse_and_float8_tensors_come_back_as_they_were(told, name):
    """A sparse tensor by itself, float8 and bfloat16 with `into=`, all with the same bits."""
    assert told["same"][name]


@pytest.mark.parametrize("name", ["quantised", "CSR"])
def test_what_torch_makes_no_array_of_is_refused_with_what_to_save(told, name):
    """The place in the state, the kind of the tensor and the call that gives one that can be saved."""
    message, hint = told["refused"][name]
    assert "state/w cannot be saved" in message
    assert "dequantize" in hint
