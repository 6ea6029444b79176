"""What notebooks of courses, of Keras' examples and of competitions do beside the plain `fit`."""
# ruff: noqa: D103, E501

from cases.arrays import DATA
from cases.arrays import fit as fit_arrays
from cases.callbacks import fit as fit_callbacks
from cases.habits import own
from cases.tfdata import FILES, IMAGES
from cases.tfdata import fit as fit_tfdata

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
LOSS = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
ROWS = """
class Rows(keras.utils.PyDataset):
    def __init__(self, ids, size=8, shuffle=True, **options):
        super().__init__(**options)
        self.ids, self.size, self.shuffle = ids, size, shuffle
        self.on_epoch_end()
    def __len__(self): return len(self.ids) // self.size
    def __getitem__(self, index):
        at = [self.ids[k] for k in self.indexes[index * self.size:(index + 1) * self.size]]
        return x[at], y[at]
    def on_epoch_end(self):
        self.indexes = np.arange(len(self.ids))
        if self.shuffle:
            np.random.shuffle(self.indexes)
"""


def rows(before="", options="", fit_options="epochs=3", ids="range(48)", build="classifier(layers.Dropout(0.2))"):
    return f"""{DATA}
{ROWS}
{before}
model = {build}
run = ck.open_run(RUN)
history = model.fit(Rows({ids}{options}), {fit_options}, callbacks=[run.resume()])
"""


