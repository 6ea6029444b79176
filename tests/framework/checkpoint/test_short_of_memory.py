"""A training under a limit of memory in which its state finds no room: it goes on, it is told, and nothing is lost.

The limit (RLIMIT_AS) leaves room for the steps and none for a copy of the state. What a framework gives without a copy
fails in ours; what it gives as a copy (16-bit variables, a state_dict that clones) fails before we have it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys

import pytest

from colabkit.checkpoint.format import naming

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc are Linux's"),
]

BEGIN = """
import gc, json, os, resource, sys, time
import colabkit as ck

folder, spare = sys.argv[1], int(sys.argv[2])
every = "2 steps" if spare else "100 steps"  # and at the end of each epoch

def limit():
    "Leave so many MiB more than there are now, in address space."
    size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + (spare << 20), resource.RLIM_INFINITY))

times = open(os.devnull)

def step():
    "Note the time of a step, in a file: a run that goes on would give names and attributes their values back."
    print(time.monotonic(), file=times, flush=True)
    if spare:
        limit()  # anew, as what an earlier step has given back would be room for a copy
"""

KERAS = (
    BEGIN
    + """
import numpy as np, keras

class Watch(keras.callbacks.Callback):
    stateless = True  # it takes the time of this process
    def on_train_batch_end(self, batch, logs=None):
        step()

def train(name, epochs, own_copies):
    keras.utils.set_random_seed(0)
    rows = 3_000_000 if own_copies else 1_500_000  # 96 MB either way
    model = keras.Sequential([
        keras.layers.Input((1,), dtype="int32"),
        keras.layers.Embedding(rows, 16, trainable=False, name="table", dtype="bfloat16" if own_copies else "float32"),
        keras.layers.Flatten(), keras.layers.Dropout(0.2), keras.layers.Dense(2),
    ])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).integers(0, rows, (64, 1)).astype("int32")
    run = ck.open_run(f"{folder}/{name}", every=every)
    resume = run.resume()
    model.fit(x, x[:, 0] % 2, epochs=epochs, batch_size=8, verbose=0, callbacks=[Watch(), resume])
    return model.layers[-1].get_weights()[0].tolist(), resume.resumed_from, run
"""
)

TORCH = (
    BEGIN
    + """
import torch

class Average:
    "As users write one; it gives its state as a copy."
    def __init__(self, weight):
        self.weight = weight.detach().clone()
    def state_dict(self):
        return {"weight": self.weight.clone()}
    def load_state_dict(self, state):
        self.weight.copy_(state["weight"])

def train(name, epochs, own_copies):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    table = torch.nn.Embedding(1_500_000, 16).requires_grad_(False)  # 96 MB
    head = torch.nn.Linear(16, 2)
    model = torch.nn.Sequential(table, torch.nn.Dropout(0.2), head)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    more = {"average": Average(table.weight)} if own_copies else {}
    x = torch.randint(0, 1_500_000, (64,))
    data = torch.utils.data.TensorDataset(x, x % 2)
    run = ck.open_run(f"{folder}/{name}", every=every)
    loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
    loop = run.loop(loader, epochs=epochs, model=model, optimizer=optimizer, **more)
    for inputs, labels in loop:
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step()
    return head.weight.tolist(), loop.resumed_from, run
"""
)

END = """
for words in sys.argv[3:]:
    name, epochs, kind = words.split(" ", 2)
    gc.collect()  # what the training before has held
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    times = open(f"{folder}/{name}.times", "w")
    weights, resumed_from, run = train(name, int(epochs), kind == COPIES)
    times.close()
    moments = [float(line) for line in open(times.name)]
    longest = max(b - a for a, b in zip(moments, moments[1:]))
    status = run.status()
    run.close()
    print(json.dumps([weights, resumed_from, status.saved_step, status.error, longest]), flush=True)
"""
STEPS = 8  # in an epoch
KINDS = ("ours", COPIES := "its own copies")


@pytest.mark.parametrize("framework", ["tensorflow", "torch"])
def test_a_limit_of_memory_while_a_framework_trains(python, tmp_path, framework):
    """The training goes on to the same weights, the state before stays, and a process with memory continues exactly."""
    if importlib.util.find_spec(framework) is None:
        pytest.skip(f"{framework} is missing; pip install {framework}")
    script = (TORCH if framework == "torch" else KERAS) + f"COPIES = {COPIES!r}\n" + END
    runs = [f"run-{kind[:3]}" for kind in KINDS]

    def train(spare, *runs):
        code, out, err = python(script, tmp_path, spare, *runs, KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
        assert code == 0, err[-3000:]
        return [json.loads(line) for line in out.splitlines()], err

    def files():
        paths = [path for name in runs for path in (tmp_path / name / "checkpoints").iterdir()]
        return {path: hashlib.sha256(path.read_bytes()).digest() for path in paths}

    both = list(zip(runs, KINDS, strict=True))
    begun, _ = train(0, *(f"{name} {kind}" for run, kind in both for name in (f"whole-{run} 2", f"{run} 1")))
    whole, kept = [weights for weights, *_ in begun[::2]], files()
    limited, err = train(40, *(f"{run} 2 {kind}" for run, kind in both))
    for weights, (end, resumed_from, saved, error, longest) in zip(whole, limited, strict=True):
        assert (end, resumed_from, saved) == (weights, {"epoch": 1, "step": 0}, STEPS)
        assert "there is no memory left" in error
        assert longest < 10  # seconds: it waits for nothing
    assert err.count("not saved; training goes on. step 10 could not be saved") == len(KINDS)
    assert files() == kept
    for run in runs:
        assert naming.latest_valid(naming.candidates(tmp_path / run / "checkpoints"))[1].step == STEPS
    later, _ = train(0, *(f"{run} 2 {kind}" for run, kind in both))
    assert [each[:4] for each in later] == [[weights, {"epoch": 1, "step": 0}, 2 * STEPS, None] for weights in whole]
