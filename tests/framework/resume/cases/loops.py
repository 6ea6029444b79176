"""Several fits in one script, fits in a loop, and loops without `fit`."""
# ruff: noqa: D103, E501

from cases.arrays import DATA

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
TORCH = ("torch",)
LOSS = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"


def two_fits(first, second, between="", options="epochs=2, batch_size=8", build="classifier(layers.Dropout(0.2))"):
    return f"""{DATA}
run = ck.open_run(RUN)
model = {build}
first = model.fit(x, y, {options}, callbacks=[{first}])
{between}
history = model.fit(x, y, {options}, callbacks=[{second}])
COMPARE = ["first.history"]
"""


THAW = f"model.layers[0].trainable = not model.layers[0].trainable\nmodel.compile(keras.optimizers.Adam(1e-3), {LOSS})"
FROZEN = f"""
def frozen():
    model = classifier(layers.Dropout(0.2))
    model.layers[0].trainable = False
    model.compile("adam", {LOSS})
    return model
"""
FOLDS = """
scores = []
for fold in range(3):
    {seed}
    held = np.arange(48) % 3 == fold
    model = classifier(layers.Dropout(0.2))
    history = model.fit({data}, epochs=2, callbacks=[{resume}]{more})
    scores.append(history.history["loss"])
COMPARE = ["scores"]
"""
SEARCH = """
scores = {{}}
for rate in (0.1, 0.01):
    for units in (4, 8):
        model = keras.Sequential([layers.Input((6,)), layers.Dense({units}), layers.Dropout(0.1), layers.Dense(3)])
        model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        history = model.fit(x, y, epochs=2, batch_size=8, callbacks=[{resume}])
        scores[rate, units] = history.history["loss"]
COMPARE = ["scores"]
"""
ON_BATCH = """
import random
run = ck.open_run(RUN)
model = classifier(layers.Dropout(0.2))
model.optimizer.build(model.trainable_variables)
torch = __import__("torch") if keras.backend.backend() == "torch" else None
drawn = {"python": random.getstate(), "numpy": np.random.get_state()} | ({"torch": torch.get_rng_state()} if torch else {})
saved = run.restore(into={"model": model, "optimizer": model.optimizer, "losses": []} | drawn)
start, losses = (saved.step, list(saved.state["losses"])) if saved else (0, [])
if saved:
    random.setstate(saved.state["python"])
    np.random.set_state(saved.state["numpy"])
    if torch:
        torch.set_rng_state(saved.state["torch"])
for step in range(start, 12):
    at = np.random.default_rng(step).integers(0, 48, 8)
    losses.append(float(model.train_on_batch(x[at], y[at])[0]))
    drawn = {"python": random.getstate(), "numpy": np.random.get_state()} | ({"torch": torch.get_rng_state()} if torch else {})
    run.save({"model": model, "optimizer": model.optimizer, "losses": losses} | drawn, step=step + 1)
run.close()
history = None
COMPARE = ["losses"]
"""
TASKS = """
import tensorflow as tf
{seed}
model = classifier()
optimizer, history, seen = keras.optimizers.SGD(0.1), None, []
for turn in ck.open_run(RUN).loop(range(8), model=model, optimizer=optimizer, seen=seen):
    before, rows = model.get_weights(), random.sample(range(48), 12)
    for inputs, targets in tf.data.Dataset.from_tensor_slices((x[rows], y[rows])).shuffle(12).batch(3):
        noisy = inputs + tf.random.normal(tf.shape(inputs), stddev=0.1)
        with tf.GradientTape() as tape:
            loss = keras.losses.sparse_categorical_crossentropy(targets, model(noisy), from_logits=True)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights))
    model.set_weights([old + (new - old) * (1 - turn / 8) for old, new in zip(before, model.get_weights())])
    seen.append(float(tf.reduce_mean(loss)))
COMPARE = ["seen"]
"""
BESIDE = """
import tensorflow as tf
batches = [(x[at:at + 8], y[at:at + 8]) for at in range(0, 48, 8)]
model, optimizer, history = classifier(), keras.optimizers.Adam(), None
other, second, measured, summed = classifier(), keras.optimizers.RMSprop(), keras.metrics.Mean(), tf.Variable(0.0)
@tf.function
def step(inputs, targets):
    with tf.GradientTape() as tape, tf.GradientTape() as second_tape:
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(targets, model(inputs) + other(inputs), from_logits=True))
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights))
    {changes}
    return loss
means = []
loop = ck.open_run(RUN).loop(batches, epochs=2, model=model, optimizer=optimizer)
for epoch in loop.each_epoch():
    mean = keras.metrics.Mean()
    for inputs, targets in loop:
        mean.update_state(step(inputs, targets))
    means.append(float(mean.result()))
COMPARE = ["means", "float(measured.result())", "float(summed)", "[each.tolist() for each in other.get_weights()]", "[np.array(each).tolist() for each in second.variables]"]
"""
ON_TORCH = """
import torch
batches = [(x[at:at + 8], torch.as_tensor(y[at:at + 8])) for at in range(0, 48, 8)]
model, optimizer, history = classifier(), keras.optimizers.Adam(), None
other, second, measured = classifier(), keras.optimizers.RMSprop(), keras.metrics.Mean()
for inputs, targets in ck.open_run(RUN).loop(batches, epochs=2, model=model, optimizer=optimizer):
    model.zero_grad(), other.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(inputs) + other(inputs), targets)
    loss.backward()
    with torch.no_grad():
        for each, by in ((model, optimizer), (other, second)):
            by.apply([weight.value.grad for weight in each.trainable_weights], each.trainable_weights)
    measured.update_state(loss.detach())
COMPARE = ["float(measured.result())", "[each.tolist() for each in other.get_weights()]", "[np.array(each.value.detach()).tolist() for each in second.variables]"]
"""
ON_JAX = """
import collections, types
import jax, jax.numpy as jnp
Moments = collections.namedtuple("Moments", ["count", "mean"])
@jax.tree_util.register_pytree_node_class
class State:  # as a TrainState: it holds a function
    def __init__(self, apply, params, moments):
        self.apply, self.params, self.moments = apply, params, moments
    def tree_flatten(self):
        return (self.params, self.moments), self.apply
    @classmethod
    def tree_unflatten(cls, apply, parts):
        return cls(apply, *parts)
    def loss(self, params, inputs, targets):
        logits = jax.nn.log_softmax(self.apply(params, inputs))
        return -jnp.take_along_axis(logits, targets[:, None], 1).mean()
batches = [(x[at:at + 8], y[at:at + 8]) for at in range(0, 48, 8)]
key = jax.random.key(random.randrange(10**9))
params = {"w": jax.random.normal(key, (6, 3)), "b": [jnp.zeros(3)]}
state = State(lambda params, inputs: inputs @ params["w"] + params["b"][0], params, Moments(jnp.zeros((), int), params))
averaged, losses, best = params, [], None
@jax.jit
def step(state, averaged, key, inputs, targets):
    key, noise = jax.random.split(key)
    inputs = inputs + jax.random.normal(noise, inputs.shape)
    loss, gradients = jax.value_and_grad(state.loss)(state.params, inputs, targets)
    mean = jax.tree.map(lambda old, new: 0.9 * old + new, state.moments.mean, gradients)
    params = jax.tree.map(lambda old, change: old - 0.1 * change, state.params, mean)
    averaged = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, averaged, params)
    return State(state.apply, params, Moments(state.moments.count + 1, mean)), averaged, key, loss
for inputs, targets in ck.open_run(RUN).loop(batches, epochs=3):
    state, averaged, key, loss = step(state, averaged, key, inputs, targets)
    losses.append(loss)
    if best is None or loss < best[0]:
        best = loss, state.params
arrays = jax.tree.leaves((state, averaged, jax.random.key_data(key), losses, best))
model, history = types.SimpleNamespace(variables=list(map(np.asarray, arrays)), optimizer=None), None
COMPARE = ["type(state.moments).__name__", "[type(each).__name__ for each in losses]"]
"""
# At first the averages, and the weights of the target, are the very dict of the weights.
SHARED_ON_JAX = ON_JAX.replace(
    "averaged, losses, best = params, [], None",
    "losses = []\nall = {'state': state, 'pair': (params, params), 'params': params}",
)
SHARED_ON_JAX = (
    SHARED_ON_JAX[: SHARED_ON_JAX.index("for inputs, targets in ck")].replace("[], None", "[]")
    + """
for inputs, targets in ck.open_run(RUN).loop(batches, epochs=3, all=all):
    all["state"], target, key, loss = step(all["state"], all["pair"][1], key, inputs, targets)
    all["pair"] = all["state"].params, target
    all["params"] = jax.tree.map(lambda array: array + 1, all["params"])
arrays = jax.tree.leaves((all, jax.random.key_data(key)))
model, history = types.SimpleNamespace(variables=list(map(np.asarray, arrays)), optimizer=None), None
"""
)
SECOND = "second.apply_gradients(zip(second_tape.gradient(loss, other.trainable_weights), other.trainable_weights))"
SHADOW = "[shadow.assign(0.9 * shadow + 0.1 * each) for shadow, each in zip(other.weights, model.weights)]"
CASES = {
    "freeze, fit, thaw, fit in phases": (
        ALL,
        two_fits("run.phase('head').resume()", "run.phase('fine-tune').resume()", THAW, build="frozen()").replace(
            "run = ck", FROZEN + "run = ck"
        ),
    ),
    "freeze, fit, thaw, fit without phases": (
        ALL,
        two_fits("run.resume()", "run.resume()", THAW, build="frozen()").replace("run = ck", FROZEN + "run = ck"),
    ),
    "two fits in two runs": (
        ALL,
        two_fits("run.resume()", "ck.open_run(RUN + '-second').resume()", THAW, build="frozen()").replace(
            "run = ck", FROZEN + "run = ck"
        ),
    ),
    "the same fit twice, more epochs": (
        ALL,
        two_fits("run.resume()", "run.resume()").replace(
            "history = model.fit(x, y, epochs=2", "history = model.fit(x, y, epochs=4"
        ),
    ),
    "the same fit twice, no more epochs": (ALL, two_fits("run.resume()", "run.resume()")),
    "the same model twice in phases": (ALL, two_fits("run.phase('one').resume()", "run.phase('two').resume()")),
    "another learning rate in a second fit": (
        TF,
        two_fits(
            "run.resume()", "run.resume()", f"model.compile(keras.optimizers.Adam(1e-4), {LOSS}, metrics=['accuracy'])"
        ),
    ),
    "epoch by epoch in a loop": (
        ALL,
        DATA
        + """
run = ck.open_run(RUN)
model = classifier(layers.Dropout(0.2))
losses = []
for epoch in range(3):
    history = model.fit(x, y, initial_epoch=epoch, epochs=epoch + 1, batch_size=8, callbacks=[run.resume()])
    losses.append(history.history["loss"][-1])
COMPARE = ["losses"]
""",
    ),
    "a loop of JAX that assigns its state anew, by names alone": (("jax",), DATA + ON_JAX),
    "a loop of JAX whose averages are its weights at first": (("jax",), DATA + SHARED_ON_JAX),
    "epoch by epoch in a loop, evaluated beside": (
        TF,
        DATA
        + """
run = ck.open_run(RUN)
model = classifier(layers.Dropout(0.2))
losses, scores = [], []
for epoch in range(4):
    history = model.fit(x, y, epochs=epoch + 1, batch_size=8, callbacks=[run.resume()])
    losses.append(history.history["loss"][-1])
    scores.append(model.evaluate(x, y, verbose=0)[0])
COMPARE = ["losses", "scores"]
""",
    ),
    "epoch by epoch in a loop, epochs=1 each": (
        TF,
        DATA
        + """
run = ck.open_run(RUN)
model = classifier(layers.Dropout(0.2))
for epoch in range(3):
    history = model.fit(x, y, epochs=1, batch_size=8, callbacks=[run.resume()])
""",
    ),
    "folds in phases": (
        ALL,
        DATA
        + "run = ck.open_run(RUN)"
        + FOLDS.format(
            seed="pass",
            data="x[~held], y[~held]",
            resume="run.phase(f'fold-{fold}').resume()",
            more=", batch_size=8, validation_data=(x[held], y[held])",
        ),
    ),
    "folds in phases, seeded": (
        ALL,
        DATA
        + "run = ck.open_run(RUN)"
        + FOLDS.format(
            seed="keras.utils.set_random_seed(fold)",
            data="x[~held], y[~held]",
            resume="run.phase(f'fold-{fold}').resume()",
            more=", batch_size=8",
        ),
    ),
    "folds in phases on tf.data": (
        TF,
        DATA
        + "import tensorflow as tf\nrun = ck.open_run(RUN)"
        + FOLDS.format(
            seed="pass",
            data="tf.data.Dataset.from_tensor_slices((x[~held], y[~held])).shuffle(32).batch(8)",
            resume="run.phase(f'fold-{fold}').resume()",
            more="",
        ),
    ),
    "folds in one run": (
        ALL,
        DATA
        + "run = ck.open_run(RUN)"
        + FOLDS.format(seed="pass", data="x[~held], y[~held]", resume="run.resume()", more=", batch_size=8"),
    ),
    "folds in one run on tf.data": (
        TF,
        DATA
        + "import tensorflow as tf\nrun = ck.open_run(RUN)"
        + FOLDS.format(
            seed="pass",
            data="tf.data.Dataset.from_tensor_slices((x[~held], y[~held])).batch(8)",
            resume="run.resume()",
            more="",
        ),
    ),
    "folds in one run, opened each time": (
        TF,
        DATA + FOLDS.format(seed="pass", data="x, y", resume="ck.open_run(RUN).resume()", more=", batch_size=8"),
    ),
    "folds in runs of their own": (
        ALL,
        DATA
        + FOLDS.format(
            seed="pass",
            data="x[~held], y[~held]",
            resume="ck.open_run(f'{RUN}-{fold}').resume()",
            more=", batch_size=8",
        ),
    ),
    "a search in phases": (
        ALL,
        DATA + "run = ck.open_run(RUN)" + SEARCH.format(units="units", resume="run.phase(f'{rate}-{units}').resume()"),
    ),
    "a search in one run": (TF, DATA + "run = ck.open_run(RUN)" + SEARCH.format(units="units", resume="run.resume()")),
    "a search for the rate in one run": (
        TF,
        DATA + "run = ck.open_run(RUN)" + SEARCH.format(units="8", resume="run.resume()"),
    ),
    "a fit in a function, called twice": (
        TF,
        DATA
        + """
def trained(name, **options):
    model = classifier(layers.Dropout(0.2))
    return model, model.fit(x, y, epochs=2, batch_size=8, callbacks=[ck.open_run(RUN + name).resume()], **options)
first, _ = trained("")
model, history = trained("-second", validation_split=0.25)
""",
    ),
    "pre-training of an autoencoder, then a classifier": (
        ALL,
        DATA
        + f"""
run = ck.open_run(RUN)
encoder = keras.Sequential([layers.Input((6,)), layers.Dense(4, "relu"), layers.Dropout(0.1)])
auto = keras.Sequential([encoder, layers.Dense(6)])
auto.compile("adam", "mse")
auto.fit(x, x, epochs=2, batch_size=8, callbacks=[run.phase("encoder").resume()])
encoder.trainable = False
model = keras.Sequential([encoder, layers.Dense(3)])
model.compile("adam", {LOSS})
history = model.fit(x, y, epochs=2, batch_size=8, callbacks=[run.phase("classifier").resume()])
""",
    ),
    "a phase by run.fit": (
        TF,
        DATA
        + "model = classifier(layers.Dropout(0.2))\nhistory = ck.open_run(RUN).phase('head').fit(model, x, y, epochs=3, batch_size=8)\n",
    ),
    "a phase with at=epoch": (
        TF,
        DATA
        + "model = classifier(layers.Dropout(0.2))\nhistory = model.fit(x, y, epochs=3, batch_size=8, callbacks=[ck.open_run(RUN).resume(at='epoch')])\n",
    ),
    "train_on_batch with run.save": (ALL, DATA + ON_BATCH),
    "GAN with two models and two optimizers, by run.loop": (
        TF,
        DATA
        + """
import tensorflow as tf
maker = keras.Sequential([layers.Input((6,)), layers.Dense(6), layers.Dropout(0.5)])
critic = keras.Sequential([layers.Input((12,)), layers.Dense(4), layers.Dense(1)])
g_optimizer, d_optimizer = keras.optimizers.Adam(0.01, beta_1=0.5), keras.optimizers.Adam(0.02, beta_1=0.5)
@tf.function
def step(real):
    with tf.GradientTape() as g_tape, tf.GradientTape() as d_tape:
        fake = maker(real, training=True)
        yes, no = critic(tf.concat([real, real], 1)), critic(tf.concat([real, fake], 1))
        g_loss, d_loss = ops.mean(ops.softplus(-no)), ops.mean(ops.softplus(-yes)) + ops.mean(ops.softplus(no))
    for tape, loss, part, by in ((g_tape, g_loss, maker, g_optimizer), (d_tape, d_loss, critic, d_optimizer)):
        by.apply_gradients(zip(tape.gradient(loss, part.trainable_variables), part.trainable_variables))
    return g_loss
model, history, losses = maker, None, []
model.optimizer = None
batches = [x[at:at + 8] for at in range(0, 48, 8)]
parts = {"maker": maker, "critic": critic, "g_optimizer": g_optimizer, "d_optimizer": d_optimizer}
for real in ck.open_run(RUN).loop(batches, epochs=2, losses=losses, **parts):
    losses.append(float(step(real)))
COMPARE = ["losses", "[[each.numpy().tolist() for each in part.variables] for part in parts.values()]"]
""",
    ),
    "an image that is a variable, by run.loop": (
        TF,
        DATA
        + """
import tensorflow as tf
image, seen = tf.Variable(x[:8]), []
optimizer = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.9))
@tf.function
def gradient():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(tf.reduce_mean(image, 0) - x[9]))
    return tape.gradient(loss, image)
for number in ck.open_run(RUN).loop(range(8), image=image, optimizer=optimizer, seen=seen):
    optimizer.apply_gradients([(gradient(), image)])
    seen.append(float(image[0, 0]))
model, history = classifier(), None
model.set_weights([np.zeros(each.shape) for each in model.weights])
COMPARE = ["seen", "image.numpy().tolist()", "int(optimizer.iterations)"]
""",
    ),
    "a second model and its optimizer, not given to run.loop": (TF, DATA + BESIDE.format(changes=SECOND)),
    "a second model of Keras on torch, its optimizer and a metric, not given to run.loop": (TORCH, DATA + ON_TORCH),
    "averaged weights, a metric and a variable, not given to run.loop": (
        TF,
        DATA + BESIDE.format(changes=SHADOW + "; measured(loss); summed.assign_add(loss)"),
    ),
    "frozen model drawn anew, not given to run.loop": (TF, DATA + BESIDE.format(changes="")),
    "meta-learning on tasks drawn in the loop, by run.loop": (TF, DATA + TASKS.format(seed="pass")),
    "meta-learning on tasks drawn in the loop, seeded": (TF, DATA + TASKS.format(seed="tf.random.set_seed(1)")),
    "tf.random in a tf.function, by run.loop": (
        TF,
        DATA
        + """
import tensorflow as tf
model = classifier()
optimizer = keras.optimizers.Adam(0.01)
@tf.function
def step(inputs, targets):
    with tf.GradientTape() as tape:
        noisy = inputs + tf.random.normal(tf.shape(inputs), stddev=0.1)
        loss = keras.losses.sparse_categorical_crossentropy(targets, model(noisy), from_logits=True)
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights))
batches, history = [(x[at:at + 8], y[at:at + 8]) for at in range(0, 48, 8)], None
for inputs, targets in ck.open_run(RUN).loop(batches, epochs=2, model=model, optimizer=optimizer):
    step(inputs, targets)
""",
    ),
    "a loop of torch with run.loop": (
        TORCH,
        DATA
        + """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 3))
    def forward(self, inputs):
        return self.layers(inputs)
net = Net()
optimizer = torch.optim.AdamW(net.parameters(), 0.01)
pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
loader = torch.utils.data.DataLoader(pairs, batch_size=8, shuffle=True)
run = ck.open_run(RUN)
for inputs, targets in run.loop(loader, epochs=3, net=net, optimizer=optimizer):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(inputs), targets).backward()
    optimizer.step()
model, history = classifier(), None
COMPARE = ["[value.tolist() for value in net.state_dict().values()]"]
""",
    ),
}
