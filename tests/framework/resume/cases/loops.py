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