SWA = own("""
    def __init__(self, last=2):
        super().__init__()
        self.last = last
    def on_train_begin(self, logs=None):
        self.start = self.params["epochs"] - self.last
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.start:
            self.kept = self.model.get_weights()
    def on_epoch_end(self, epoch, logs=None):
        if epoch >= self.start:
            at = epoch - self.start
            self.kept = [(old * at + new) / (at + 1) for old, new in zip(self.kept, self.model.get_weights())]
    def on_train_end(self, logs=None):
        self.model.set_weights(self.kept)
""")
SHADOW = own("""
    def __init__(self, decay=0.9):
        super().__init__()
        self.decay, self.shadow, self.backup = decay, {}, {}
    def on_train_begin(self, logs=None):
        self.shadow = {each.path: ops.convert_to_numpy(each).copy() for each in self.model.trainable_weights}
    def on_train_batch_end(self, batch, logs=None):
        for each in self.model.trainable_weights:
            self.shadow[each.path] = self.decay * self.shadow[each.path] + (1 - self.decay) * ops.convert_to_numpy(each)
    def on_test_begin(self, logs=None):
        self.backup = {each.path: ops.convert_to_numpy(each).copy() for each in self.model.trainable_weights}
        for each in self.model.trainable_weights:
            each.assign(self.shadow[each.path])
    def on_test_end(self, logs=None):
        for each in self.model.trainable_weights:
            each.assign(self.backup[each.path])
""")
FINDER = """
class Finder(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.weights, self.rates, self.losses = self.model.get_weights(), [], []
        self.model.optimizer.learning_rate = 1e-5
    def on_train_batch_end(self, batch, logs=None):
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.rates.append(rate)
        self.losses.append(logs["loss"])
        self.model.optimizer.learning_rate = rate * 2
    def on_train_end(self, logs=None):
        self.model.set_weights(self.weights)
finder = Finder()
"""
ROLLBACK = own("""
    def __init__(self, factor=0.5, patience=0):
        super().__init__()
        self.factor, self.patience, self.best, self.bad, self.weights = factor, patience, float("inf"), 0, None
    def on_epoch_end(self, epoch, logs=None):
        if logs["val_loss"] < self.best - 0.05:
            self.best, self.bad, self.weights = logs["val_loss"], 0, self.model.get_weights()
            return
        self.bad += 1
        if self.bad > self.patience:
            rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
            self.model.optimizer.learning_rate = rate * self.factor
            if self.weights is not None:
                self.model.set_weights(self.weights)
            self.bad = 0
""")
MONITOR = own("""
    def __init__(self):
        super().__init__()
        self.seeds, self.shown = keras.random.SeedGenerator(), []
    def on_epoch_end(self, epoch, logs=None):
        noise = keras.random.normal((2, 6), seed=self.seeds)
        self.shown.append(float(np.mean(self.model.predict(ops.convert_to_numpy(noise), verbose=0))))
""")
ONE_CYCLE = own(
    """
    def __init__(self, top, steps):
        super().__init__()
        self.top, self.steps, self.turn, self.kept = top, steps, 0, {}
    def on_train_batch_begin(self, batch, logs=None):
        part = self.turn / self.steps
        rate = self.top * (part / 0.3 if part < 0.3 else (1 + np.cos(np.pi * (part - 0.3) / 0.7)) / 2)
        self.model.optimizer.learning_rate = max(rate, 1e-6)
        self.turn += 1
    def on_train_batch_end(self, batch, logs=None):
        for key, value in (logs or {}).items():
            self.kept.setdefault(key, []).append(float(value))
""",
    call="Own(0.02, 24)",
)
JOURNAL = """import json
""" + own("""
    def on_train_begin(self, logs=None):
        self.rows = {}
    def on_epoch_end(self, epoch, logs=None):
        for key, value in logs.items():
            self.rows.setdefault(key, []).append(round(float(value), 6))
        with open(RUN + ".json", "w") as file:
            json.dump(self.rows, file)
""")
TWO_STREAMS = """
import tensorflow as tf
class Contrast(keras.Model):
    def __init__(self):
        super().__init__()
        self.noise = keras.Sequential([layers.GaussianNoise(0.2), layers.Dropout(0.1)])
        self.encoder = keras.Sequential([layers.Input((6,)), layers.Dense(4, "relu")])
        self.head = keras.Sequential([layers.Input((4,)), layers.Dense(4)])
        self.probe = keras.Sequential([layers.Input((4,)), layers.Dense(3)])
    def compile(self, contrast_optimizer, probe_optimizer, **options):
        super().compile(**options)
        self.contrast_optimizer, self.probe_optimizer = contrast_optimizer, probe_optimizer
        self.probe_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.c_loss, self.p_loss = keras.metrics.Mean(name="c_loss"), keras.metrics.Mean(name="p_loss")
    @property
    def metrics(self):
        return [self.c_loss, self.p_loss]
    def train_step(self, data):
        free, (inputs, targets) = data
        both = ops.concatenate([free, inputs], axis=0)
        with tf.GradientTape() as tape:
            one, two = (self.head(self.encoder(self.noise(both, training=True))) for _ in range(2))
            loss = ops.mean(ops.square(ops.normalize(one) - ops.normalize(two)))
        weights = self.encoder.trainable_weights + self.head.trainable_weights
        self.contrast_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.c_loss.update_state(loss)
        with tf.GradientTape() as tape:
            loss = self.probe_loss(targets, self.probe(self.encoder(inputs)))
        weights = self.probe.trainable_weights
        self.probe_optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.p_loss.update_state(loss)
        return {each.name: each.result() for each in self.metrics}
free = tf.data.Dataset.from_tensor_slices(x).shuffle(48).batch(8)
ds = tf.data.Dataset.zip((free, tf.data.Dataset.from_tensor_slices((x, y)).shuffle(48).batch(8))).prefetch(tf.data.AUTOTUNE)
model = Contrast()
model.compile(keras.optimizers.Adam(), keras.optimizers.Adam())
run = ck.open_run(RUN)
history = model.fit(ds, epochs=3, callbacks=[run.resume()])
"""
CURRICULUM = f"""{DATA}
import tensorflow as tf
hard = tf.Variable(0.0, trainable=False)
class Harder(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        hard.assign(0.2 * epoch)
ds = tf.data.Dataset.from_tensor_slices((x, y)).batch(8).map(lambda a, b: (a + hard, b))
model = classifier()
begin = model.get_weights()
run = ck.open_run(RUN)
history = model.fit(ds, epochs=3, callbacks=[Harder(), run.resume()])
"""
FEATURES = f"""{DATA}
import tensorflow as tf
names = {{"age": x[:, 0] * 60, "kind": np.array(["a", "b", "c"])[y], "rooms": (x[:, 1] * 5).astype("int64")}}
raw = tf.data.Dataset.from_tensor_slices((names, (x[:, 2] > 0.5).astype("float32"))).shuffle(48)
space = keras.utils.FeatureSpace(
    {{"age": "float_normalized", "kind": "string_categorical", "rooms": "integer_categorical"}}, output_mode="concat")
space.adapt(raw.batch(8).map(lambda row, label: row))
ds = raw.batch(8).map(lambda row, label: (space(row), label), num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
hidden = layers.Dropout(0.2)(layers.Dense(4, "relu")(space.get_encoded_features()))
model = keras.Model(space.get_encoded_features(), layers.Dense(1, "sigmoid")(hidden))
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
run = ck.open_run(RUN)
history = model.fit(ds, epochs=3, callbacks=[run.resume()])
"""
TRANSLATION = f"""{DATA}
import tensorflow as tf
pairs = [("i see " + word, "[start] yo veo " + word + " [end]") for word in "abcdefghijklmnop"] * 3
random.shuffle(pairs)
train = sorted(pairs)[:40]
one, two = layers.TextVectorization(30, output_sequence_length=4), layers.TextVectorization(30, output_sequence_length=5)
one.adapt([pair[0] for pair in train]); two.adapt([pair[1] for pair in train])
def form(eng, spa):
    eng, spa = one(eng), two(spa)
    return {{"encoder": eng, "decoder": spa[:, :-1]}}, spa[:, 1:]
ds = tf.data.Dataset.from_tensor_slices(([pair[0] for pair in train], [pair[1] for pair in train])).batch(8)
ds = ds.map(form).shuffle(2048).prefetch(16).cache()
encoder, decoder = keras.Input((None,), dtype="int64", name="encoder"), keras.Input((None,), dtype="int64", name="decoder")
state = layers.GRU(4)(layers.Embedding(30, 4)(encoder))
hidden = layers.Dropout(0.5)(layers.GRU(4, return_sequences=True)(layers.Embedding(30, 4, mask_zero=True)(decoder), initial_state=state))
model = keras.Model([encoder, decoder], layers.Dense(30, "softmax")(hidden))
model.compile("rmsprop", "sparse_categorical_crossentropy", metrics=["accuracy"])
run = ck.open_run(RUN)
history = model.fit(ds, epochs=3, validation_data=ds.take(2), callbacks=[run.resume()])
"""
TAPE = f"""{DATA}
import tensorflow as tf
model, optimizer, kind = classifier(layers.Dropout(0.2)), keras.optimizers.Adam(0.01), {LOSS}
@tf.function
def train_step(inputs, targets):
    with tf.GradientTape() as tape:
        loss = kind(targets, model(inputs, training=True))
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_weights), model.trainable_weights))
    return loss
ds = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(48).batch(8).prefetch(1)
run, history, losses = ck.open_run(RUN), None, []
for inputs, targets in run.loop(ds, epochs=3, model=model, optimizer=optimizer, losses=losses):
    losses.append(float(train_step(inputs, targets)))
COMPARE = ["losses", "[each.numpy().tolist() for each in optimizer.variables]"]
"""
ON_BATCH = f"""{DATA}
model = classifier(layers.Dropout(0.2), layers.BatchNormalization())
model.optimizer.build(model.trainable_variables)
run, history, losses = ck.open_run(RUN), None, []
batches = [(x[at:at + 8], y[at:at + 8]) for at in range(0, 48, 8)]
for inputs, targets in run.loop(batches, epochs=3, model=model, optimizer=model.optimizer, losses=losses):
    losses.append(float(model.train_on_batch(inputs, targets)[0]))
COMPARE = ["losses"]
"""
TRANSFER = f"""{DATA}
run = ck.open_run(RUN)
base = keras.Sequential([layers.Input((6,)), layers.Dense(8, "relu"), layers.BatchNormalization(), layers.Dense(8, "relu")])
base.trainable = False
inputs = keras.Input((6,))
model = keras.Model(inputs, layers.Dense(3)(layers.Dropout(0.2)(base(inputs, training=False))))
model.compile(keras.optimizers.Adam(1e-3), {LOSS}, metrics=["accuracy"])
loss0, accuracy0 = model.evaluate(x[:16], y[:16], verbose=0)
first = model.fit(x, y, epochs=2, batch_size=8, validation_data=(x[:16], y[:16]), callbacks=[run.phase("head").resume()])
base.trainable = True
for layer in base.layers[:1]:
    layer.trainable = False
model.compile(keras.optimizers.RMSprop(1e-4), {LOSS}, metrics=["accuracy"])
history = model.fit(x, y, epochs=4, initial_epoch=len(first.epoch), batch_size=8, validation_data=(x[:16], y[:16]),
                    callbacks=[run.phase("fine-tune").resume()])
COMPARE = ["first.history", "first.epoch", "history.epoch"]
"""
FOLDS = f"""{DATA}
import gc
run, scores, guesses = ck.open_run(RUN), [], np.zeros((48, 3))
for fold in range(2):
    keras.utils.clear_session()
    held = np.arange(48) % 2 == fold
    model = classifier(layers.Dropout(0.2))
    own = [keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True),
           keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.3, min_delta=0.1),
           keras.callbacks.ModelCheckpoint(f"{{RUN}}-fold{{fold}}.keras", save_best_only=True)]
    history = model.fit(x[~held], y[~held], epochs=3, batch_size=8, validation_data=(x[held], y[held]),
                        callbacks=[*own, run.phase(f"fold-{{fold}}").resume()])
    guesses[held] = model.predict(x[held], verbose=0)
    scores.append(min(history.history["val_loss"]))
    gc.collect()
COMPARE = ["scores", "guesses.tolist()"]
"""
STAGES = f"""{DATA}
run, model, kept = ck.open_run(RUN), classifier(layers.Dropout(0.2)), {{}}
for rate in (1e-2, 1e-3, 1e-4):
    model.optimizer.learning_rate = rate
    history = model.fit(x, y, epochs=2, batch_size=8, callbacks=[run.phase(f"rate-{{rate}}").resume()])
    kept[rate] = history.history["loss"]
COMPARE = ["kept"]
"""
SNAPSHOTS = f"""{DATA}
run, members = ck.open_run(RUN), []
for seed in range(2):
    keras.utils.set_random_seed(seed)
    model = classifier(layers.Dropout(0.2))
    history = model.fit(x, y, epochs=2, batch_size=8, verbose=0, callbacks=[run.phase(f"seed-{{seed}}").resume()])
    members.append(model)
guess = np.mean([each.predict(x, verbose=0) for each in members], axis=0)
COMPARE = ["guess.tolist()"]
"""
COUNTED = """
class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.drop, self.two, self.turn = layers.Dense(4), layers.Dropout(0.3), layers.Dense(3), 0
    def call(self, inputs, training=False):
        self.turn += 1
        return self.two(self.drop(self.one(inputs), training=training)) * (1.0 + 0.1 * self.turn)
model = Own()
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
"""
RESET = """
x = np.random.default_rng(0).random((32, 5, 3), "float32")
y = x.sum((1, 2))[:, None]
class Reset(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.layers[0].reset_state()
model = keras.Sequential([layers.Input(batch_shape=(8, 5, 3)), layers.GRU(4, stateful=True), layers.Dense(1)])
model.compile("adam", "mse")
run = ck.open_run(RUN)
history = model.fit(x, y, epochs=3, batch_size=8, shuffle=False, callbacks=[Reset(), run.resume()])
"""
SOUNDS = """
import pathlib, wave
for label in ("no", "yes"):
    folder = pathlib.Path(RUN).parent.parent / "sounds" / label
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(12):
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setnchannels(1); file.setsampwidth(2); file.setframerate(800)
            file.writeframes((np.random.default_rng(number).random(40) * 9999).astype("<i2").tobytes())
sounds = str(pathlib.Path(RUN).parent.parent / "sounds")
train, held = keras.utils.audio_dataset_from_directory(
    sounds, batch_size=4, validation_split=0.25, seed=0, output_sequence_length=40, subset="both")
import tensorflow as tf
squeeze = lambda sound, label: (tf.squeeze(sound, axis=-1), label)
train, held = train.map(squeeze, tf.data.AUTOTUNE).cache().shuffle(100).prefetch(tf.data.AUTOTUNE), held.map(squeeze, tf.data.AUTOTUNE).cache()
model = keras.Sequential([layers.Input((40,)), layers.Dense(4), layers.Dropout(0.25), layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
run = ck.open_run(RUN)
history = model.fit(train, validation_data=held, epochs=3, callbacks=[run.resume()])
"""
NOISY_LOSS = """
seeds = keras.random.SeedGenerator()
def loss(target, guess):
    noise = keras.random.normal(ops.shape(guess), stddev=0.1, seed=seeds)
    return keras.losses.sparse_categorical_crossentropy(target, guess + noise, from_logits=True)
model = classifier()
model.compile("adam", loss)
"""
HELD = """
held = np.random.permutation(48)[:16]
valid = (x[held], y[held])
"""
AUGMENT = """
def resize(image, label):
    return tf.image.resize_with_crop_or_pad(image, 10, 10), label
def change(pair, seed):
    image, label = resize(*pair)
    image = tf.image.stateless_random_crop(image, size=[8, 8, 3], seed=seed)
    return tf.image.stateless_random_brightness(image, 0.2, seed=tf.random.split(seed, num=1)[0, :]), label
maker = tf.random.Generator.from_seed(123, alg="philox")
def draw(image, label):
    return change((image, label), maker.make_seeds(2)[0])
"""
CASES = {
    "PyDataset that shuffles its indexes from the begin": (ALL, rows()),
    "PyDataset that shuffles its indexes from the begin, validated on another": (
        ALL,
        rows(fit_options="epochs=3, validation_data=Rows(range(16), shuffle=False)"),
    ),
    "PyDataset that shuffles its indexes from the begin, with workers": (ALL, rows(options=", workers=2")),
    "PyDataset that shuffles its indexes with a seed": (ALL, rows("keras.utils.set_random_seed(7)")),
    "PyDataset of rows chosen anew": (
        ALL,
        rows("ids = list(np.random.permutation(48)[:40])", ", shuffle=False", ids="ids"),
    ),
    "arrays, validated on rows chosen anew": (
        ALL,
        fit_arrays("classifier()", "x, y, epochs=3, batch_size=8, validation_data=valid", before=HELD),
    ),
    "own callback: averages the weights of the last epochs": (ALL, fit_callbacks("own", SWA)),
    "own callback: shadow weights in the validation": (("tensorflow", "torch"), fit_callbacks("own", SHADOW)),
    "own callback: goes back to its best weights": (ALL, fit_callbacks("own", ROLLBACK)),
    "own callback: one cycle, with a dict of lists": (
        ALL,
        fit_callbacks("own", ONE_CYCLE, tail="COMPARE = ['own.kept', 'own.turn']"),
    ),
    "own callback: draws by a SeedGenerator of its own": (
        ALL,
        fit_callbacks("own", MONITOR, tail="COMPARE = ['own.shown']"),
    ),
    "own callback: writes all epochs to a file": (
        ALL,
        fit_callbacks("own", JOURNAL, tail="COMPARE = ['open(RUN + \".json\").read()']"),
    ),
    "finder of the learning rate before": (
        ALL,
        fit_arrays("classifier(layers.Dropout(0.2))", before=FINDER).replace(
            "run = ",
            f"model.fit(x, y, epochs=1, batch_size=8, callbacks=[finder])\nmodel.compile(keras.optimizers.Adam(0.01), {LOSS})\nrun = ",
        ),
    ),
    "transfer, then fine-tuning from the next epoch on": (ALL, TRANSFER),
    "folds with a cleared session and several callbacks": (ALL, FOLDS),
    "stages of a falling rate in phases": (ALL, STAGES),
    "an ensemble of seeds in phases": (ALL, SNAPSHOTS),
    "two streams of data, two optimizers": (TF, DATA + TWO_STREAMS),
    "tf.data with a variable that a callback changes": (TF, CURRICULUM),
    "FeatureSpace in map": (TF, FEATURES),
    "texts in pairs, shuffled before cache": (TF, TRANSLATION),
    "audio_dataset_from_directory": (TF, SOUNDS),
    "a GradientTape of tf.function by run.loop": (TF, TAPE),
    "train_on_batch by run.loop": (ALL, ON_BATCH),
    "stateful RNN, reset at each epoch": (("tensorflow", "jax"), RESET),
    "subclassed model with a counter of its traces": (
        TF,
        DATA
        + COUNTED
        + "run = ck.open_run(RUN)\nhistory = model.fit(x[:44], y[:44], epochs=3, batch_size=8, callbacks=[run.resume()])\n",
    ),
    "loss that draws by a SeedGenerator of the notebook": (
        ("tensorflow", "torch"),
        DATA
        + NOISY_LOSS
        + "run = ck.open_run(RUN)\nhistory = model.fit(x, y, epochs=3, batch_size=8, callbacks=[run.resume()])\n",
    ),
    "tf.data with stateless augmentation by a counter": (
        TF,
        fit_tfdata(
            "tf.data.Dataset.zip((ds, (numbers, numbers))).shuffle(32).map(change, num_parallel_calls=tf.data.AUTOTUNE).batch(8).prefetch(tf.data.AUTOTUNE)",
            before=IMAGES + AUGMENT + "\nnumbers = tf.data.Dataset.counter()\n",
            build="small()",
        ),
    ),
    "tf.data with stateless augmentation by a generator": (
        TF,
        fit_tfdata(
            "ds.shuffle(32).map(draw, num_parallel_calls=tf.data.AUTOTUNE).batch(8).prefetch(tf.data.AUTOTUNE)",
            before=IMAGES + AUGMENT,
            build="small()",
        ),
    ),
    "tf.data with a random crop of each picture by map_fn": (
        TF,
        fit_tfdata(
            "ds.shuffle(32).batch(8).map(lambda a, b: (tf.map_fn(lambda image: tf.image.random_crop(image, (6, 6, 3)), a), b)).prefetch(1)",
            before=IMAGES,
            build="small()",
        ),
    ),
    "tf.data with RandAugment, MixUp and CutMix in map": (
        TF,
        fit_tfdata(
            "ds.shuffle(32).batch(8).map(lambda a, b: {'images': rand(a), 'labels': tf.one_hot(b, 2)}).map(mix).map(cut).map(lambda row: (row['images'], row['labels'])).prefetch(1)",
            before=IMAGES
            + "\nrand, mix, cut = layers.RandAugment(value_range=(0, 1)), layers.MixUp(), layers.CutMix()\n",
            build="small()",
        ).replace("run = ", "model.compile('adam', keras.losses.CategoricalCrossentropy(from_logits=True))\nrun = "),
    ),
    "tf.data of a list of files in random order": (
        TF,
        f"""{FILES}
import tensorflow as tf
files = sorted(str(path) for path in pathlib.Path(pictures).glob("*/*.png"))
random.shuffle(files)
def load(path):
    return tf.io.decode_png(tf.io.read_file(path), 3), tf.cast(tf.strings.split(path, "/")[-2] == "dog", tf.int64)
ds = tf.data.Dataset.from_tensor_slices(files).map(load, tf.data.AUTOTUNE).map(lambda a, b: (tf.ensure_shape(a, (8, 8, 3)), b)).batch(4)
model = keras.Sequential([layers.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)])
model.compile("adam", {LOSS})
run = ck.open_run(RUN)
history = model.fit(ds, epochs=3, callbacks=[run.resume()])
""",
    ),
}
