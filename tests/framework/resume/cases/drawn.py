"""What a script without a seed draws before its first fit: models of later fits, arrays in functions of a model."""

from cases.arrays import DATA

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
LOSS = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
FIT = "epochs=2, batch_size=8"


def later(build, first="classifier(layers.Dropout(0.2))", between="", name="model", arguments="x, y", run=None):
    """Train one model, then another that was made before."""
    second = run or "run.phase('fine-tune')"
    return f"""{DATA}
run = ck.open_run(RUN)
head = {first}
{build}
one = head.fit(x, y, {FIT}, callbacks=[run.phase("head").resume()])
{between}
history = {name}.fit({arguments}, {FIT}, callbacks=[{second}.resume()])
model = {name}
COMPARE = ["one.history", "[each.tolist() for each in head.get_weights()]"]
"""


def function(layer, before=""):
    """Train a model with a layer that uses an array of the notebook."""
    return f"""{DATA}
{before}
model = keras.Sequential([layers.Input((6,)), {layer}, layers.Dense(3)])
model.compile("adam", {LOSS})
run = ck.open_run(RUN)
history = model.fit(x, y, epochs=3, batch_size=8, callbacks=[run.resume()])
COMPARE = ["model.predict(x, verbose=0).tolist()"]
"""


SUBCLASS = f"""
class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.drop, self.two = layers.Dense(4), layers.Dropout(0.3), layers.Dense(3)
    def call(self, inputs, training=False):
        return self.two(self.drop(self.one(inputs), training=training))
model = Own()
model.compile("adam", {LOSS})
"""
MEMBERS = f"""{DATA}
run = ck.open_run(RUN)
members = [classifier(layers.Dropout(0.2)) for _ in range(3)]
losses = []
for number, model in enumerate(members):
    history = model.fit(x, y, {FIT}, callbacks=[run.phase(f"member-{{number}}").resume()])
    losses.append(history.history["loss"])
COMPARE = ["losses", "[each.tolist() for model in members for each in model.get_weights()]"]
"""
IN_MAIN = f"""{DATA}
def main():
    run = ck.open_run(RUN)
    models = {{"teacher": classifier(), "student": classifier(layers.Dropout(0.2))}}
    kept = {{}}
    for name, each in models.items():
        kept[name] = each.fit(x, y, {FIT}, callbacks=[run.phase(name).resume()])
    return models["student"], kept["student"]
model, history = main()
"""
IN_OBJECT = f"""{DATA}
class Experiment:
    def __init__(self):
        self.run = ck.open_run(RUN)
        self.teacher, self.student = classifier(), classifier(layers.Dropout(0.2))
    def go(self):
        self.teacher.fit(x, y, {FIT}, callbacks=[self.run.phase("teacher").resume()])
        return self.student.fit(x, y, {FIT}, callbacks=[self.run.phase("student").resume()])
experiment = Experiment()
history, model = experiment.go(), experiment.student
"""
SHARED = f"""
encoder = keras.Sequential([layers.Input((6,)), layers.Dense(4, "relu"), layers.Dropout(0.1)])
auto = keras.Sequential([encoder, layers.Dense(6)])
auto.compile("adam", "mse")
model = keras.Sequential([encoder, layers.Dense(3)])
model.compile("adam", {LOSS})
"""
CLOSURE = """
def projected(size):
    weights = np.random.normal(size=(6, size)).astype("float32")
    return layers.Lambda(lambda inputs: ops.matmul(inputs, weights))
"""
CASES = {
    "model of a later phase": (ALL, later("model = classifier(layers.Dropout(0.3))")),
    "model of a later phase, not built": (ALL, later(SUBCLASS)),
    "model of a later run": (
        ALL,
        later("model = classifier(layers.Dropout(0.3))", run="ck.open_run(RUN + '-second')"),
    ),
    "encoder that two models share, made at the start": (
        ALL,
        DATA
        + "run = ck.open_run(RUN)"
        + SHARED
        + f"""
one = auto.fit(x, x, {FIT}, callbacks=[run.phase("auto").resume()])
history = model.fit(x, y, {FIT}, callbacks=[run.phase("classifier").resume()])
COMPARE = ["one.history"]
""",
    ),
    "head that is put on later": (
        ALL,
        DATA
        + f"""
run = ck.open_run(RUN)
base = keras.Sequential([layers.Input((6,)), layers.Dense(4, "relu")])
pre = keras.Sequential([base, layers.Dense(6)])
pre.compile("adam", "mse")
head = layers.Dense(3)
pre.fit(x, x, {FIT}, callbacks=[run.phase("pre").resume()])
model = keras.Sequential([base, head])
model.compile("adam", {LOSS})
history = model.fit(x, y, {FIT}, callbacks=[run.phase("classifier").resume()])
""",
    ),
    "ensemble made at the start": (ALL, MEMBERS),
    "teacher and student in main()": (ALL, IN_MAIN),
    "teacher and student of an object": (ALL, IN_OBJECT),
    "Lambda over an array of the notebook": (
        ALL,
        function(
            "layers.Lambda(lambda inputs: ops.matmul(inputs, weights))",
            'weights = np.random.normal(size=(6, 4)).astype("float32")',
        ),
    ),
    "Lambda over an array of its closure": (ALL, function("projected(4)", CLOSURE)),
    "Lambda with an array as default": (
        ALL,
        function(
            "layers.Lambda(lambda inputs, weights=weights: ops.matmul(inputs, weights))",
            'weights = np.random.normal(size=(6, 4)).astype("float32")',
        ),
    ),
    "Lambda with arguments": (
        ALL,
        function(
            "layers.Lambda(lambda inputs, weights: ops.matmul(inputs, weights), arguments={'weights': weights})",
            'weights = np.random.normal(size=(6, 4)).astype("float32")',
        ),
    ),
    "Lambda over a list of Python": (
        ALL,
        function(
            "layers.Lambda(lambda inputs: inputs * ops.convert_to_tensor(scales))",
            "scales = [random.uniform(0.5, 1.5) for _ in range(6)]",
        ),
    ),
    "Lambda over a number of the notebook": (
        ALL,
        function("layers.Lambda(lambda inputs: inputs * scale)", "scale = random.uniform(0.5, 1.5)"),
    ),
    "activation that uses an array of the notebook": (
        ALL,
        function(
            "layers.Dense(4, activation=bent)",
            """
slopes = np.random.rand(4).astype("float32")
def bent(inputs):
    return ops.maximum(inputs * slopes, inputs)
""",
        ),
    ),
    "loss that uses an array of the notebook": (
        ALL,
        function(
            "layers.Dense(4)",
            """
costs = np.random.rand(3).astype("float32") + 0.5
def costly(y_true, y_pred):
    return ops.mean(ops.square(ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), 3) - y_pred) * costs)
""",
        ).replace(LOSS, "costly"),
    ),
    "array in an operation of a functional model": (
        ALL,
        f"""{DATA}
mask = np.random.rand(6).astype("float32")
inputs = keras.Input((6,))
hidden = ops.matmul(inputs * mask, np.random.normal(size=(6, 4)).astype("float32"))
model = keras.Model(inputs, layers.Dense(3)(hidden))
model.compile("adam", {LOSS})
run = ck.open_run(RUN)
history = model.fit(x, y, epochs=3, batch_size=8, callbacks=[run.resume()])
COMPARE = ["model.predict(x, verbose=0).tolist()"]
""",
    ),
}
TYPES = """
def kinds(values):
    return [(type(value).__name__, np.asarray(value).dtype.str, np.asarray(value).tolist()) for value in values]
class Scores(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        guess = self.model.predict(x, verbose=0)
        logs["mean"], logs["per_class"] = guess.mean(), guess.mean(axis=0)
"""
CASES |= {
    "history of scores in vectors": (
        ALL,
        f"""{DATA}{TYPES}
targets = np.eye(3, dtype="float32")[y]
model = keras.Sequential([layers.Input((6,)), layers.Dense(3, "softmax")])
model.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score(average=None)])
run = ck.open_run(RUN)
history = model.fit(x, targets, epochs=3, batch_size=8, callbacks=[Scores(), run.resume()])
COMPARE = ["{{key: kinds(values) for key, values in history.history.items()}}"]
""",
    ),
    "what evaluate and the metrics give afterwards": (
        ALL,
        f"""{DATA}
model = classifier(layers.Dropout(0.2), metrics=("accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)))
run = ck.open_run(RUN)
history = model.fit(x, y, epochs=3, batch_size=8, validation_data=(x[:16], y[:16]), callbacks=[run.resume()])
measured = {{key: np.asarray(value).tolist() for key, value in model.get_metrics_result().items()}}
named = [metric.name for metric in model.metrics], model.metrics_names
state = [ops.convert_to_numpy(each).tolist() for each in model.metrics_variables]
epochs = history.epoch, history.params, model.stop_training, float(ops.convert_to_numpy(model.optimizer.learning_rate))
tested = model.evaluate(x, y, verbose=0)
COMPARE = ["measured", "named", "state", "epochs", "tested", "model.history.history"]
""",
    ),
    "what the metrics give afterwards, without validation": (
        ALL,
        f"""{DATA}
model = classifier(layers.Dropout(0.2))
run = ck.open_run(RUN)
history = model.fit(x, y, epochs=3, batch_size=8, callbacks=[run.resume()])
measured = {{key: np.asarray(value).tolist() for key, value in model.get_metrics_result().items()}}
state = [ops.convert_to_numpy(each).tolist() for each in model.metrics_variables]
COMPARE = ["measured", "state"]
""",
    ),
}
