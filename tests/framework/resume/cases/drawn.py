"""What a script without a seed draws before its first fit: models of later fits, arrays in functions of a model."""

from cases.arrays import DATA

ALL = ("tensorflow", "jax", "torch")
NOT_TORCH = ALL[:2]  # torch takes no NumPy array beside a tensor that needs a gradient
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
    "model of a later phase with a Lambda over a closure": (
        ALL,
        later(
            CLOSURE
            + f"""
model = keras.Sequential([layers.Input((6,)), projected(4), layers.Dense(3)])
model.compile("adam", {LOSS})
"""
        ),
    ),
    "data of a later phase": (
        ALL,
        later(
            "model = classifier(layers.Dropout(0.3))\nnoisy = x + np.random.normal(size=x.shape).astype('float32')",
            arguments="noisy, y",
        ),
    ),
    "partial over an array": (
        NOT_TORCH,
        function(
            "layers.Dense(4, activation=functools.partial(bent, slopes=np.random.rand(4).astype('float32')))",
            "import functools\ndef bent(inputs, slopes):\n    return ops.maximum(inputs * slopes, inputs)\n",
        ),
    ),
    "regularizer with an array": (
        ALL,
        function(
            "layers.Dense(4, kernel_regularizer=Near())",
            """
class Near(keras.regularizers.Regularizer):
    def __init__(self):
        self.goal = np.random.normal(size=(6, 4)).astype("float32")
    def __call__(self, kernel):
        return ops.mean(ops.square(kernel - self.goal))
""",
        ),
    ),
    "metric over an array of the notebook": (
        NOT_TORCH,
        function(
            "layers.Dense(4)",
            """
chosen = np.random.rand(3).astype("float32")
def weighed(y_true, y_pred):
    return ops.mean(y_pred * chosen, axis=-1)
""",
        ).replace(f'"adam", {LOSS}', f'"adam", {LOSS}, metrics=[weighed]'),
    ),
    "callback over an array of its own": (
        ALL,
        function(
            "layers.Dense(4)",
            """
class Scored(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.rows = np.random.permutation(48)[:8]
    def on_epoch_end(self, epoch, logs=None):
        logs["own"] = float(np.mean(self.model.predict(x[self.rows], verbose=0)))
""",
        ).replace("[run.resume()]", "[Scored(), run.resume()]"),
    ),
    "weights of samples drawn": (
        ALL,
        function("layers.Dense(4)").replace("batch_size=8,", "batch_size=8, sample_weight=np.random.rand(48),"),
    ),
    "weights of classes drawn": (
        ALL,
        function("layers.Dense(4)").replace(
            "batch_size=8,", "batch_size=8, class_weight={at: random.random() for at in range(3)},"
        ),
    ),
    "rate drawn": (
        ALL,
        function("layers.Dense(4)").replace(
            'compile("adam"', "compile(keras.optimizers.Adam(10 ** np.random.uniform(-3, -2))"
        ),
    ),
    "schedule of a class with a number drawn": (
        ALL,
        function(
            "layers.Dense(4)",
            """
class Own(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self):
        self.base = np.random.uniform(0.001, 0.01)
    def __call__(self, step):
        return self.base / (1.0 + 0.1 * ops.cast(step, "float32"))
""",
        ).replace('compile("adam"', "compile(keras.optimizers.Adam(Own())"),
    ),
    "dropout of a rate drawn": (ALL, function("layers.Dropout(random.uniform(0.1, 0.5))")),
    "loss of a closure with a number drawn": (
        ALL,
        function(
            "layers.Dense(4)",
            """
def smooth(alpha):
    def loss(y_true, y_pred):
        y_true = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), 3) * (1 - alpha) + alpha / 3
        return keras.losses.categorical_crossentropy(y_true, y_pred, from_logits=True)
    return loss
""",
        ).replace(LOSS, "smooth(random.uniform(0.0, 0.2))"),
    ),
    "layer that keeps a list of floats": (
        ALL,
        function(
            "Scale()",
            """
class Scale(layers.Layer):
    def __init__(self):
        super().__init__()
        self.scales = [random.uniform(0.5, 1.5) for _ in range(6)]
    def call(self, inputs):
        return inputs * ops.convert_to_tensor(self.scales)
""",
        ),
    ),
    "wrapped loss over an array of the notebook": (
        NOT_TORCH,
        function(
            "layers.Dense(4)",
            """
costs = np.random.rand(3).astype("float32") + 0.5
def costly(y_true, y_pred):
    y_true = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), 3)
    return ops.mean(ops.square(y_true - y_pred) * costs, axis=-1)
class Costly(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return costly(y_true, y_pred)
""",
        ).replace(f'"adam", {LOSS}', '"adam", Costly(), metrics=[keras.metrics.MeanMetricWrapper(costly)]'),
    ),
    "masks of a layer in a dict": (
        ALL,
        function(
            "Masked()",
            """
class Masked(layers.Layer):
    def __init__(self):
        super().__init__()
        self.masks = {"one": np.random.rand(6).astype("float32"), "two": np.random.rand(6).astype("float32")}
    def call(self, inputs):
        return inputs * self.masks["one"] + self.masks["two"]
""",
        ),
    ),
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
        NOT_TORCH,
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
        NOT_TORCH,
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
FROM_A_FILE = f"""{DATA}
import tempfile
run = ck.open_run(RUN)
model = classifier(layers.Dropout(0.2))
initial = os.path.join(tempfile.mkdtemp(), 'initial.weights.h5')
model.save_weights(initial)
kept = {{}}
for name, weights in (("plain", None), ("weighted", {{0: 1.0, 1: 2.0, 2: 3.0}})):
    model = classifier(layers.Dropout(0.2))
    model.load_weights(initial)
    options = dict(batch_size=8, class_weight=weights, callbacks=[run.phase(name).resume()])
    history = kept[name] = model.fit(x, y, epochs=2, **options)
COMPARE = ["{{name: each.history for name, each in kept.items()}}"]
"""
ROWS = """
class Rows(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self.shift, self.turned = random.randint(1, 10**6), bool(random.randint(0, 1))
    def __len__(self):
        return 6
    def __getitem__(self, index):
        at = slice(index * 8, index * 8 + 8)
        return x[at] * self.shift * (-1 if self.turned else 1) + pause, y[at]
pause = random.randint(1, 10**6)
"""
CASES |= {
    "weights of a file that the script writes first, in each phase": (
        ALL,
        FROM_A_FILE,
    ),
    "PyDataset with whole numbers drawn": (
        ALL,
        f"""{DATA}{ROWS}
model = classifier()
run = ck.open_run(RUN)
history = model.fit(Rows(), epochs=3, callbacks=[run.resume()])
""",
    ),
}
