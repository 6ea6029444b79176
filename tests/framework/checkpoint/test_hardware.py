"""Claims about a run that goes on with other hardware: its last bits differ, which is said, with the way out."""

from __future__ import annotations

import os

import pytest

from colabkit.checkpoint.loop.data import rows
from colabkit.checkpoint.state import hardware
from colabkit.errors import RunMismatchError

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


class Model:
    """A model of a user's, whose class is of torch."""

    __module__ = "torch.nn.modules"


def test_what_changed_is_told_with_the_line_that_gives_the_same_bits(monkeypatch, caplog):
    """From a T4 to an L4, from two threads to eight; nothing where all is as before, or where an old state has none."""
    now = {"processor": "Xeon avx2", "accelerators": "NVIDIA L4", "torch threads": "8", "jax threads": "8"}
    now |= {"TF_ENABLE_ONEDNN_OPTS": "0"}
    monkeypatch.setattr(hardware, "take", lambda: now)
    for same in ({}, {hardware.KEY: now}):
        hardware.tell("digits", same)
    assert caplog.text == ""
    before = {**now, "accelerators": "Tesla T4", "torch threads": "2", "jax threads": "2"}
    del before["TF_ENABLE_ONEDNN_OPTS"]
    hardware.tell("digits", {hardware.KEY: before}, frameworks=["torch"])
    words = (
        "digits: the hardware changed, so bit-for-bit equality is not promised: accelerators Tesla T4 -> NVIDIA L4; "
        "TF_ENABLE_ONEDNN_OPTS unset -> 0; torch threads 2 -> 8. As many threads give the same bits on the same "
        "processor: torch.set_num_threads(2)"
    )
    assert caplog.messages == [words]


def test_the_frameworks_are_those_that_compute():
    """As of a subclass of torch's modules beside plain values; all, where nothing tells."""
    assert hardware.frameworks_of([Model(), 3, {}]) == ["torch"]
    assert hardware.frameworks_of([1.0]) == ["torch", "tensorflow", "jax"]


def test_this_machine_is_described():
    """The processor by its name; what is recorded is text, for the metadata of a state."""
    taken = hardware.take()
    assert taken["processor"]
    assert all(isinstance(value, str) for value in taken.values())


TRAIN = """
import os, sys
where, kill, cores, threads = sys.argv[1], *map(int, sys.argv[2:])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import numpy as np, torch, colabkit as ck
if threads:
    torch.set_num_threads(threads)
torch.manual_seed(1)
rng = np.random.default_rng(0)
x = torch.from_numpy(rng.random((256, 3, 16, 16), "float32"))
data = torch.utils.data.TensorDataset(x, torch.from_numpy(rng.integers(0, 10, 256)))
net = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(6272, 64))
optimizer = torch.optim.Adam(net.parameters())
run = ck.open_run(where, every="1 steps")
loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
loop = run.loop(loader, epochs=2, model=net, optimizer=optimizer)
for step, (x, y) in enumerate(loop, 1):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(x), y).backward()
    optimizer.step()
    if step == kill:
        run.flush()
        os._exit(9)
print(sum(map(hash, (p.detach().numpy().tobytes() for p in net.parameters()))))
"""


@pytest.mark.slow
@pytest.mark.skipif(CORES < 2, reason="needs two cores, and Linux to take one away")
def test_on_fewer_cores_it_is_said_and_as_many_threads_are_exact(python, tmp_path):
    """A machine of two cores dies, one of one goes on: other bits, said; with two threads there the same bits."""

    def train(name, *words):
        return python(TRAIN, tmp_path / name, *words, PYTHONHASHSEED="0")

    _, whole, _ = train("whole", 0, 2, 0)
    assert train("changed", 3, 2, 0)[0] == 9
    _, changed, told = train("changed", 0, 1, 0)
    assert changed != whole, "the number of threads no longer changes the bits: the warning can go"
    assert "torch threads 2 -> 1" in told
    assert train("same", 3, 2, 0)[0] == 9
    _, same, told = train("same", 0, 1, 2)
    assert (same, "hardware" in told) == (whole, False)


def test_another_number_of_loading_processes_is_said(caplog):
    """As of `num_workers=os.cpu_count()`, or of fastai's default, elsewhere; other batches are refused still."""
    before = {"batch_size": 4, "workers": 2, "loader 1: workers": 2}
    rows.check_samples("digits", before, {**before, "workers": 8, "loader 1: workers": 0}, refuse=True)
    assert "read by 8 worker processes instead of 2" in caplog.messages[0]
    assert "num_workers=2 gives the same" in caplog.messages[1]
    with pytest.raises(RunMismatchError, match="batch_size: 4 -> 8"):
        rows.check_samples("digits", before, {**before, "batch_size": 8}, refuse=True)
    rows.check_samples("digits", {"batch_size": 4}, before, refuse=True)  # a state of an older version
