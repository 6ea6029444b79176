"""Claims about `ck.train` with a torch module of the user's own: killed it ends the same, and its weights are saved.

The function lies in a file, as users have it; a process of its own trains each, as torch clashes with TensorFlow.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is missing; pip install torch==2.13.0"
)

BUILD = """
import torch
from torch import nn

x = torch.linspace(0, 1, 200 * 6).reshape(200, 6).sin()
y = (x.sum(1) * 5).long() % 3

def build():
    module = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=20)
    data = (x[:160], y[:160]), (x[160:], y[160:])
    return {"module": module, "optimizer": optimizer, "loss": nn.CrossEntropyLoss(), "data": data,
            "scheduler": scheduler, "labels": ("a", "b", "c")}

def own():
    module = nn.Linear(6, 1)
    rows = [{"inputs": row, "target": row.sum()} for row in x]
    def step(module, batch):
        return (module(batch["inputs"])[:, 0] - batch["target"]).square().mean()
    loader = torch.utils.data.DataLoader(rows, batch_size=20, shuffle=True)
    return {"module": module, "optimizer": torch.optim.SGD(module.parameters(), 0.1), "step": step, "data": loader}

def diverges():
    return build() | {"loss": lambda outputs, targets: outputs.sum() * float("nan")}

def nothing():
    pass

def misspelt():
    return build() | {"scheduller": None}
"""
TRAIN = """
import hashlib, json, os, signal, sys
import colabkit as ck
from colabkit.checkpoint import run as runs
from colabkit.errors import ColabKitError
from colabkit.tracking import read_log
folder, kill, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
name = options.pop("name", "build")

def train(place, at, name, **options):
    submit = runs.Run.submit
    def submit_and_die(self, taken):
        submit(self, taken)
        if at and taken.step >= at:
            self.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    runs.Run.submit = submit_and_die
    seen = []
    call = lambda epoch, logs: seen.append([epoch, sorted(logs)])
    result = ck.train(name, run=ck.open_run(place, every="1 steps"), epochs=4, callbacks=[call], **options)
    digest = hashlib.sha256(b"".join(each.numpy().tobytes() for each in result.model.state_dict().values()))
    log = [[each.step, each.epoch] for each in read_log(result.run_dir)]
    told = {"weights": digest.hexdigest(), "history": result.history, "metrics": result.metrics, "log": log,
            "stopped": result.stopped, "resumed_from": result.resumed_from, "callback": seen[-1]}
    return result, told

if name == "all":
    told = {}
    for each in ("own", "diverges", "nothing", "misspelt"):
        try:
            result, told[each] = train(f"{folder}/{each}", 0, f"train.py:{each}")
        except ColabKitError as error:
            told[each] = f"{type(error).__name__}: {error}"
    for each, value in {"class_weight": "balanced", "fine_tune": 2, "weights": "w.pt"}.items():
        try:
            train(f"{folder}/{each}", 0, "train.py:own", **{each: value})
        except ColabKitError as error:
            told[each] = f"{type(error).__name__}: {error}"
    place, ended = f"{folder}/timed", {"of the run": {"time": 0.001}, "of the call": {}, "none": {}}
    for each, options in ended.items():
        limit = {"time": 0.001} if each == "of the call" else {}
        timed = ck.train("train.py:own", run=ck.open_run(place, every="1 steps", **options), epochs=4, **limit)
        ended[each] = [timed.stopped, timed.resumed_from]
    told["timed"] = {"ended": ended, "weights": hashlib.sha256(
        b"".join(each.numpy().tobytes() for each in timed.model.state_dict().values())).hexdigest()}
    result, told["build"] = train(f"{folder}/build", 0, "train:build", time=1e9)
    told["confusion"] = int(result.confusion.sum())
    import torch, train as user
    for ending in ("safetensors", "pt"):
        path = ck.save_model(result, f"{folder}/model.{ending}")
        again = ck.load_model(path, into=user.build()["module"])
        pairs = zip(again.state_dict().values(), result.model.state_dict().values())
        told[ending] = all(torch.equal(*pair) for pair in pairs)
    told["weights_only"] = sorted(torch.load(path, weights_only=True))[:2]
    try:
        ck.load_model(path, into=torch.nn.Linear(2, 2))
    except ColabKitError as error:
        told["misfit"] = f"{type(error).__name__}: {error}"
else:
    told = train(folder, kill, f"train.py:{name}", **options)[1]
print(json.dumps(told))
"""


def run(tmp_path, folder, kill=0, **options):
    """Train in a process of its own; its code and what it told."""
    (tmp_path / "train.py").write_text(BUILD)
    command = [sys.executable, "-c", TRAIN, str(tmp_path / folder), str(kill), json.dumps(options)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    lines = done.stdout.splitlines()
    return done.returncode, json.loads(lines[-1]) if lines else done.stderr


@pytest.mark.slow
def test_a_killed_training_ends_the_same(tmp_path):
    """Weights, history, log and the end by patience are those of a training that was never killed."""
    options = {"validation": 0.2, "patience": 1}
    _, whole = run(tmp_path, "whole", **options)
    assert run(tmp_path, "killed", 3, **options)[0] == -signal.SIGKILL
    assert run(tmp_path, "killed", 6, **options)[0] == -signal.SIGKILL
    _, killed = run(tmp_path, "killed", **options)
    assert killed.pop("resumed_from") == {"epoch": 1, "step": 2}
    assert killed | {"resumed_from": None} == whole
    assert set(whole["history"]) == {"loss", "val_loss", "val_accuracy"}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What one process that does everything has to say."""
    return run(tmp_path_factory.mktemp("torch"), "all", name="all")[1]


def test_any_batches_are_trained_on_by_a_step_of_the_users_own(told):
    """A loader of dicts, whose loss a function of (module, batch) gives."""
    assert told["own"]["history"]["loss"][-1] < told["own"]["history"]["loss"][0]
    assert told["own"]["callback"] == [3, ["loss"]]


def test_a_function_in_a_module_trains_and_its_weights_are_saved(told):
    """Both forms give the module back bit for bit, and torch reads `.pt` with weights_only."""
    assert set(told["build"]["metrics"]) == {"loss", "accuracy"}
    assert told["confusion"] == 40
    assert told["safetensors"]
    assert told["pt"]
    assert told["weights_only"] == ["0.bias", "0.weight"]
    assert told["misfit"].startswith("ModelFileError")


def test_its_time_over_it_ends_in_good_order_and_goes_on(told):
    """A limit of the run and one of the call each let one step be trained; the rest ends with the same weights."""
    over = "its time is over in epoch 1 of 4; the same line continues from there"
    first, second, third = told["timed"]["ended"].values()
    assert first == [over, None]
    assert second == [over, {"epoch": 0, "step": 1}]
    assert third == ["", {"epoch": 0, "step": 2}]
    assert told["timed"]["weights"] == told["own"]["weights"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("diverges", "DivergedError: the loss is nan in epoch 1, step 1"),
        ("nothing", "DataError: nothing() needs data"),
        ("misspelt", "did you mean 'scheduler'"),
        ("class_weight", "UnsupportedError: own takes no class_weight="),
        ("fine_tune", "UnsupportedError: own takes no fine_tune="),
        ("weights", "UnsupportedError: own takes no weights="),
    ],
)
def test_what_cannot_be_trained_is_refused(told, name, words):
    """The error names it and says what to do."""
    assert words in told[name]
    assert "What to do" in told[name]
