"""Claims about saves that no interval foresees: errors, the end of a session, a disk that fills up, the best state."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest

from colabkit import runtime
from colabkit.checkpoint import open_run, policy, writer
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.policy.save_triggers import SaveTriggers, session_left
from colabkit.checkpoint.state.pytree import Snapshot
from colabkit.checkpoint.writer import Writer
from colabkit.errors import AddressError, CheckpointError, DiskFullError
from colabkit.runtime.resources import Disk

GIB = 1 << 30


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def read(self):
        """Tell the time."""
        return self.now


def test_the_end_of_the_session_is_saved_before(tmp_path):
    """Five minutes before the host's limit a save is due at once, then every half minute; else there is none."""
    clock = Clock()
    occasions = SaveTriggers(tmp_path, session_left=3600, clock=clock.read, disk=lambda _: None)
    assert not occasions.now(saved_at=0)
    clock.now += 3301
    assert "about 5 minutes" in occasions.now(saved_at=1000)
    assert not occasions.now(saved_at=clock.now)
    clock.now += 31
    assert occasions.now(saved_at=clock.now - 31)
    clock.now += 3600
    assert not occasions.now(saved_at=0)


def test_the_limit_of_a_session_is_the_hosts(monkeypatch):
    """What is left is the host's limit less the age of the machine; nothing where either is unknown."""
    for hours, age, left in ((12, 3600.0, 39_600.0), (None, 3600.0, None), (12, None, None)):
        found = SimpleNamespace(max_session_hours=hours, session_age=age)
        monkeypatch.setattr(runtime, "detect", lambda found=found: found)
        assert session_left() == left


def test_the_best_of_any_loop_is_kept(tmp_path):
    """`save(best=...)` keeps the best state over a restart, `restore(best=True)` reads it, and a typo is told."""
    values = [0.5, 0.2, float("nan"), 0.3, 0.4, 0.6]
    for step, value in enumerate(values, start=1):
        run = open_run(tmp_path / "run", keep=2)
        run.restore()
        run.save({"x": step}, step=step, metrics={"val_loss": value}, best="val_loss")
        run.close()
    run = open_run(tmp_path / "run", keep=2)
    assert run.restore(best=True).state == {"x": 2}
    assert run.restore().state == {"x": 6}
    run.save({"x": 7}, step=7)
    run.close()
    assert [entry.step for entry in run.checkpoints()] == [7, 6, 2]
    with pytest.raises(AddressError, match="not among the metrics"):
        run.save({}, step=8, best="val_loss")
    with pytest.raises(AddressError, match="small or large"):
        run.save({}, step=8, metrics={"reward": 1}, best="reward")
    plain = open_run(tmp_path / "plain")
    plain.save({}, step=1)
    with pytest.raises(CheckpointError, match="no best state"):
        plain.restore(best=True)


def test_a_session_without_a_known_limit_has_no_end(tmp_path):
    """Where no limit is known there is never such an occasion."""
    clock = Clock()
    occasions = SaveTriggers(tmp_path, session_left=None, clock=clock.read, disk=lambda _: None)
    clock.now += 1e9
    assert not occasions.now(saved_at=0)


def test_a_disk_that_fills_up_is_an_occasion_once(tmp_path):
    """When room gets short a save is due at once, not again and again; with room in between it is due anew."""
    clock, free = Clock(), [50 * GIB]
    occasions = SaveTriggers(
        tmp_path, session_left=None, clock=clock.read, disk=lambda _: Disk(total=100 * GIB, free=free[0])
    )
    found = []
    for left in (50, 1, 1, 50, 1):
        free[0] = left * GIB
        clock.now += 10
        found.append(bool(occasions.now(saved_at=clock.now)))
    assert found == [False, True, False, False, True]


@pytest.fixture
def disk(monkeypatch):
    """Let the disk say what it has free; the files of the test count."""
    left = [GIB]
    monkeypatch.setattr(writer.resources, "disk", lambda _: Disk(total=1_000_000, free=left[0]))
    return left


def save(into, *steps, size=10_000):
    """Save states of so many bytes."""
    for step in steps:
        into.submit(Snapshot(step=step, tensors={"x": np.zeros(size, np.uint8)}, meta={"step": step}))
        into.flush()


def test_little_room_keeps_fewer_and_a_full_disk_is_left_alone(tmp_path, disk, caplog):
    """Short of room it saves, says so once and keeps two; it writes nothing into the last part; room heals it."""
    made = Writer(tmp_path, keep=4)
    save(made, 1, 2, 3, 4)
    disk[0] = 10_000 + policy.disk_reserve(1_000_000) // 2
    with caplog.at_level(logging.WARNING, "colabkit"):
        save(made, 5, 6)
    assert [entry.step for entry in naming.entries(tmp_path)] == [6, 5, 4]
    assert caplog.text.count("fewer old checkpoints stay") == 1
    disk[0] = 10_000 + policy.disk_reserve(1_000_000) // 8
    with pytest.raises(DiskFullError, match="free some space"):
        save(made, 7)
    assert [entry.step for entry in naming.entries(tmp_path)] == [6, 5]
    disk[0] = GIB
    save(made, 8)
    assert naming.latest_valid(naming.candidates(tmp_path))[1].step == 8


