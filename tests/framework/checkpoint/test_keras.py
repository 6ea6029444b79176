"""Claims about `run.resume()` and `run.fit()`: a killed training ends exactly as one that was never killed.

Each training is a process of its own. It prints one line of JSON: a hash of weights and optimizer, the history, and
where it was continued.
"""

from __future__ import annotations

import json
import signal

import pytest

pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')

SAMPLES, BATCH, EPOCHS = 6400, 64, 3
STEPS = SAMPLES // BATCH

TRAIN = """
import hashlib, json, os, signal, sys
options = json.loads(sys.argv[2])
get = options.get
import numpy as np, keras, colabkit as ck
keras.utils.set_random_seed(get("seed", 7))
samples = get("samples", 6400)
rng = np.random.default_rng(get("data_seed", 0))
x = rng.normal(size=(samples, 16)).astype("float32")
y = (x[:, :3].sum(1) > 0).astype("int32")

class ForEach(keras.metrics.F1Score):
    def __init__(self):
        super().__init__(average=None, name="f1")

    def update_state(self, labels, logits, sample_weight=None):
        super().update_state(keras.ops.one_hot(labels, 2), keras.ops.softmax(logits), sample_weight)

model = keras.Sequential([keras.layers.Input((16,)), keras.layers.Dense(get("units", 16), activation="relu"),
                          keras.layers.Dropout(0.2), keras.layers.Dense(2)])
model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 300)),
              keras.losses.SparseCategoricalCrossentropy(from_logits=True),
              metrics=[ForEach()] if get("classes") else ["accuracy"],
              steps_per_execution=get("steps_per_execution", 1))
trained, draws = [0], []

class Events(keras.callbacks.Callback):
    stateless = True  # it counts what this process does

    def on_train_batch_end(self, batch, logs=None):
        trained[0] += 1
        if get("draw"):
            draws.append(float(np.random.random()))
        if trained[0] == get("at"):
            if get("signal") == "KILL":
                run.flush()
            if get("signal") == "RAISE":
                raise ValueError("the user's own")
            os.kill(os.getpid(), getattr(signal, "SIG" + get("signal")))

class Log(keras.callbacks.CSVLogger):
    def get_state(self):
        return "my own"

    def set_state(self, state):
        print("given", state, file=sys.stderr)

run = ck.open_run(sys.argv[1], every=get("every", "7 steps"))
events = [Events()]
if get("own_log"):
    events.append(Log(sys.argv[1] + ".csv"))
if get("patience") is not None:
    events.append(keras.callbacks.EarlyStopping("loss", patience=get("patience"), min_delta=9,
                                                restore_best_weights=True))
more = {"epochs": get("epochs", 3), "verbose": 0, "shuffle": True}
if get("validation"):
    more["validation_data"] = (x[:500], y[:500])
try:
    if get("tf_data"):
        import tensorflow as tf
        data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(1000).batch(64)
        if get("tf_data") == "generator":
            data = tf.data.Dataset.from_generator(lambda: zip(x, y), output_signature=data.unbatch().element_spec)
            data = data.batch(64).apply(tf.data.experimental.assert_cardinality(100))
        more.pop("shuffle")
        if get("fit"):
            run.fit(model, data, **more)
        else:
            history = model.fit(data, callbacks=[*events, run.resume()], **more)
    elif get("fit"):
        history = run.fit(model, x, y, batch_size=get("batch_size", 64), callbacks=events, **more)
    else:
        resume = run.resume()
        history = model.fit(x, y, batch_size=get("batch_size", 64), callbacks=[*events, resume], **more)
except (ck.errors.ColabKitError, ValueError) as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)
    if get("then_interrupt"):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(10**8): pass
        except KeyboardInterrupt as stop:
            print(json.dumps({"interrupted": str(stop)}))
    sys.exit(0)
except KeyboardInterrupt as stop:
    print(json.dumps({"interrupted": str(stop)}))
    sys.exit(130)
digest = hashlib.sha256()
for variable in [*model.variables, *model.optimizer.variables]:
    digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
series = {name: np.asarray(values).tolist() for name, values in history.history.items()}
print(json.dumps({"hash": digest.hexdigest(), "history": series, "epochs": history.epoch,
                  "trained": trained[0], "draw": draws[-1:], "error": run.status().error}))
"""


