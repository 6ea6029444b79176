"""Loops of JAX and of Keras' GradientTape that are killed; run as `jax_loops.py FOLDER KIND [KILL]`, prints a digest."""

from __future__ import annotations

import hashlib
import os
import signal
import sys

import numpy as np

import colabkit as ck

folder, kind, kill = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0


def die(loop):
    if loop.step + 1 == kill:
        run.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def jax_loop(run):
    import jax
    import jax.numpy as jnp

    key = jax.random.key(int(np.random.default_rng().integers(99)) if loop_was_begun(run) else 0)
    x = jax.random.normal(jax.random.key(7), (48, 6))
    state = {"params": {"w": jnp.zeros(6), "b": jnp.zeros(())}, "m": jnp.zeros(6), "key": key, "losses": []}

    def error(p, x, y):
        return jnp.mean((x @ p["w"] + p["b"] - y) ** 2)

    def batches():
        for at in np.random.permutation(6):
            yield x[at * 8 : at * 8 + 8]

    loop = run.loop(batches, epochs=3, state=state)
    for batch in loop:
        state["key"], sub = jax.random.split(state["key"])
        noisy = batch + jax.random.normal(sub, batch.shape) / 9
        loss, g = jax.value_and_grad(error)(state["params"], noisy, batch.sum(1))
        state["m"] = 0.9 * state["m"] + g["w"]
        p = state["params"]
        state["params"] = {"w": p["w"] - 0.1 * state["m"], "b": p["b"] - 0.1 * g["b"]}
        state["losses"].append(float(loss))
        die(loop)
    return [state["params"]["w"], state["m"], state["losses"], jax.random.key_data(state["key"])]


def stale_loop(run):
    import jax.numpy as jnp

    params = {"w": jnp.zeros(3)}
    for _ in run.loop([1, 2, 3], params=params):
        params = {"w": params["w"] + 1}
    return [params["w"]]


def tape_loop(run):
    import keras
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x, y = rng.random((48, 6), "float32"), rng.random((48, 1), "float32")
    layers = [keras.layers.Input((6,)), keras.layers.Dense(4), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    optimizer, metric = keras.optimizers.Adam(0.01), keras.metrics.Mean()
    if kind == "tf.data":
        tf.random.set_seed(5)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(48).batch(8)
    if kind == "tape":

        def data():
            return ((x[at * 8 :][:8], y[at * 8 :][:8]) for at in np.random.permutation(6))

    loop = run.loop(data, epochs=3, model=model, optimizer=optimizer, metric=metric)
    for a, b in loop:
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(model(a, training=True) - b))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        metric.update_state(loss)
        die(loop)
    return [*model.get_weights(), *[np.array(each) for each in optimizer.variables], float(metric.result())]


def loop_was_begun(run):
    return bool(run.checkpoints())


with ck.open_run(folder, every="1 steps") as run:
    if not loop_was_begun(run):
        np.random.seed(3)
        if kind in ("tape", "tf.data"):
            import keras

            keras.utils.set_random_seed(3)
    found = {"jax": jax_loop, "stale": stale_loop, "tape": tape_loop, "tf.data": tape_loop}[kind](run)
digest = hashlib.sha256(b"".join(np.asarray(each).tobytes() for each in found)).hexdigest()
print("RESULT", digest, np.random.rand())
