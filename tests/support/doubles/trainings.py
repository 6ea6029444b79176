"""Trainings that are interrupted and continued in one process, for `tests/framework/checkpoint/test_exact.py`.

    KERAS_BACKEND=jax python tests/support/doubles/trainings.py FOLDER [CASE ...]

For each case one JSON line says where the continued run differs from the one that was left alone; nothing should. Real
kills cost a process and its imports each; here the interruption is an exception that nobody expects, thrown when the
newest state is on disk, after which the model and everything else is made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import traceback
import warnings
from pathlib import Path

import keras
import numpy as np

import colabkit as ck

BACKEND = keras.backend.backend()
SAMPLES, BATCH = 100, 10  # 10 steps an epoch


class Interruption(BaseException):
    """Ends a training as nothing in it expects."""


class Events(keras.callbacks.Callback):
    """Counts, draws and interrupts; continues by the public protocol."""

    def __init__(self, run, at=None):
        super().__init__()
        self.run, self.at, self.in_validation = run, at and abs(at), (at or 1) < 0
        self.here = 0
        self.state = {"steps": 0, "ends": [], "begins": [], "draws": np.zeros(4)}

    def get_state(self):
        return self.state

    def set_state(self, state):
        self.state = state

    def on_epoch_begin(self, epoch, logs=None):
        self.state["begins"].append(epoch)
        self.state["draws"][0] = np.random.random()

    def on_train_batch_end(self, batch, logs=None):
        self.state["steps"] += 1
        self.state["draws"][1] = np.random.random()
        self.count(not self.in_validation)

    def on_test_batch_end(self, batch, logs=None):
        self.count(self.in_validation)

    def on_epoch_end(self, epoch, logs=None):
        self.state["ends"].append([epoch, {name: float(value) for name, value in logs.items()}])
        self.state["draws"][2] = float(keras.ops.convert_to_numpy(keras.random.uniform(())))

    def count(self, counts):
        self.here += counts
        if counts and self.here == self.at:
            self.run.flush()
            raise Interruption


def arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, 8)).astype("float32")
    return x, (x[:, :3].sum(1) > 0).astype("int32")


def network(frozen=False):
    layers = [keras.layers.Input((8,)), keras.layers.Dense(8, activation="relu"), keras.layers.BatchNormalization()]
    model = keras.Sequential([*layers, keras.layers.Dropout(0.3), keras.layers.Dense(2)])
    if frozen:
        model.layers[0].trainable = False
        model.layers[1].trainable = False
    return model


def compiled(model=None, optimizer=None, **options):
    model = model or network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss, metrics=["accuracy"], **options)
    return model


def plain(**fit):
    x, y = arrays()
    return compiled(), {"x": x, "y": y, "batch_size": BATCH, **fit}, []


def validation():
    x, y = arrays()
    return plain(validation_data=(x[:30], y[:30], np.linspace(0, 1, 30)), validation_freq=2)


def validation_each():
    x, y = arrays()
    return plain(validation_data=(x[:30], y[:30]))


def weights():
    return plain(class_weight={0: 1.0, 1: 3.0})


def sample_weight():
    return plain(sample_weight=np.linspace(0, 1, SAMPLES), validation_split=0.3)


def several_steps():
    x, y = arrays()
    return compiled(steps_per_execution=4), {"x": x, "y": y, "batch_size": BATCH}, []


def jit():
    x, y = arrays()
    return compiled(jit_compile=BACKEND != "torch"), {"x": x, "y": y, "batch_size": BATCH}, []


def float16():
    keras.mixed_precision.set_global_policy("mixed_float16")
    return plain()


def bfloat16():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    return plain()


def schedule():
    rate = keras.optimizers.schedules.CosineDecay(0.02, 25)
    x, y = arrays()
    return compiled(optimizer=keras.optimizers.AdamW(rate)), {"x": x, "y": y, "batch_size": BATCH}, []


def frozen():
    x, y = arrays()
    return compiled(network(frozen=True)), {"x": x, "y": y, "batch_size": BATCH}, []


def averaged():
    x, y = arrays()
    optimizer = keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=None)
    return (
        compiled(optimizer=optimizer),
        {"x": x, "y": y, "batch_size": BATCH},
        [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
    )


def callbacks(folder):
    model, fit, _ = validation()
    fit["validation_freq"] = 1
    rate = keras.callbacks.LearningRateScheduler(lambda _, rate: rate * 0.9)
    return (
        model,
        {**fit, "epochs": 9},
        [
            rate,
            keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=0.5, cooldown=1, factor=0.5),
            keras.callbacks.EarlyStopping("val_loss", patience=3, min_delta=0.1, restore_best_weights=True),
            keras.callbacks.ModelCheckpoint(
                str(folder / "best.weights.h5"), "val_accuracy", save_best_only=True, save_weights_only=True
            ),
            keras.callbacks.CSVLogger(str(folder / "log.csv")),
        ],
    )


def own_step():
    """Two optimizers in a train_step of one's own, with logs that are no metrics."""
    x, y = arrays()
    ops = keras.ops

    class Pair(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = keras.layers.Dense(8), keras.layers.Dense(8)
            self.optimizers = {"first": keras.optimizers.Adam(0.01), "second": keras.optimizers.SGD(0.1, momentum=0.9)}

        def call(self, x):
            return self.second(self.first(x))

        def train_step(self, data):
            (inputs,) = data[:1]
            sets = [(self.optimizers["first"], self.first), (self.optimizers["second"], self.second)]
            if BACKEND == "tensorflow":
                import tensorflow as tf

                with tf.GradientTape(persistent=True) as tape:
                    loss = ops.mean(ops.square(self(inputs) - inputs))
                for optimizer, layer in sets:
                    optimizer.apply(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights)
            else:
                self.zero_grad()
                loss = ops.mean(ops.square(self(inputs) - inputs))
                loss.backward()
                for optimizer, layer in sets:
                    grads = [weight.value.grad for weight in layer.trainable_weights]
                    optimizer.apply(grads, layer.trainable_weights)
            return {"distance": loss}

    model = Pair()
    model.compile()
    return model, {"x": x, "y": y, "batch_size": BATCH}, []


class Batches(keras.utils.PyDataset):
    """A PyDataset with an order of its own that changes after each epoch, and says what it is."""

    def __init__(self, own=True, endless=False, **options):
        super().__init__(**options)
        self.endless, self.own = endless, own
        self.order = np.arange(SAMPLES)

    @property
    def num_batches(self):
        return None if self.endless else SAMPLES // BATCH

    def __getitem__(self, index):
        x, y = arrays()
        chosen = self.order[np.arange(index * BATCH, (index + 1) * BATCH) % SAMPLES]
        return x[chosen] + np.float32(index) * 0.01, y[chosen]

    def on_epoch_end(self):
        if self.own:
            self.order = np.roll(self.order, 7)

    def get_state(self):
        return {"order": self.order}

    def set_state(self, state):
        self.order = state["order"]


def pydataset():
    return compiled(), {"x": Batches()}, []


def pydataset_workers():
    return compiled(), {"x": Batches(own=False, workers=2)}, []


def pydataset_endless():
    return compiled(), {"x": Batches(own=False, endless=True), "steps_per_epoch": 10}, []


def pipeline(change=lambda data: data, **fit):
    import tensorflow as tf

    tf.random.set_seed(1)
    data = tf.data.Dataset.from_tensor_slices(arrays()).shuffle(SAMPLES)
    data = change(data.batch(BATCH).map(lambda x, y: (x * 2, y), num_parallel_calls=2)).prefetch(2)
    return compiled(), {"x": data, **fit}, []


def pipeline_repeated():
    import tensorflow as tf

    tf.random.set_seed(1)
    data = tf.data.Dataset.from_tensor_slices(arrays()).repeat().shuffle(30).batch(BATCH).prefetch(2)
    return compiled(), {"x": data, "steps_per_epoch": 7}, []


def pipeline_cut():
    return pipeline(steps_per_epoch=4)


def pipeline_unknown():
    return pipeline(lambda data: data.filter(lambda *_: True))


def generator():
    def batches():
        rng = np.random.default_rng(5)
        x, y = arrays()
        while True:
            chosen = rng.integers(0, SAMPLES, BATCH)
            yield x[chosen], y[chosen]

    return compiled(), {"x": batches(), "steps_per_epoch": 10}, []


# Name -> how it is made, at which step of its own each continuation is interrupted, and how often it saves.
CASES = {
    "arrays": (plain, (15, 4), "3 steps"),
    "in the validation": (validation_each, (-2, -2), "10 steps"),  # negative: a step of the validation
    "with the end of an epoch owed": (validation_each, (-1, 11, -1), "10 steps"),
    "class weights": (weights, (15,), "3 steps"),
    "sample weights, validation split": (sample_weight, (13,), "3 steps"),
    "several steps an execution": (several_steps, (3, 2), "1 steps"),
    "jit": (jit, (15,), "3 steps"),
    "float16 with loss scaling": (float16, (15,), "3 steps"),
    "bfloat16": (bfloat16, (15,), "3 steps"),
    "schedule": (schedule, (15,), "3 steps"),
    "frozen layers": (frozen, (15,), "3 steps"),
    "averaged weights": (averaged, (15, 10), "3 steps"),
    "callbacks with a state": (callbacks, (15, 12, 4), "3 steps"),
    "two optimizers": (own_step, (14,), "3 steps"),
    "pydataset": (pydataset, (15, 10), "3 steps"),
    "pydataset with workers": (pydataset_workers, (15,), "3 steps"),
    "pydataset without an end": (pydataset_endless, (15,), "3 steps"),
    "tf.data": (pipeline, (15, 9), "3 steps"),
    "tf.data repeated": (pipeline_repeated, (9, 8), "3 steps"),
    "tf.data cut": (pipeline_cut, (7, 2), "3 steps"),
    "tf.data of unknown length": (pipeline_unknown, (13, 9, 3), "2 steps"),
    "generator": (generator, (15,), "3 steps"),
}


def train(folder, make, every, at=None):
    """Train once; returns what the training ended with, or None when it was interrupted."""
    keras.backend.clear_session()
    keras.mixed_precision.set_global_policy("float32")
    keras.utils.set_random_seed(3)
    folder.mkdir(parents=True, exist_ok=True)
    model, fit, others = make(folder) if make is callbacks else make()
    run = ck.open_run(folder / "run", every=every)
    events, resume = Events(run, at), run.resume()
    try:
        history = model.fit(**{"epochs": 3, "verbose": 0, **fit}, callbacks=[events, *others, resume])
    except Interruption:
        run.close()
        resume._signals.restore()
        return None
    digest = hashlib.sha256()
    more = getattr(model, "optimizers", {}).values()
    for variable in [*model.variables, *(v for o in [model.optimizer, *more] for v in o.variables)]:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    run.close()
    kept = {
        f"{type(other).__name__}.{name}": repr(value) if not isinstance(value, list) else len(value)
        for other in others
        for name, value in vars(other).items()
        if name in ("best", "wait", "cooldown_counter", "stopped_epoch", "best_epoch")
    }
    csv = folder / "log.csv"
    return {
        "hash": digest.hexdigest(),
        "history": history.history,
        "epochs": history.epoch,
        "events": {name: value if name != "draws" else value.tolist() for name, value in events.state.items()},
        "callbacks": kept,
        "csv": csv.read_text() if csv.exists() else "",
        "resumed": resume.resumed_from,
    }


def main(folder, *names):
    """Run the cases; all of them when none is named."""
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("colabkit").addHandler(handler)
    logging.getLogger("colabkit").setLevel("INFO")
    warnings.filterwarnings("ignore", message="Your input ran out of data")  # Keras', for data of unknown length
    for name in names or CASES:
        make, steps, every = CASES[name]
        said.clear()
        base = Path(folder, name.replace(" ", "-"))
        try:
            whole = train(base / "whole", make, every)
            said.clear()
            for at in steps:
                assert train(base / "cut", make, every, at) is None, "it ended before it was interrupted"
            cut = train(base / "cut", make, every)
        except Exception:  # noqa: BLE001 - the test shows it
            print(json.dumps({"case": name, "error": traceback.format_exc(), "said": said}), flush=True)
            continue
        whole.pop("resumed")
        resumed = cut.pop("resumed")
        differs = {key: [whole[key], cut[key]] for key in whole if whole[key] != cut[key]}
        print(json.dumps({"case": name, "differs": differs, "resumed": resumed, "said": said}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
