"""Claims about a run that goes on under other circumstances: what changed is named, and its time is added up."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')

# Each variant trains one epoch more. Before some the newest checkpoint is written anew, as other packages would have
# written it.
TRAIN = """
import importlib.util, json, sys
import numpy as np, keras, colabkit as ck
from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.format import naming as manifest

run = ck.open_run(sys.argv[1])
folder = run.dir / "checkpoints"
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")


def rewrite(change):
    entry = manifest.entries(folder)[0]
    found = container.read(entry.path)
    entry.path.unlink()
    manifest.publish(folder, found.tensors, {**found.meta, **change(found.meta)}, step=entry.step)


def loss_of(way):
    module = f"{sys.argv[1]}_{way}.py"
    with open(module, "w") as file:
        file.write("import keras\\ndef loss(y, p):\\n    return keras.ops.mean(keras.ops.%s(y - p))\\n" % way)
    spec = importlib.util.spec_from_file_location("users_loss", module)
    users = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(users)
    return users.loss


def train(epochs, activation="relu", loss="square"):
    print("== training", epochs, file=sys.stderr, flush=True)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(4, activation), keras.layers.Dense(1)])
    model.compile("adam", loss_of(loss))
    model.fit(x, x[:, :1], epochs=epochs, batch_size=32, verbose=0, callbacks=[run.resume()])
    return container.verify(manifest.entries(folder)[0].path)["seconds"]


seconds = [train(1)]
rewrite(lambda meta: {"versions": {**meta["versions"], "numpy": "1.26.4", "keras": "3.5.0"}})
seconds += [train(2), train(3, activation="tanh"), train(4, loss="abs")]
rewrite(lambda meta: {"versions": {**meta["versions"], "backend": "tensorflow"},
                      "layout": {name: kind.replace("int32", "int64") for name, kind in meta["layout"].items()}})
train(5)
print(json.dumps({"seconds": seconds}))
"""


@pytest.mark.slow
def test_what_changed_is_named_and_time_adds_up(tmp_path, python):
    """Versions, a layer's setting, the code of a loss: each is named, another backend too; seconds are summed."""
    code, out, err = python(TRAIN, tmp_path / "run", KERAS_BACKEND="jax")
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    _, first, older, setting, changed, elsewhere = err.split("== training ")
    assert "changed" not in first
    assert "versions changed, so bit-for-bit equality is not promised: keras: 3.5.0 -> " in older
    assert "numpy: 1.26.4 -> " in older
    assert "changed since the state was saved, and in effect from now on: " in setting
    assert "relu -> tanh" in setting
    assert "the code changed since the checkpoint, of loss" in changed
    assert found["seconds"] == sorted(found["seconds"])
    assert len(set(found["seconds"])) == 4
    assert "backend: tensorflow -> jax" in elsewhere