@pytest.fixture
def train(python, tmp_path):
    """Train in a process; gives its exit code, the last line of its stdout as JSON (or None) and its stderr."""

    def begin(name="run", backend="jax", **options):
        code, out, err = python(TRAIN, tmp_path / name, json.dumps(options), KERAS_BACKEND=backend)
        lines = out.splitlines()
        if code == 1:
            pytest.fail(err)
        return code, json.loads(lines[-1]) if lines else None, err

    return begin


def same_end(one, other):
    """Compare what two trainings ended with, but for how many steps the last process did."""
    keys = ("hash", "history", "epochs", "draw")
    assert {key: one[key] for key in keys} == {key: other[key] for key in keys}


def killed_and_whole(train, backend, *steps, **options):
    """Train without a kill, then with kills after so many steps of each process; both end the same."""
    _, whole, _ = train("whole", backend, **options)
    for at in steps:
        assert train("killed", backend, at=at, signal="KILL", **options)[0] == -signal.SIGKILL
    _, found, err = train("killed", backend, **options)
    same_end(found, whole)
    assert 0 < found["trained"] < whole["trained"]
    assert "continuing" in err
    assert ("given my own" in err) == bool(options.get("own_log"))


def test_every_byte_of_the_data_counts(python):
    """Its hash, made of pieces side by side, is the same each time, and another for a change in any piece."""
    code, out, err = python(
        "import numpy as np\n"
        "from colabkit.checkpoint.keras.data.arrays import fingerprint\n"
        "data = np.arange(20 << 20, dtype=np.uint8)\n"
        "found = [fingerprint([data]), fingerprint([data])]\n"
        "for at in (0, (8 << 20) - 1, 8 << 20, -1):\n"
        "    data[at] += 1\n"
        "    found.append(fingerprint([data]))\n"
        "print(*found)\n",
        KERAS_BACKEND="jax",
    )
    assert code == 0, err
    first, again, *changed = out.split()
    assert first == again
    assert len({first, *changed}) == 5


TINY = """
import sys, threading, time
import keras, numpy as np
import colabkit as ck
from colabkit.checkpoint.run import Run
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
x, y = np.ones((320, 4), "float32"), np.ones((320, 2), "float32")  # 10 steps
submit = Run.submit
"""

SAVED = (
    TINY
    + """
saved = []
Run.submit = lambda self, snapshot: (saved.append(snapshot.step), submit(self, snapshot))
slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: time.sleep(float(sys.argv[3])))
run = ck.open_run(sys.argv[1], every=sys.argv[2])
model.fit(x, y, epochs=2, verbose=0, callbacks=[slow, run.resume()])
print(*saved)
"""
)


@pytest.mark.parametrize(
    ("every", "pause", "expected"),
    [("3 steps", 0.0, [0, 3, 6, 9, 10, 13, 16, 19, 20]), ("0.02s", 0.03, [*range(21)])],
)
def test_it_saves_at_the_very_step(python, tmp_path, every, pause, expected):
    """Neither steps nor seconds are let pass between two looks at the clock, and an epoch's end is always saved."""
    code, out, err = python(SAVED, tmp_path / "run", every, pause, KERAS_BACKEND="jax")
    assert code == 0, err
    assert sorted(set(map(int, out.split()))) == expected


THREADED = (
    TINY
    + """
from colabkit.tracking import read_log

class Count(keras.callbacks.Callback):
    async_safe = True
    steps, callers = [], set()

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.005)
        self.steps.append(batch)
        self.callers.add(threading.get_ident())

def told(self, snapshot):
    logged = [record.step for record in read_log(self) if record.epoch is None] if snapshot.step else []
    print(snapshot.step, len(Count.steps), len(logged))
    submit(self, snapshot)

Run.submit = told
run = ck.open_run(sys.argv[1], every="3 steps")
model.fit(x, y, epochs=2, verbose=0, callbacks=[Count(), run.resume(), ck.track(run, every=4)])
print(threading.get_ident() in Count.callers, len(Count.steps))
"""
)


