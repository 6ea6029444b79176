"""Trainings with callbacks."""
# ruff: noqa: D103, E501

from cases.arrays import DATA

ALL = ("tensorflow", "jax", "torch")


def fit(callbacks, before="", options="epochs=4, batch_size=8, validation_data=(x[:16], y[:16])", tail=""):
    return f"""{DATA}
{before}
model = classifier(layers.Dropout(0.2))
run = ck.open_run(RUN)
history = model.fit(x, y, {options}, callbacks=[{callbacks}, run.resume()])
{tail}
"""


OWN = """
class Own(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses = []
    {more}
    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(round(float(logs["loss"]), 5))
        {then}
own = Own()
"""
STATE = """def get_state(self): return {"losses": self.losses}
    def set_state(self, state): self.losses = state["losses"]"""
CASES = {
    "EarlyStopping": (
        ALL,
        fit("keras.callbacks.EarlyStopping(patience=1, min_delta=0.5, restore_best_weights=True)"),
    ),
    "ReduceLROnPlateau": (ALL, fit("keras.callbacks.ReduceLROnPlateau(patience=0, min_delta=0.5, factor=0.5)")),
    "LearningRateScheduler": (ALL, fit("keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)")),
    "warm-up by batch": (
        ALL,
        fit(
            "Warm()",
            """
class Warm(keras.callbacks.Callback):
    stateless = True
    def on_train_batch_begin(self, batch, logs=None):
        steps = int(ops.convert_to_numpy(self.model.optimizer.iterations))
        self.model.optimizer.learning_rate = 0.01 * min(1.0, (steps + 1) / 10)
""",
        ),
    ),
    "ModelCheckpoint": (
        ALL,
        fit("keras.callbacks.ModelCheckpoint(RUN + '-best.weights.h5', save_best_only=True, save_weights_only=True)"),
    ),
    "CSVLogger": (
        ALL,
        fit("keras.callbacks.CSVLogger(RUN + '.csv')", tail="COMPARE = ['open(RUN + \".csv\").read()']"),
    ),
    "SwapEMAWeights": (
        ("tensorflow", "torch"),
        fit("keras.callbacks.SwapEMAWeights(swap_on_epoch=True)").replace(
            "classifier(layers.Dropout(0.2))",
            "classifier(layers.Dropout(0.2), optimizer=keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=None))",
        ),
    ),
    "own callback with a state": (
        ALL,
        fit("own", OWN.format(more=STATE, then="pass"), tail="COMPARE = ['own.losses']"),
    ),
    "own callback without a state": (
        ("tensorflow",),
        fit("own", OWN.format(more="pass", then="pass"), tail="COMPARE = ['own.losses']"),
    ),
    "own callback that draws": (
        ALL,
        fit(
            "own",
            OWN.format(more=STATE, then="np.random.rand(); random.random()"),
        ),
    ),
    "TerminateOnNaN and Lambda": (
        ("tensorflow",),
        fit("keras.callbacks.TerminateOnNaN(), keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)"),
    ),
}
