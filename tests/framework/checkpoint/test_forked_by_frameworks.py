"""Workers that a framework forks while a state is being written: a DataLoader's, and a pool that feeds Keras."""

from __future__ import annotations

import importlib.util
import json
import os

import pytest

from tests.support.whole_states import whole_states

if not hasattr(os, "fork"):
    pytest.skip("this system does not fork", allow_module_level=True)

HELD_UP = """
import json, multiprocessing, os, sys, threading
import colabkit as ck
from colabkit.checkpoint.format import file

begun, forked, write = threading.Event(), threading.Event(), file.write

def held_up(to, tensors, meta):
    "Write a part of the sixth state, then wait until the training has forked."
    if meta["step"] == 6:
        to.write(b"a part")
        begun.set()
        assert forked.wait(60)
        to.seek(0)
        to.truncate()
    return write(to, tensors, meta)

file.write = held_up
run, pids = ck.open_run(sys.argv[1], mirror=sys.argv[2], every="1 steps"), set()
"""

LOADERS = (
    HELD_UP
    + """
import torch

class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 24
    def __getitem__(self, index):
        return torch.tensor([float(index), os.getpid()], dtype=torch.float64)

torch.manual_seed(0)
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.01)
loader = torch.utils.data.DataLoader(Numbers(), batch_size=4, num_workers=2, multiprocessing_context="fork")
for batch in run.loop(loader, epochs=2, model=model, optimizer=optimizer):
    pids |= {int(pid) for pid in batch[:, 1]}
    if begun.is_set():
        forked.set()  # the second epoch's workers are there, and the state of the first one's end is not
    optimizer.zero_grad()
    model(batch[:, :1].float()).square().mean().backward()
    optimizer.step()
"""
)

POOLS = (
    HELD_UP
    + """
import numpy as np
import keras

def row(index):
    return float(index), os.getpid()

class Rows(keras.utils.PyDataset):
    "Asks a pool, which is forked while a state is being written."
    pool = None
    def __len__(self):
        return 6
    def __getitem__(self, index):
        if Rows.pool is None and begun.is_set():
            Rows.pool = multiprocessing.get_context("fork").Pool(2)
        wanted = range(4 * index, 4 * index + 4)
        if Rows.pool is None:
            values = [float(number) for number in wanted]
        else:
            rows = Rows.pool.map(row, wanted)
            pids.update(pid for _, pid in rows)
            values = [value for value, _ in rows]
            forked.set()
        x = np.array(values, "float32")[:, None]
        return x, 2 * x

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(Rows(), epochs=3, verbose=0, callbacks=[run.resume()])
"""
)

END = """
run.close()
status = run.status()
print(json.dumps([forked.is_set(), bool(pids - {os.getpid()}), status.confirmed_step, status.error]), flush=True)
"""  # where a pool is still open the interpreter terminates it


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "steps"), [pytest.param(LOADERS, 12, id="torch"), pytest.param(POOLS, 18, id="keras")]
)
def test_workers_of_frameworks_forked_while_a_state_is_written(python, tmp_path, script, steps):
    """A DataLoader's and a pool's: all states are whole and confirmed, and the program comes to its end."""
    for package in ("torch", "keras"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is missing; pip install {package}")
    code, out, err = python(script + END, tmp_path / "run", tmp_path / "copies", KERAS_BACKEND="torch")
    assert code == 0, err[-3000:]
    assert json.loads(out.splitlines()[-1]) == [True, True, steps, None]
    assert "Traceback" not in err
    assert [max(each) for each in whole_states(tmp_path / "run", tmp_path / "copies")] == [steps, steps]
