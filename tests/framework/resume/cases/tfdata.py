"""Trainings on tf.data."""
# ruff: noqa: D103, E501

from cases.arrays import DATA

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
START = f"""{DATA}
import tensorflow as tf
ds = tf.data.Dataset.from_tensor_slices((x, y))
"""


def fit(pipeline, options="epochs=3", before="", build="classifier()"):
    return f"""{START}
{before}
ds = {pipeline}
model = {build}
run = ck.open_run(RUN)
history = model.fit(ds, {options}, callbacks=[run.resume()])
"""


IMAGES = """
images = np.random.default_rng(0).random((32, 8, 8, 3), "float32")
ds = tf.data.Dataset.from_tensor_slices((images, np.random.default_rng(1).integers(0, 2, 32)))
def small():
    parts = [layers.Input((None, None, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = keras.Sequential(parts)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
def augment(image, label):
    image = tf.image.random_flip_left_right(image)
    image = tf.image.random_brightness(image, 0.2)
    if tf.random.uniform(()) < 0.5:
        image = image + tf.random.normal((8, 8, 3), stddev=0.1)
    return image, label
"""
FILES = """
import pathlib
for label in ("cat", "dog"):
    folder = pathlib.Path(RUN).parent.parent / "pictures" / label
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(12):
        path = folder / f"{number}.png"
        if not path.exists():
            keras.utils.save_img(path, np.random.default_rng(number).random((8, 8, 3)))
pictures = str(pathlib.Path(RUN).parent.parent / "pictures")
"""
CASES = {
    "tf.data": (ALL, fit("ds.batch(8)")),
    "tf.data shuffled": (ALL, fit("ds.shuffle(48).batch(8)")),
    "tf.data shuffled, tf seed": (TF, fit("ds.shuffle(48).batch(8)", before="tf.random.set_seed(3)")),
    "tf.data shuffled, keras seed": (TF, fit("ds.shuffle(48).batch(8)", before="keras.utils.set_random_seed(3)")),
    "tf.data shuffled with a seed of its own": (ALL, fit("ds.shuffle(48, seed=5).batch(8)")),
    "tf.data looked at before": (
        TF,
        fit("ds.shuffle(48).batch(8)", "epochs=3").replace("model =", "next(iter(ds)); model ="),
    ),
    "tf.data cached, shuffled, prefetched": (
        ALL,
        fit("ds.cache().shuffle(48).batch(8).prefetch(tf.data.AUTOTUNE)"),
    ),
    "tf.data shuffled, then cached": (TF, fit("ds.shuffle(48).cache().batch(8)")),
    "tf.data cached in a file": (TF, fit("ds.cache(RUN + '-cache').shuffle(48).batch(8)")),
    "tf.data repeated": (ALL, fit("ds.repeat().batch(8)", "epochs=3, steps_per_epoch=5")),
    "tf.data shuffled, repeated": (ALL, fit("ds.shuffle(48).repeat().batch(8)", "epochs=4, steps_per_epoch=4")),
    "tf.data repeated, shuffled": (TF, fit("ds.repeat().shuffle(48).batch(8)", "epochs=4, steps_per_epoch=4")),
    "tf.data shuffled, batched, repeated, prefetched": (
        TF,
        fit("ds.shuffle(48).batch(8).repeat().prefetch(2)", "epochs=4, steps_per_epoch=4"),
    ),
    "tf.data buffered before repeat": (
        TF,
        fit("ds.shuffle(48).batch(8).prefetch(2).repeat()", "epochs=4, steps_per_epoch=4"),
    ),
    "tf.data with steps of an epoch": (TF, fit("ds.shuffle(48).batch(8)", "epochs=3, steps_per_epoch=6")),
    "tf.data of unknown length": (ALL, fit("ds.filter(lambda a, b: a[0] > 0.2).shuffle(48).batch(8)")),
    "tf.data shuffled twice": (TF, fit("ds.shuffle(48).batch(2).shuffle(8).unbatch().batch(8)")),
    "tf.data shuffled once for all": (TF, fit("ds.shuffle(48, reshuffle_each_iteration=False).batch(8)")),
    "tf.data interleaved": (
        TF,
        fit(
            "tf.data.Dataset.range(4).interleave(lambda k: tf.data.Dataset.from_tensor_slices((x, y)).shard(4, k)"
            ".shuffle(12), cycle_length=4, num_parallel_calls=tf.data.AUTOTUNE).shuffle(16).batch(8)"
        ),
    ),
    "tf.data interleaved from shuffled files": (
        TF,
        fit(
            "tf.data.Dataset.range(4).shuffle(4).interleave(lambda k: tf.data.Dataset.from_tensor_slices((x, y))"
            ".shard(4, k)).batch(8)"
        ),
    ),
    "tf.data sampled from several": (
        TF,
        fit("tf.data.Dataset.sample_from_datasets([ds.take(24), ds.skip(24)], [0.5, 0.5]).batch(8)"),
    ),
    "tf.data sampled from several, of which one ends early": (
        TF,
        fit("tf.data.Dataset.sample_from_datasets([ds.take(8), ds.skip(8)], [0.8, 0.2]).batch(8)"),
    ),
    "tf.data chosen from several, of which one ends early": (
        TF,
        fit(
            "tf.data.Dataset.choose_from_datasets([ds.take(8), ds.skip(8)], tf.data.Dataset.range(2).repeat(), "
            "stop_on_empty_dataset=False).batch(8)"
        ),
    ),
    "tf.data not deterministic": (
        TF,
        fit(
            "ds.shuffle(48).map(lambda a, b: (a * 2, b), num_parallel_calls=4, deterministic=False).batch(8)",
        ),
    ),
    "tf.data from a generator": (
        TF,
        fit(
            "tf.data.Dataset.from_generator(lambda: zip(x, y), output_signature=(tf.TensorSpec((6,)), "
            "tf.TensorSpec((), tf.int64))).shuffle(48).batch(8)"
        ),
    ),
    "tf.data through numpy": (
        TF,
        fit(
            "ds.map(lambda a, b: (tf.ensure_shape(tf.numpy_function(lambda v: v * 2, [a], tf.float32), (6,)), b))"
            ".shuffle(48).batch(8)"
        ),
    ),
    "tf.data with tf.image in map": (TF, fit("ds.shuffle(32).map(augment).batch(8)", before=IMAGES, build="small()")),
    "tf.data with tf.image in a parallel map": (
        ALL,
        fit(
            "ds.cache().shuffle(32).map(augment, num_parallel_calls=tf.data.AUTOTUNE).batch(8).prefetch(2)",
            before=IMAGES,
            build="small()",
        ),
    ),
    "tf.data with layers in map": (
        TF,
        fit(
            "ds.shuffle(32).batch(8).map(lambda a, b: (flip(a, training=True), b)).prefetch(2)",
            before=IMAGES + "\nflip = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)])",
            build="small()",
        ),
    ),
    "tf.data with layers in a parallel map": (
        TF,
        fit(
            "ds.shuffle(32).batch(4).map(lambda a, b: (flip(a, training=True), b), num_parallel_calls=4).prefetch(2)",
            before=IMAGES + "\nflip = layers.RandomFlip()",
            build="small()",
        ),
    ),
    "tf.data with a tf generator in map": (
        TF,
        fit(
            "ds.shuffle(48).map(lambda a, b: (a + noise.normal((6,)), b)).batch(8)",
            before="noise = tf.random.Generator.from_non_deterministic_state()",
        ),
    ),
    "tf.data validated on shuffled tf.data": (
        ALL,
        fit(
            "ds.shuffle(48).batch(8)",
            "epochs=3, validation_data=tf.data.Dataset.from_tensor_slices((x, y)).shuffle(48).batch(7)",
        ),
    ),
    "image_dataset_from_directory": (
        TF,
        f"""import tensorflow as tf
{FILES}
load = lambda subset: keras.utils.image_dataset_from_directory(
    pictures, image_size=(8, 8), batch_size=4, validation_split=0.25, subset=subset, seed=123)
train, held = load("training").cache().shuffle(100).prefetch(tf.data.AUTOTUNE), load("validation").cache()
model = keras.Sequential([layers.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
run = ck.open_run(RUN)
history = model.fit(train, validation_data=held, epochs=3, callbacks=[run.resume()])
""",
    ),
    "image_dataset_from_directory without a seed": (
        ALL,
        f"""{FILES}
train = keras.utils.image_dataset_from_directory(pictures, image_size=(8, 8), batch_size=4)
model = keras.Sequential([layers.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
run = ck.open_run(RUN)
history = model.fit(train, epochs=3, callbacks=[run.resume()])
""",
    ),
    "TextVectorization in map": (
        TF,
        """
import tensorflow as tf
texts = np.array(["a good film", "a bad film", "good good", "bad and sad", "so good", "so bad"] * 6)
labels = np.array([1, 0, 1, 0, 1, 0] * 6)
ds = tf.data.Dataset.from_tensor_slices((texts, labels)).shuffle(36).batch(4)
vectorize = layers.TextVectorization(max_tokens=20, output_sequence_length=3)
vectorize.adapt(ds.map(lambda text, label: text))
ds = ds.map(lambda text, label: (vectorize(text), label)).prefetch(tf.data.AUTOTUNE)
model = keras.Sequential([layers.Embedding(20, 4), layers.Dropout(0.2), layers.GlobalAveragePooling1D(), layers.Dense(1)])
model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
run = ck.open_run(RUN)
history = model.fit(ds, epochs=3, callbacks=[run.resume()])
""",
    ),
    "TextVectorization in the model": (
        TF,
        """
import tensorflow as tf
texts = np.array(["a good film", "a bad film", "good good", "bad and sad", "so good", "so bad"] * 6)
labels = np.array([1, 0, 1, 0, 1, 0] * 6)
ds = tf.data.Dataset.from_tensor_slices((texts, labels)).shuffle(36).batch(4)
vectorize = layers.TextVectorization(max_tokens=20, output_sequence_length=3)
vectorize.adapt(texts)
parts = [layers.Input((), dtype="string"), vectorize, layers.Embedding(20, 4), layers.GlobalAveragePooling1D()]
model = keras.Sequential([*parts, layers.Dense(1)])
model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
run = ck.open_run(RUN)
history = model.fit(ds, epochs=3, callbacks=[run.resume()])
""",
    ),
    "timeseries_dataset_from_array": (
        TF,
        """
series = np.sin(np.arange(60)).astype("float32")[:, None]
ds = keras.utils.timeseries_dataset_from_array(series[:-5], series[5:], 5, shuffle=True, batch_size=8)
model = keras.Sequential([layers.Input((5, 1)), layers.LSTM(4), layers.Dense(1)])
model.compile("adam", "mse")
run = ck.open_run(RUN)
history = model.fit(ds, epochs=3, callbacks=[run.resume()])
""",
    ),
}
