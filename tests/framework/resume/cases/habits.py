"""More callbacks: what people write themselves, and several of Keras' own together."""
# ruff: noqa: D103, E501

from cases.callbacks import fit

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
CYCLIC = """
class Cyclic(keras.callbacks.Callback):
    def __init__(self, low=0.001, high=0.02, size=4):
        super().__init__()
        self.low, self.high, self.size, self.turns, self.rates = low, high, size, 0, []
    def on_train_batch_end(self, batch, logs=None):
        self.turns += 1
        way = abs(self.turns / self.size - 2 * (self.turns // (2 * self.size)) - 1)
        self.rates.append(self.low + (self.high - self.low) * max(0, 1 - way))
        self.model.optimizer.learning_rate = self.rates[-1]
own = Cyclic()
"""


def own(body, base="keras.callbacks.Callback", init="", call="Own()"):
    return f"class Own({base}):\n{body}\nown = {call}\n{init}"


SLOWER = (
    "self.model.optimizer.learning_rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate)) * {factor}"
)


def keeping(start, change, factor):
    """Write a callback that keeps something, and trains slower by it."""
    return own(f"""
    def __init__(self):
        super().__init__()
        {start}
    def on_train_batch_end(self, batch, logs=None):
        {change}
        {SLOWER.format(factor=factor)}
""")


SESSION = fit(
    "own",
    """import glob, os, shutil, tempfile, time
FOLDER = f"{tempfile.gettempdir()}/own-session-{os.getppid()}-"
for left in glob.glob(FOLDER + "*"):  # a new machine has none of them
    shutil.rmtree(left)
"""
    + own("""
    def on_train_begin(self, logs=None):
        self.until, self.began, self.clock = time.time() + 3600, time.time_ns(), time.perf_counter()
        self.folder = tempfile.mkdtemp(prefix=FOLDER)
        self.turns = 0
        os.environ["THIS_SESSION"] = repr([self.until, self.began, self.clock, self.folder])
    def on_epoch_end(self, epoch, logs=None):
        open(self.folder + "/epoch.txt", "a").write(f"{epoch} ")
        if os.environ["THIS_SESSION"] != repr([self.until, self.began, self.clock, self.folder]):
            self.model.stop_training = True
"""),
)