def test_the_best_stays_however_old(tmp_path):
    """Beside the newest `keep` the best one stays, until another is better."""
    made = Writer(tmp_path, keep=2)
    for step, best in enumerate([1, 2, 2, 2, 2, 6, 6, 6], start=1):
        made.submit(Snapshot(step=step, tensors={}, meta={"step": step, "best": {"step": best}}))
        made.flush()
        if step == 5:
            assert [entry.step for entry in naming.entries(tmp_path)] == [5, 4, 2]
    assert [entry.step for entry in naming.entries(tmp_path)] == [8, 7, 6]


TRAIN = """
import hashlib, json, sys, time
import numpy as np, keras, colabkit as ck
from colabkit.checkpoint.policy.save_triggers import SaveTriggers

rng = np.random.default_rng(0)
x = rng.normal(size=(320, 8)).astype("float32")
y = (x[:, :3].sum(1) > 0).astype("float32")


class Failing(keras.callbacks.Callback):
    stateless = True

    def __init__(self, at=None):
        super().__init__()
        self.at, self.steps = at, 0

    def fail(self, where, number):
        if self.at == (where, number):
            raise OSError("the user's own")

    def on_train_batch_begin(self, batch, logs=None):
        self.fail("begin", self.steps)

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        self.fail("batch", self.steps)

    def on_test_batch_end(self, batch, logs=None):
        self.fail("test", self.steps)

    def on_epoch_end(self, epoch, logs=None):
        self.fail("epoch", self.steps)


class Data(keras.utils.PyDataset):
    def __init__(self, failing):
        super().__init__()
        self.failing = failing

    def __len__(self):
        return 10

    def __getitem__(self, index):
        if self.failing.at == ("data", 10) and self.failing.steps >= 10 and index == 3:
            raise OSError("the user's own")
        return x[32 * index : 32 * index + 32], y[32 * index : 32 * index + 32]


def train(name, at=None, dataset=False, epochs=3):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2),
                              keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-3), "mse", metrics=["mae"])
    run = ck.open_run(f"{sys.argv[1]}/{name}", every="1h", keep=2)
    failing = Failing(at)
    callbacks = [keras.callbacks.ReduceLROnPlateau("val_loss", patience=0, min_delta=9, factor=0.5), failing]
    given = (Data(failing),) if dataset else (x, y)
    more = {} if dataset else {"batch_size": 32}
    try:
        history = model.fit(*given, epochs=epochs, verbose=0, validation_data=(x[:64], y[:64]), **more,
                            callbacks=[*callbacks, run.resume(best=("mae", "max"))])
    except OSError:
        return run.checkpoints()[0].step, None
    digest = hashlib.sha256()
    for variable in [*model.variables, *model.optimizer.variables]:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    series = {key: [float(value) for value in values] for key, values in history.history.items()}
    return run, [digest.hexdigest(), series]


found = {}
for dataset in (False, True):
    run, whole = train(f"whole{dataset}", dataset=dataset)
    for at in [("data", 10)] if dataset else [("batch", 13), ("begin", 13), ("test", 20), ("epoch", 20)]:
        step, _ = train(at[0], at, dataset)
        found[at[0]] = [step, train(at[0], None, dataset)[1] == whole]
model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2),
                          keras.layers.Dense(1)])
found["kept"] = [entry.step for entry in run.checkpoints()]
found["best"] = run.load_best(model)
found["maes"] = whole[1]["mae"]
import colabkit.checkpoint.keras.callback as callback

class Later(Failing):
    ahead = 0.0  # seconds by which the clock of the session is put forward

    def on_train_batch_end(self, batch, logs=None):
        Later.ahead = 3600.0 if batch == 4 else Later.ahead

def triggers_of(folder, session_left):
    return SaveTriggers(folder, session_left=3900.0, clock=lambda: time.monotonic() + Later.ahead)

callback.SaveTriggers, Failing = triggers_of, Later
train("ending", epochs=1)
callback.SaveTriggers = SaveTriggers
found["values"] = []
for epochs in (1, 4):
    train("first", epochs=epochs)
    found["values"].append(ck.open_run(f"{sys.argv[1]}/first").load_best(model)["value"])
print(json.dumps(found))
"""


@pytest.fixture
def found(tmp_path, python):
    """Train with errors in all places, and again without, and with the best kept, in one process."""
    pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
    code, out, err = python(TRAIN, tmp_path, KERAS_BACKEND="jax")
    assert code == 0, err
    return {**json.loads(out.splitlines()[-1]), "told": err}


@pytest.mark.slow
def test_errors_cost_no_step_and_the_best_is_kept(found):
    """Wherever user code fails, the last whole step is saved, and a rerun ends the same; the best state can be loaded.

    In callbacks of a step, its beginning, the data, the validation and the end of an epoch, whose callbacks have
    changed the learning rate already.
    """
    assert {at: found[at] for at in ("batch", "begin", "data", "test", "epoch")} == {
        "batch": [13, True],
        "begin": [13, True],
        "data": [found["data"][0], True],
        "test": [20, True],
        "epoch": [20, True],
    }
    assert 10 < found["data"][0] < 20  # in the second epoch, wherever its order has the batch
    best = int(np.argmax(found["maes"]))
    assert found["best"]["epoch"] == best + 1
    assert found["best"]["value"] == found["maes"][best]
    assert 10 * (best + 1) in found["kept"]
    assert found["values"] == sorted(found["values"])
    assert "ending: the host ends this session in about 5 minutes; saving at step" in found["told"]