def test_keras_need_not_wait_for_a_step(python, tmp_path):
    """On JAX it may run ahead and let threads call the callbacks; what is saved has all that they did until there.

    So has the log, though its callback comes after the one that saves.
    """
    code, out, err = python(THREADED, tmp_path / "run", KERAS_BACKEND="jax")
    assert code == 0, err
    *saved, end = out.splitlines()
    assert end == "False 20"
    steps = [0, 3, 6, 9, 10, 13, 16, 19, 20]
    assert list(dict.fromkeys(saved)) == [f"{step} {step} {step // 4}" for step in steps]


FAILING = (
    TINY
    + """
class Fails(keras.callbacks.Callback):
    async_safe = True

    def on_train_batch_end(self, batch, logs=None):
        if batch == 5:
            raise ValueError("the user's own")

run = ck.open_run(sys.argv[1], every="1h")
try:
    model.fit(x, y, epochs=2, verbose=0, callbacks=[Fails(), run.resume()])
except ValueError as error:
    print(error, run.status().saved_step, sep=": ")
"""
)


def test_an_error_in_a_thread_of_keras_costs_no_step(python, tmp_path):
    """Keras raises it some steps later; the last one that was trained is saved."""
    code, out, err = python(FAILING, tmp_path / "run", KERAS_BACKEND="jax")
    assert code == 0, err
    said, _, step = out.rpartition(": ")
    assert said == "the user's own"
    assert 6 <= int(step) <= 10
    assert f"saved at step {int(step)}, after the error" in err


UNKNOWN = (
    TINY
    + """
from colabkit._patches import keras_steps

keras_steps.running_fit = lambda *_, **__: None
Run.submit = lambda self, snapshot: (print(snapshot.step), submit(self, snapshot))
run = ck.open_run(sys.argv[1], every="3 steps")
model.fit(x, y, epochs=int(sys.argv[2]), verbose=0, callbacks=[run.resume(), ck.track(run)])
"""
)


def test_a_fit_that_is_not_found_continues_at_whole_epochs(python, tmp_path):
    """In a loop of one's own, or an unknown version of Keras, the steps are counted and each epoch's end is saved."""
    code, out, err = python(UNKNOWN, tmp_path / "run", 2, KERAS_BACKEND="jax")
    assert (code, out.split()) == (0, ["0", "10", "20"]), err
    assert "continues at the start of its epoch" in err
    code, out, err = python(UNKNOWN, tmp_path / "run", 3, KERAS_BACKEND="jax")
    assert (code, out.split()) == (0, ["30"]), err
    assert "continuing with epoch 3 of 3" in err


def test_killed_twice_it_ends_as_if_never_killed(train):
    """Killed in the middle of two epochs on JAX: same weights, optimizer and history and user draws, bit for bit."""
    killed_and_whole(train, "jax", 150, 80, draw=True, validation=True)


def test_a_metric_for_each_class_goes_on(train):
    """Its logs are arrays, and they are the same after a kill; so does a callback that keeps its own state."""
    killed_and_whole(train, "jax", 100, classes=True, own_log=True, every="1 steps")


def test_killed_on_torch(train):
    """The same on torch, whose dropout draws from torch's own generator."""
    pytest.importorskip("torch", reason="torch is missing; pip install torch")
    killed_and_whole(train, "torch", 130)


