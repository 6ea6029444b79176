"""Trainings on arrays; each script is what a user writes, with `RUN` for the address of the run."""
# ruff: noqa: D103

ALL = ("tensorflow", "jax", "torch")
DATA = """
data = np.random.default_rng(3)
x, y = data.random((48, 6), "float32"), data.integers(0, 3, 48)
def classifier(*extra, optimizer="adam", metrics=("accuracy",), **options):
    model = keras.Sequential([layers.Input((6,)), layers.Dense(8, "relu"), *extra, layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=list(metrics), **options)
    return model
"""


def fit(build, arguments="x, y, epochs=3, batch_size=8", before=""):
    return f"""{DATA}
{before}
model = {build}
run = ck.open_run(RUN)
history = model.fit({arguments}, callbacks=[run.resume()])
"""


CASES = {
    "arrays": (ALL, fit("classifier()")),
    "arrays, uneven batches": (ALL, fit("classifier()", "x, y, epochs=3, batch_size=7")),
    "arrays, not shuffled": (ALL, fit("classifier()", "x, y, epochs=2, batch_size=8, shuffle=False")),
    "arrays with a seed": (ALL, fit("classifier()", before="keras.utils.set_random_seed(7)")),
    "dropout": (ALL, fit("classifier(layers.Dropout(0.3))")),
    "batch normalisation": (ALL, fit("classifier(layers.BatchNormalization())")),
    "gaussian noise": (ALL, fit("classifier(layers.GaussianNoise(0.1))")),
    "validation split": (ALL, fit("classifier()", "x, y, epochs=3, batch_size=8, validation_split=0.25")),
    "validation data": (ALL, fit("classifier()", "x, y, epochs=3, batch_size=8, validation_data=(x[:16], y[:16])")),
    "validation every second epoch": (
        ALL,
        fit("classifier()", "x, y, epochs=4, batch_size=8, validation_data=(x[:16], y[:16]), validation_freq=2"),
    ),
    "validation on a few steps": (
        ALL,
        fit("classifier()", "x, y, epochs=4, batch_size=8, validation_data=(x, y), validation_steps=2"),
    ),
    "class weights": (ALL, fit("classifier()", "x, y, epochs=2, batch_size=8, class_weight={0: 1.0, 1: 2.0, 2: 0.5}")),
    "sample weights": (ALL, fit("classifier()", "x, y, epochs=2, batch_size=8, sample_weight=np.linspace(0, 1, 48)")),
    "sgd with momentum": (ALL, fit("classifier(optimizer=keras.optimizers.SGD(0.05, momentum=0.9))")),
    "adamw with clipping": (ALL, fit("classifier(optimizer=keras.optimizers.AdamW(0.01, clipnorm=1.0))")),
    "rmsprop": (ALL, fit("classifier(optimizer='rmsprop')")),
    "schedule": (
        ALL,
        fit("classifier(optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 18)))"),
    ),
    "averaged weights": (ALL, fit("classifier(optimizer=keras.optimizers.Adam(use_ema=True, ema_momentum=0.9))")),
    "accumulated gradients": (ALL, fit("classifier(optimizer=keras.optimizers.Adam(gradient_accumulation_steps=4))")),
    "mixed float16": (
        ALL,
        fit("classifier()", before="keras.mixed_precision.set_global_policy('mixed_float16')"),
    ),
    "several steps at once": (("tensorflow", "jax"), fit("classifier(steps_per_execution=3)")),
    "jit": (("tensorflow",), fit("classifier(jit_compile=True)")),
    "eager": (("tensorflow", "torch"), fit("classifier(run_eagerly=True)")),
    "two metrics": (ALL, fit("classifier(metrics=['accuracy', keras.metrics.SparseTopKCategoricalAccuracy(2)])")),
    "best state": (
        ALL,
        fit("classifier()", "x, y, epochs=3, batch_size=8, validation_data=(x[:16], y[:16])").replace(
            "run.resume()", "run.resume(best='val_loss')"
        ),
    ),
    "run.fit": (
        ALL,
        DATA + "\nmodel = classifier(layers.Dropout(0.2))\nhistory = ck.open_run(RUN).fit(model, x, y, epochs=3)\n",
    ),
    "data without a seed": (
        ("tensorflow",),
        fit("classifier()", before="x, y = np.random.rand(48, 6).astype('float32'), np.random.randint(0, 3, 48)"),
    ),
    "steps of an epoch given": (
        ("tensorflow",),
        fit("classifier()", "x, y, epochs=3, batch_size=8, steps_per_epoch=3"),
    ),
    "shuffle by batch": (("tensorflow",), fit("classifier()", "x, y, epochs=3, batch_size=8, shuffle='batch'")),
    "augmentation layers": (
        ALL,
        """
images = np.random.default_rng(0).random((32, 8, 8, 3), "float32")
labels = np.random.default_rng(1).integers(0, 2, 32)
parts = [layers.Input((8, 8, 3)), layers.RandomFlip(), layers.RandomRotation(0.1), layers.Conv2D(4, 3)]
model = keras.Sequential([*parts, layers.GlobalAveragePooling2D(), layers.Dropout(0.2), layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
run = ck.open_run(RUN)
history = model.fit(images, labels, epochs=2, batch_size=8, callbacks=[run.resume()])
""",
    ),
}