CASES = {
    "several of Keras' own": (
        ALL,
        fit(
            "keras.callbacks.EarlyStopping(patience=1, min_delta=0.4), keras.callbacks.ReduceLROnPlateau(patience=1, min_delta=0.4), "
            "keras.callbacks.ModelCheckpoint(RUN + '-{epoch:02d}.keras'), keras.callbacks.CSVLogger(RUN + '.csv', append=True), keras.callbacks.TerminateOnNaN()",
            options="epochs=5, batch_size=8, validation_data=(x[:16], y[:16])",
            tail="COMPARE = ['open(RUN + \".csv\").read()']",
        ),
    ),
    "EarlyStopping from a later epoch": (
        ALL,
        fit(
            "keras.callbacks.EarlyStopping(monitor='val_accuracy', mode='max', patience=2, start_from_epoch=1, restore_best_weights=True)",
            options="epochs=6, batch_size=8, validation_split=0.25",
        ),
    ),
    "ReduceLROnPlateau with a pause": (
        ALL,
        fit(
            "keras.callbacks.ReduceLROnPlateau(monitor='loss', patience=1, cooldown=1, min_delta=1.0)",
            options="epochs=5, batch_size=8",
        ),
    ),
    "TensorBoard": (TF, fit("keras.callbacks.TensorBoard(RUN + '-logs', update_freq=2, write_graph=False)")),
    "ModelCheckpoint every few steps": (
        ALL,
        fit("keras.callbacks.ModelCheckpoint(RUN + '-step.weights.h5', save_freq=4, save_weights_only=True)"),
    ),
    "BackupAndRestore": (TF, fit("keras.callbacks.BackupAndRestore(RUN + '-backup')")),
    "LearningRateScheduler of the epoch": (
        ALL,
        fit("keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 * 0.9 ** epoch)"),
    ),
    "LearningRateScheduler with a closure": (
        ALL,
        fit(
            "keras.callbacks.LearningRateScheduler(make())",
            "def make():\n    turns = [0]\n    def rate(epoch, rate):\n        turns[0] += 1\n        return rate * (0.5 if turns[0] % 3 == 0 else 0.9)\n    return rate\n",
        ),
    ),
    "LearningRateScheduler with an object": (
        ALL,
        fit(
            "keras.callbacks.LearningRateScheduler(Rate())",
            "class Rate:\n    turns = 0\n    def __call__(self, epoch, rate):\n        self.turns += 1\n        return rate * (0.5 if self.turns % 3 == 0 else 0.9)\n",
        ),
    ),
    "LearningRateScheduler of a subclass": (
        ALL,
        fit(
            "Own()",
            "class Own(keras.callbacks.LearningRateScheduler):\n    def __init__(self):\n        super().__init__(self.rate)\n        self.turns = 0\n    def rate(self, epoch, rate):\n        self.turns += 1\n        return rate * (0.5 if self.turns % 3 == 0 else 0.9)\n",
        ),
    ),
    "LambdaCallback": (ALL, fit("keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)")),
    "LambdaCallback with a list of the script": (
        ALL,
        fit(
            "keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append(round(float(logs['loss']), 5)))",
            "losses = []",
            tail="COMPARE = ['losses']",
        ),
    ),
    "LambdaCallback that trains slower by a closure": (
        ("tensorflow", "torch"),  # on JAX nobody reads the model's variables while it trains
        fit(
            "keras.callbacks.LambdaCallback(on_train_batch_end=make())",
            f"def make():\n    kept = {{'turns': 0}}\n    def slower(batch, logs):\n        kept['turns'] += 1\n        {SLOWER.format(factor='(0.5 if kept[chr(116) + chr(117) + chr(114) + chr(110) + chr(115)] % 5 == 0 else 1.0)').replace('self.model', 'model')}\n    return slower\n",
        ).replace("kept[chr(116) + chr(117) + chr(114) + chr(110) + chr(115)]", "kept['turns']"),
    ),
    "LambdaCallback that counts in a global": (
        ("tensorflow", "torch"),  # on JAX nobody reads the model's variables while it trains
        fit(
            "keras.callbacks.LambdaCallback(on_train_batch_end=slower)",
            f"turns = 0\ndef slower(batch, logs):\n    global turns\n    turns += 1\n    {SLOWER.format(factor='(0.5 if turns % 5 == 0 else 1.0)').replace('self.model', 'model')}\n",
        ),
    ),
    "own callback: cyclic rate": (ALL, fit("own", CYCLIC, tail="COMPARE = ['own.rates']")),
    "own callback: a dict of the same length": (
        ALL,
        fit(
            "own",
            keeping(
                "self.kept = {'turns': 0}", "self.kept['turns'] += 1", "(0.5 if self.kept['turns'] % 5 == 0 else 1.0)"
            ),
        ),
    ),
    "own callback: a history of its own, and that of an object": (
        ALL,
        fit(
            "own",
            "class Meter:\n    def __init__(self):\n        self.history, self.loss = [], 0.0\nmeter = Meter()\n"
            + own("""
    def __init__(self):
        super().__init__()
        self.history = {}
    def on_train_batch_end(self, batch, logs=None):
        self.history.setdefault("loss", []).append(float(logs["loss"]))
        meter.loss += float(logs["loss"])
        meter.history.append(meter.loss)
"""),
            tail="COMPARE = ['own.history', 'meter.history', 'meter.loss']",
        ),
    ),
    "own callback: a list of the same length": (
        ALL,
        fit("own", keeping("self.kept = [0]", "self.kept[0] += 1", "(0.5 if self.kept[0] % 5 == 0 else 1.0)")),
    ),
    "own callback: an array": (
        ALL,
        fit("own", keeping("self.kept = np.zeros(3)", "self.kept += 1", "(0.5 if self.kept[0] % 5 == 0 else 1.0)")),
    ),
    "own callback: a queue": (
        ALL,
        fit(
            "own",
            "import collections\n"
            + keeping(
                "self.kept = collections.deque(maxlen=3)",
                "self.kept.append(float(logs['loss']))",
                "(0.9 if len(self.kept) == 3 and self.kept[-1] > self.kept[0] else 1.0)",
            ),
        ),
    ),
    "own callback: a generator": (
        ALL,
        fit("own", keeping("self.rng = np.random.default_rng()", "kept = self.rng.random()", "(0.8 + 0.2 * kept)")),
    ),
    "own callback: an object": (
        ALL,
        fit(
            "own",
            "class Counter:\n    turns = 0\n"
            + keeping("self.kept = Counter()", "self.kept.turns += 1", "(0.5 if self.kept.turns % 5 == 0 else 1.0)"),
        ),
    ),
    "own callback: a variable of Keras": (
        ALL,
        fit(
            "own",
            keeping(
                "self.kept = keras.Variable(0.0)",
                "self.kept.assign(self.kept + 1)",
                "(0.5 if int(ops.convert_to_numpy(self.kept)) % 5 == 0 else 1.0)",
            ),
        ),
    ),
    "own callback: a metric of Keras": (
        ALL,
        fit(
            "own",
            keeping(
                "self.kept = keras.metrics.Mean()",
                "self.kept.update_state(float(batch))",
                "(0.9 if float(self.kept.result()) > 2 else 1.0)",
            ),
        ),
    ),
    "own callback: weights of before": (
        ALL,
        fit(
            "own",
            own("""
    def __init__(self):
        super().__init__()
        self.slow, self.turns = None, 0
    def on_train_batch_end(self, batch, logs=None):
        self.turns += 1
        now = self.model.get_weights()
        if self.slow is None:
            self.slow = now
        if self.turns % 4 == 0:
            self.slow = [slow + 0.5 * (fast - slow) for slow, fast in zip(self.slow, now)]
            self.model.set_weights(self.slow)
"""),
        ),
    ),
    "own callback: an iterator": (
        ALL,
        fit(
            "own",
            "import itertools\n"
            + keeping("self.kept = itertools.cycle([1.0, 0.9, 0.5])", "factor = next(self.kept)", "factor"),
        ),
    ),
    "own callback: a generator function": (
        ALL,
        fit(
            "own",
            "def factors():\n    while True:\n        yield from (1.0, 0.9, 0.5)\n"
            + keeping("self.kept = factors()", "factor = next(self.kept)", "factor"),
        ),
    ),
    "own callback: a class attribute": (
        ALL,
        fit(
            "own",
            own(f"""
    turns = [0]
    def on_train_batch_end(self, batch, logs=None):
        Own.turns[0] += 1
        {SLOWER.format(factor="(0.5 if Own.turns[0] % 5 == 0 else 1.0)")}
"""),
        ),
    ),
    "own EarlyStopping with more": (
        ALL,
        fit(
            "own",
            own(
                f"""
    def __init__(self):
        super().__init__(monitor="loss", patience=50)
        self.turns = 0
    def on_train_batch_end(self, batch, logs=None):
        self.turns += 1
        {SLOWER.format(factor="(0.5 if self.turns % 5 == 0 else 1.0)")}
""",
                base="keras.callbacks.EarlyStopping",
            ),
        ),
    ),
    "own callback: dropout that grows": (
        TF,
        fit(
            "own",
            own("""
    def on_epoch_begin(self, epoch, logs=None):
        self.model.layers[1].rate = 0.1 * (epoch + 1)
"""),
        ).replace(
            "model = classifier(layers.Dropout(0.2))", "model = classifier(layers.Dropout(0.2), run_eagerly=True)"
        ),
    ),
    "own callback: dropout that grows by itself": (
        ("tensorflow", "torch"),
        fit(
            "own",
            own("""
    def on_train_batch_end(self, batch, logs=None):
        self.model.layers[1].rate = min(0.6, self.model.layers[1].rate + 0.02)
"""),
        ).replace(
            "model = classifier(layers.Dropout(0.2))", "model = classifier(layers.Dropout(0.2), run_eagerly=True)"
        ),
    ),
    "own callback: layers thawed in the second epoch": (
        ALL,
        fit(
            "own",
            own("""
    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.001 if epoch < 2 else 0.01
"""),
        ),
    ),
    "own callback: stops by the loss": (
        ALL,
        fit(
            "own",
            own("""
    def __init__(self):
        super().__init__()
        self.best, self.bad = np.inf, 0
    def on_epoch_end(self, epoch, logs=None):
        self.bad = 0 if logs["val_loss"] < self.best - 0.3 else self.bad + 1
        self.best = min(self.best, logs["val_loss"])
        if self.bad > 1:
            self.model.stop_training = True
"""),
        ),
    ),
    "own callback: predicts at the end of an epoch": (
        ALL,
        fit(
            "own",
            own("""
    def __init__(self):
        super().__init__()
        self.scores = []
    def on_epoch_end(self, epoch, logs=None):
        self.scores.append(float(np.mean(self.model.predict(x, verbose=0))))
        logs["score"] = self.scores[-1]
"""),
            tail="COMPARE = ['own.scores']",
        ),
    ),
    "own callback: the time of an epoch": (
        TF,
        fit(
            "own",
            "import time\n"
            + own("""
    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.time()
    def on_epoch_end(self, epoch, logs=None):
        self.spent = time.time() - self.began
"""),
        ),
    ),
    "own callback: an hour for each session, and a folder of its own": (ALL, SESSION),
    "own callback: the same behind the run's": (ALL, SESSION.replace("[own, run.resume()]", "[run.resume(), own]")),
    "begun at a later epoch": (
        ALL,
        fit("keras.callbacks.History()", options="initial_epoch=2, epochs=5, batch_size=8"),
    ),
    "callbacks in a CallbackList": (
        TF,
        fit("own", CYCLIC).replace(
            "callbacks=[own, run.resume()]",
            "callbacks=keras.callbacks.CallbackList([own, run.resume()], model=model, add_history=True, epochs=4, steps=6, verbose=0)",
        ),
    ),
}