def test_killed_on_tensorflow(train):
    """The same on TensorFlow, with a last batch that is smaller."""
    killed_and_whole(train, "tensorflow", 151, samples=6401)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "steps", "options"),
    [
        ("tensorflow", (50, 100), {"validation": True, "draw": True}),
        ("tensorflow", (7,), {"steps_per_execution": 16, "every": "16 steps"}),
        ("jax", (7,), {"steps_per_execution": 16, "every": "16 steps"}),
        ("jax", (1, 99, 100), {"samples": 6390}),
        ("jax", (130,), {"fit": True}),
        ("jax", (250,), {"every": "1 epochs"}),
    ],
)
def test_killed_in_other_ways(train, backend, steps, options):
    """Several steps an execution, partial batches, `run.fit`, saves at whole epochs: the end is the same."""
    killed_and_whole(train, backend, *steps, **options)


def test_another_training_is_refused_by_its_difference(train):
    """Another model and other data do not continue a run; the message names what differs."""
    assert train(at=150, signal="KILL")[0] == -signal.SIGKILL
    for options, text in [
        ({"units": 17}, "(16, 17)"),
        ({"data_seed": 1}, "other data"),
    ]:
        _, found, _ = train(**options)
        assert found["error"] == "RunMismatchError"
        assert text in found["text"]


def test_a_complete_run_trains_nothing_until_epochs_are_raised(train):
    """Run again it gives the same end without a step; with more epochs it does the missing ones only."""
    _, whole, _ = train(epochs=2)
    _, again, err = train(epochs=2)
    same_end(again, whole)
    assert again["trained"] == 0
    assert "already trained" in err
    _, more, _ = train(epochs=3)
    assert more["trained"] == STEPS
    assert more["epochs"] == [0, 1, 2]


def test_ctrl_c_and_sigterm_save_and_say_where(train):
    """The step ends, its state is on disk, and the message has the step; afterwards the run ends as a whole one."""
    code, found, _ = train(at=110, signal="INT", every="1h")
    assert code == 130
    assert "run is saved at step 110" in found["interrupted"]
    assert train(at=60, signal="TERM", every="1h")[0] == -signal.SIGTERM
    _, found, err = train(every="1h")
    assert "epoch 2 of 3 after step 70" in err
    assert found["trained"] == EPOCHS * STEPS - 170


def test_after_an_error_inside_fit_ctrl_c_is_as_before(train):
    """An exception of the user's callback passes through, and the next Ctrl-C acts at once, without our message."""
    _, found, _ = train(at=20, signal="RAISE", then_interrupt=True)
    assert found == {"interrupted": ""}


@pytest.mark.slow
def test_tf_data_continues_at_the_step(train):
    """A killed fit on a shuffled tf.data pipeline goes on in the middle of its epoch, with the same end."""
    killed_and_whole(train, "tensorflow", 150, tf_data=True)


@pytest.mark.slow
def test_data_that_cannot_be_continued_is_named(train):
    """A pipeline whose state TensorFlow cannot save begins its epoch again, and `run.fit` refuses it."""
    assert train("run", "tensorflow", tf_data="generator", at=150, signal="KILL")[0] == -signal.SIGKILL
    _, found, err = train("run", "tensorflow", tf_data="generator")
    assert "continues at the start of its epoch" in err
    assert "it reads a Python generator" in err
    assert found["trained"] == 2 * STEPS
    _, found, _ = train("other", "tensorflow", tf_data="generator", fit=True)
    assert found["error"] == "UnsupportedError"


@pytest.mark.slow
def test_a_run_that_early_stopping_ended_is_over(train):
    """Run again it trains nothing, and holds the best weights that EarlyStopping brought back."""
    _, whole, _ = train(epochs=9, patience=1)
    assert whole["epochs"] == [0, 1]
    _, again, _ = train(epochs=9, patience=1)
    assert again["trained"] == 0
    same_end(again, whole)


@pytest.mark.slow
def test_a_full_disk_does_not_stop_a_training(train, mounted):
    """With room for the first state only the training goes on to its end, and the status tells."""
    folder = mounted("size=48k")
    _, found, err = train(folder / "run")
    assert found["trained"] == EPOCHS * STEPS
    assert "no room left" in found["error"]
    assert "training goes on" in err
