"""More trainings on tf.data: files, texts, windows, several data sets, and options that change the order."""
# ruff: noqa: E501

from cases.tfdata import FILES, IMAGES, fit

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
RECORDS = """
import pathlib
folder = pathlib.Path(RUN).parent.parent / "records"
folder.mkdir(exist_ok=True)
for part in range(4):
    if not (folder / f"{part}.tfrecord").exists():
        with tf.io.TFRecordWriter(str(folder / f"{part}.tfrecord")) as writer:
            for at in range(part * 12, part * 12 + 12):
                feature = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=x[at])), "y": tf.train.Feature(int64_list=tf.train.Int64List(value=[y[at]]))}
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
        rows = "".join(f"{a},{b},{k}\\n" for (a, b), k in zip(x[part * 12:part * 12 + 12, :2], y[part * 12:part * 12 + 12]))
        (folder / f"{part}.csv").write_text("a,b,label\\n" + rows)
def parse(record):
    found = tf.io.parse_single_example(record, {"x": tf.io.FixedLenFeature((6,), tf.float32), "y": tf.io.FixedLenFeature((), tf.int64)})
    return found["x"], found["y"]
"""
TEXTS = """
import pathlib
for label in ("bad", "good"):
    folder = pathlib.Path(RUN).parent.parent / "texts" / label
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(12):
        (folder / f"{number}.txt").write_text(f"a {label} film number {number}")
"""
SOUNDS = """
import pathlib, wave
for label in ("bark", "meow"):
    folder = pathlib.Path(RUN).parent.parent / "sounds" / label
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(12):
        with wave.open(str(folder / f"{number}.wav"), "wb") as sound:
            sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000)
            sound.writeframes(np.random.default_rng(number).integers(-9999, 9999, 32, "int16").tobytes())
"""
LISTED = """
files = sorted(str(path) for path in pathlib.Path(pictures).glob("*/*.png"))
labels = [int("dog" in path) for path in files]
def load(path):
    return tf.ensure_shape(tf.io.decode_png(tf.io.read_file(path), 3), (8, 8, 3)) / 255
"""
CSV_MODEL = """
parts = {name: keras.Input((), name=name) for name in ("a", "b")}
hidden = layers.Concatenate()([layers.Reshape((1,))(part) for part in parts.values()])
model = keras.Model(parts, layers.Dense(3)(hidden))
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
"""
MORE = {
    "two shuffled data sets zipped": "tf.data.Dataset.zip((ds.shuffle(48), ds.shuffle(48))).map(lambda a, b: ((a[0] + b[0]) / 2, a[1])).batch(8)",
    "chosen from several": "tf.data.Dataset.choose_from_datasets([ds.take(24).shuffle(24), ds.skip(24).shuffle(24)], tf.data.Dataset.range(2).repeat(24)).batch(8)",
    "grouped by window": "ds.shuffle(48).group_by_window(key_func=lambda a, b: b, reduce_func=lambda key, part: part.batch(4), window_size=4)",
    "bucketed by length": "ds.shuffle(48).bucket_by_sequence_length(lambda a, b: tf.cast(b, tf.int32) + 1, [2, 3], [4, 4, 4])",
    "resampled by rejection": "ds.shuffle(48).rejection_resample(lambda a, b: tf.cast(b, tf.int32), [1 / 3] * 3).map(lambda k, pair: pair).batch(8)",
    "rebatched": "ds.shuffle(48).batch(12).rebatch(8)",
    "shuffled after batch": "ds.batch(8).shuffle(6)",
    "repeated a few times": "ds.shuffle(48).repeat(2).batch(8)",
    "concatenated": "ds.take(24).shuffle(24).concatenate(ds.skip(24).shuffle(24)).batch(8)",
    "flat_map": "tf.data.Dataset.range(4).shuffle(4).flat_map(lambda k: tf.data.Dataset.from_tensor_slices((x, y)).shard(4, k).shuffle(12)).batch(8)",
    "windows": "ds.map(lambda a, b: a[:1]).window(7, shift=1, drop_remainder=True).flat_map(lambda w: w.batch(7)).map(lambda w: (w[:6, 0], tf.cast(w[6, 0] * 3, tf.int64))).shuffle(30).batch(8)",
    "interleaved in order": "tf.data.Dataset.range(4).interleave(lambda k: tf.data.Dataset.from_tensor_slices((x, y)).shard(4, k), cycle_length=2, block_length=3).shuffle(20).batch(8)",
    "interleaved, not deterministic": "tf.data.Dataset.range(4).interleave(lambda k: tf.data.Dataset.from_tensor_slices((x, y)).shard(4, k), cycle_length=4, num_parallel_calls=4, deterministic=False).batch(8)",
    "unbatched": "ds.batch(6).shuffle(8).unbatch().shuffle(16).batch(8, drop_remainder=True)",
    "cached after map, augmented after": "ds.map(lambda a, b: (a * 2, b)).cache().shuffle(48).map(lambda a, b: (a + tf.random.normal((6,), stddev=0.1), b)).batch(8).prefetch(1)",
    "cached after batch": "ds.shuffle(48).batch(8).cache().prefetch(tf.data.AUTOTUNE)",
    "cached in a file after shuffle": "ds.shuffle(48).cache(RUN + '-cache').batch(8)",
    "in a snapshot": "ds.map(lambda a, b: (a * 2, b)).snapshot(RUN + '-snapshot').shuffle(48).batch(8)",
    "enumerated, stateless noise": "ds.shuffle(48).enumerate().map(lambda k, pair: (pair[0] + tf.random.stateless_normal((6,), seed=tf.stack([k, 3])), pair[1]), num_parallel_calls=tf.data.AUTOTUNE).batch(8)",
    "counter for stateless noise": "tf.data.Dataset.zip((ds.shuffle(48), tf.data.Dataset.counter())).map(lambda pair, k: (pair[0] + tf.random.stateless_normal((6,), seed=tf.stack([k, 3])), pair[1])).batch(8)",
    "random data set zipped": "tf.data.Dataset.zip((ds.shuffle(48), tf.data.Dataset.random())).map(lambda pair, k: (pair[0] + tf.cast(k % 7, tf.float32) * 0.01, pair[1])).batch(8)",
    "scan": "ds.shuffle(48).scan(0.0, lambda sum_, pair: (sum_ + pair[0][0], (pair[0] + sum_ * 0.01, pair[1]))).batch(8)",
    "with weights of the samples": "ds.shuffle(48).map(lambda a, b: (a, b, a[0])).batch(8)",
    "sharded": "ds.shard(2, 1).shuffle(24).batch(4)",
    "ignoring errors": "ds.map(lambda a, b: (tf.debugging.check_numerics(a, 'bad'), b)).ignore_errors().shuffle(48).batch(8)",
    "with a known length": "ds.shuffle(48).filter(lambda a, b: True).apply(tf.data.experimental.assert_cardinality(48)).batch(8)",
    "batched by a parallel call": "ds.shuffle(48).batch(8, num_parallel_calls=2)",
    "padded batches": "ds.shuffle(48).padded_batch(8)",
    "unique": "ds.map(lambda a, b: b).unique().map(lambda b: (tf.one_hot(b, 6), b)).shuffle(3).repeat(16).batch(8)",
    "shuffled twice, repeated between": "ds.shuffle(48).repeat(2).shuffle(30).batch(8)",
    "seed of its own, each epoch alike": "ds.shuffle(48, seed=3, reshuffle_each_iteration=False).batch(8)",
    "noise of a TF generator with a seed": "(lambda noise: ds.shuffle(48).map(lambda a, b: (a + noise.normal((6,)), b)).batch(8))(tf.random.Generator.from_seed(1))",
    "noise of gamma, as of MixUp": "ds.shuffle(48).map(lambda a, b: (a + tf.random.gamma((6,), 0.5), b)).batch(8)",
    "a random choice by tf.cond": "ds.shuffle(48).map(lambda a, b: (tf.cond(tf.random.uniform(()) < 0.5, lambda: a + tf.random.normal((6,)), lambda: a), b), num_parallel_calls=2).batch(8)",
    "a random choice inside flat_map": "ds.flat_map(lambda a, b: tf.data.Dataset.from_tensors((a + tf.random.normal((6,)), b))).batch(8)",
    "noise in a filter": "ds.filter(lambda a, b: tf.random.uniform(()) < 0.7).batch(8)",
    "noise below a cache": "ds.map(lambda a, b: (a + tf.random.normal((6,)), b)).cache().shuffle(48).batch(8)",
    "noise by random.random": "ds.map(lambda a, b: (a + random.random(), b)).shuffle(48).batch(8)",
    "noise by np.random in a py_function": "ds.shuffle(48).map(lambda a, b: (tf.ensure_shape(tf.numpy_function(lambda v: v + np.random.rand(6).astype('f4'), [a], tf.float32), (6,)), b)).batch(8)",
    "MixUp of two shuffles": "tf.data.Dataset.zip((ds.shuffle(48).batch(8), ds.shuffle(48).batch(8))).map(lambda one, two: (0.7 * one[0] + 0.3 * two[0], one[1]), num_parallel_calls=tf.data.AUTOTUNE)",
    "taken after shuffle": "ds.shuffle(48).take(32).batch(8)",
    "of a dict": "tf.data.Dataset.from_tensor_slices({'x': x, 'y': y}).shuffle(48).map(lambda row: (row['x'], row['y'])).batch(8)",
    "ragged rows": "tf.data.Dataset.from_tensor_slices((tf.RaggedTensor.from_row_lengths(np.arange(144, dtype='f4') / 144, [2, 4] * 24), y)).shuffle(48).map(lambda r, b: (tf.pad(r, [[0, 6 - tf.shape(r)[0]]]), b)).batch(8)",
    "prefetched to a device": "ds.shuffle(48).batch(8).apply(tf.data.experimental.prefetch_to_device('CPU:0'))",
    "shuffle and repeat in one": "ds.apply(tf.data.experimental.shuffle_and_repeat(48, 2)).batch(8)",
}
ENDLESS = {
    "sampled from shuffled, repeated data sets": "tf.data.Dataset.sample_from_datasets([ds.take(24).shuffle(24).repeat(), ds.skip(24).shuffle(24).repeat()], weights=[0.3, 0.7]).batch(8)",
    "endless, sampled": "tf.data.Dataset.sample_from_datasets([ds.take(24).repeat().shuffle(24), ds.skip(24).repeat().shuffle(24)]).batch(8)",
    "endless, cached, shuffled": "ds.cache().shuffle(48).repeat().batch(8).prefetch(tf.data.AUTOTUNE)",
    "endless, interleaved": "tf.data.Dataset.range(4).repeat().shuffle(8).interleave(lambda k: tf.data.Dataset.from_tensor_slices((x, y)).shard(4, k), cycle_length=4).batch(8)",
    "endless from a generator": "tf.data.Dataset.from_generator(lambda: zip(x, y), output_signature=(tf.TensorSpec((6,)), tf.TensorSpec((), tf.int64))).repeat().batch(8)",
    "endless, augmented": "ds.repeat().shuffle(48).map(lambda a, b: (a + tf.random.normal((6,)), b), num_parallel_calls=tf.data.AUTOTUNE).batch(8).prefetch(2)",
}


def _directory(load, build):
    return f"""{FILES}{TEXTS}
import tensorflow as tf
{load}
{build}
run = ck.open_run(RUN)
history = model.fit(ds, epochs=3, callbacks=[run.resume()])
"""


PICTURE_MODEL = """
model = keras.Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
"""
TEXT_MODEL = """
model = keras.Sequential([layers.Embedding(20, 4), layers.GlobalAveragePooling1D(), layers.Dense(1)])
model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
"""
CASES = {
    **{f"tf.data {name}": (TF, fit(pipeline)) for name, pipeline in MORE.items()},
    **{f"tf.data {name}": (TF, fit(pipeline, "epochs=3, steps_per_epoch=5")) for name, pipeline in ENDLESS.items()},
    "tf.data with options that are not deterministic": (
        TF,
        fit(
            "ds.shuffle(48).map(lambda a, b: (a * 2, b), num_parallel_calls=4).batch(8).with_options(options)",
            before="options = tf.data.Options()\noptions.deterministic = False",
        ),
    ),
    "tf.data with options of threads": (
        TF,
        fit(
            "ds.shuffle(48).map(lambda a, b: (a * 2, b), num_parallel_calls=4).batch(8).with_options(options)",
            before="options = tf.data.Options()\noptions.threading.private_threadpool_size = 2\noptions.autotune.enabled = False",
        ),
    ),
    "tf.data with weights of the classes": (
        TF,
        fit("ds.shuffle(48).batch(8)", "epochs=3, class_weight={0: 1.0, 1: 3.0, 2: 1.0}"),
    ),
    "tf.data validated on the same data set": (
        TF,
        fit("ds.shuffle(48).batch(8)", "epochs=3, validation_data=ds, validation_steps=3"),
    ),
    "tf.data split by take and skip": (
        TF,
        fit("ds.shuffle(48, reshuffle_each_iteration=False)", "epochs=3").replace(
            "model.fit(ds, epochs=3", "model.fit(ds.skip(16).batch(8), epochs=3, validation_data=ds.take(16).batch(8)"
        ),
    ),
    "tf.data split by take and skip, reshuffled": (
        TF,
        fit("ds.shuffle(48)", "epochs=3").replace(
            "model.fit(ds, epochs=3", "model.fit(ds.skip(16).batch(8), epochs=3, validation_data=ds.take(16).batch(8)"
        ),
    ),
    "tf.data split by keras.utils.split_dataset": (
        TF,
        fit("ds.batch(8)", "epochs=3").replace(
            "run = ck.open_run(RUN)\nhistory = model.fit(ds, epochs=3",
            "train, held = keras.utils.split_dataset(tf.data.Dataset.from_tensor_slices((x, y)), 0.75, shuffle=True)\n"
            "run = ck.open_run(RUN)\nhistory = model.fit(train.shuffle(36).batch(8), validation_data=held.batch(8), epochs=3",
        ),
    ),
    "tf.data by run.fit": (
        TF,
        fit("ds.shuffle(48).batch(8).prefetch(1)").replace(
            "model.fit(ds, epochs=3, callbacks=[run.resume()])", "run.fit(model, ds, epochs=3)"
        ),
    ),
    "tf.data several steps at once": (TF, fit("ds.shuffle(48).batch(8)", build="classifier(steps_per_execution=2)")),
    "tf.data eager": (TF, fit("ds.shuffle(48).batch(8)", build="classifier(run_eagerly=True)")),
    "tf.data from TFRecord files": (
        TF,
        fit(
            "tf.data.TFRecordDataset(sorted(map(str, folder.glob('*.tfrecord')))).map(parse, num_parallel_calls=tf.data.AUTOTUNE).shuffle(48).batch(8)",
            before=RECORDS,
        ),
    ),
    "tf.data from TFRecord files, listed and interleaved": (
        TF,
        fit(
            "tf.data.Dataset.list_files(str(folder / '*.tfrecord')).interleave(tf.data.TFRecordDataset, cycle_length=2, num_parallel_calls=tf.data.AUTOTUNE).map(parse).shuffle(16).batch(8).prefetch(1)",
            before=RECORDS,
        ),
    ),
    "tf.data from text lines": (
        TF,
        fit(
            "tf.data.TextLineDataset(sorted(map(str, folder.glob('*.csv')))).filter(lambda row: row != 'a,b,label').map(lambda row: tf.strings.to_number(tf.strings.split(row, ','))).map(lambda row: (tf.concat([row[:2]] * 3, 0), tf.cast(row[2], tf.int64))).shuffle(48).batch(8)",
            before=RECORDS,
        ),
    ),
    "tf.data by make_csv_dataset": (
        TF,
        fit(
            "tf.data.experimental.make_csv_dataset(str(folder / '*.csv'), 8, label_name='label', num_epochs=1)",
            before=RECORDS,
            build="None",
        ).replace("model = None", CSV_MODEL),
    ),
    "tf.data from listed pictures": (
        TF,
        _directory(
            """
def load(path):
    picture = tf.image.resize(tf.io.decode_png(tf.io.read_file(path), 3), (8, 8))
    return picture / 255.0, tf.cast(tf.strings.split(path, "/")[-2] == "dog", tf.int64)
ds = tf.data.Dataset.list_files(pictures + "/*/*.png").map(load, num_parallel_calls=tf.data.AUTOTUNE).cache().shuffle(24).batch(4).prefetch(tf.data.AUTOTUNE)
""",
            PICTURE_MODEL,
        ),
    ),
    "text_dataset_from_directory": (
        TF,
        _directory(
            """
texts = keras.utils.text_dataset_from_directory(str(pathlib.Path(RUN).parent.parent / "texts"), batch_size=4)
vectorize = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
vectorize.adapt(texts.map(lambda text, label: text))
ds = texts.map(lambda text, label: (vectorize(text), label)).cache().prefetch(tf.data.AUTOTUNE)
""",
            TEXT_MODEL,
        ),
    ),
    "text_dataset_from_directory, both parts": (
        TF,
        _directory(
            """
texts, held = keras.utils.text_dataset_from_directory(str(pathlib.Path(RUN).parent.parent / "texts"), batch_size=4, validation_split=0.25, subset="both", seed=1)
vectorize = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
vectorize.adapt(texts.map(lambda text, label: text))
ds, held = (each.map(lambda text, label: (vectorize(text), label)).cache().prefetch(tf.data.AUTOTUNE) for each in (texts, held))
""",
            TEXT_MODEL,
        ).replace("fit(ds, ", "fit(ds, validation_data=held, "),
    ),
    "audio_dataset_from_directory": (
        TF,
        _directory(
            SOUNDS
            + """
ds = keras.utils.audio_dataset_from_directory(str(pathlib.Path(RUN).parent.parent / "sounds"), batch_size=4, output_sequence_length=32)
""",
            """
model = keras.Sequential([layers.Input((32, 1)), layers.Flatten(), layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
""",
        ),
    ),
    "image_dataset_from_directory without a seed, one-hot, cached, shuffled": (
        TF,
        _directory(
            """
ds = keras.utils.image_dataset_from_directory(pictures, image_size=(8, 8), batch_size=4, label_mode="categorical")
ds = ds.map(lambda a, b: (a / 255, b)).cache().shuffle(10).prefetch(tf.data.AUTOTUNE)
""",
            PICTURE_MODEL.replace("Sparse", ""),
        ),
    ),
    "image_dataset_from_directory without a seed, validated on another folder": (
        TF,
        _directory(
            FILES.replace("pictures", "others").replace("range(12)", "range(7)")
            + """
ds, held = (keras.utils.image_dataset_from_directory(each, image_size=(8, 8), batch_size=4) for each in (pictures, others))
""",
            PICTURE_MODEL,
        ).replace("fit(ds, ", "fit(ds, validation_data=held, "),
    ),
    "tf.data of files and labels in random order": (
        TF,
        _directory(
            LISTED
            + """
order = np.random.permutation(len(files))
ds = tf.data.Dataset.from_tensor_slices((np.array(files)[order], np.array(labels)[order]))
ds = ds.map(lambda path, label: (load(path), label), num_parallel_calls=tf.data.AUTOTUNE).batch(4).prefetch(1)
""",
            PICTURE_MODEL,
        ),
    ),
    "tf.data of files in random order, labels by their number": (
        TF,
        _directory(
            LISTED
            + """
order = np.random.permutation(len(files))
known = tf.constant(np.array(labels)[order])
ds = tf.data.Dataset.from_tensor_slices(np.array(files)[order]).enumerate()
ds = ds.map(lambda number, path: (load(path), known[number])).shuffle(24).batch(4)
""",
            PICTURE_MODEL,
        ),
    ),
    "tf.data of files split without a seed": (
        TF,
        _directory(
            LISTED
            + """
from sklearn.model_selection import train_test_split
files, held, labels, held_labels = train_test_split(files, labels, test_size=0.25)
ds, held = (
    tf.data.Dataset.from_tensor_slices(each).map(lambda path, label: (load(path), label)).batch(4)
    for each in ((files, labels), (held, held_labels))
)
""",
            PICTURE_MODEL,
        ).replace("fit(ds, ", "fit(ds, validation_data=held, "),
    ),
    "image_dataset_from_directory, augmented in map": (
        TF,
        _directory(
            """
flip = keras.Sequential([layers.RandomFlip(), layers.RandomContrast(0.2)])
ds = keras.utils.image_dataset_from_directory(pictures, image_size=(8, 8), batch_size=4)
ds = ds.map(lambda a, b: (flip(a, training=True), b), num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
""",
            PICTURE_MODEL,
        ),
    ),
    "image_dataset_from_directory, both parts": (
        TF,
        _directory(
            """
ds, held = keras.utils.image_dataset_from_directory(pictures, image_size=(8, 8), batch_size=4, validation_split=0.25, subset="both", seed=1)
ds = ds.cache().shuffle(10)
""",
            PICTURE_MODEL,
        ).replace("fit(ds, ", "fit(ds, validation_data=held, "),
    ),
    "tf.data with lookups of strings": (
        TF,
        fit(
            "tf.data.Dataset.from_tensor_slices((np.array(['a', 'b', 'c'])[y], y)).shuffle(48).map(lambda word, b: (tf.one_hot(lookup(word), 6), b)).batch(8)",
            before="lookup = layers.StringLookup(vocabulary=['a', 'b', 'c'])",
        ),
    ),
    "tf.data with a static hash table": (
        TF,
        fit(
            "tf.data.Dataset.from_tensor_slices((np.array(['a', 'b', 'c'])[y], y)).shuffle(48).map(lambda word, b: (tf.one_hot(table.lookup(word), 6), b)).batch(8)",
            before="table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(['a', 'b', 'c'], tf.constant([0, 1, 2], tf.int64)), -1)",
        ),
    ),
    "tf.data with normalisation in map": (
        TF,
        fit(
            "ds.shuffle(48).batch(8).map(lambda a, b: (normal(a), b))",
            before="normal = layers.Normalization()\nnormal.adapt(x)",
        ),
    ),
    "tf.data with MixUp and RandAugment layers": (
        TF,
        fit(
            "ds.shuffle(32).batch(8).map(lambda a, b: (cut(a, training=True), b), num_parallel_calls=tf.data.AUTOTUNE)",
            before=IMAGES + "\ncut = keras.Sequential([layers.RandomBrightness(0.2), layers.RandomCrop(6, 6)])",
            build="small()",
        ),
    ),
    "tf.data on JAX and torch, augmented": (
        ("jax", "torch"),
        fit("ds.shuffle(48).map(lambda a, b: (a + tf.random.normal((6,)), b)).batch(8).prefetch(2)"),
    ),
    "tf.data on JAX and torch, endless": (
        ("jax", "torch"),
        fit("ds.shuffle(48).repeat().batch(8).prefetch(2)", "epochs=3, steps_per_epoch=5"),
    ),
    "tf.data sampled on JAX and torch": (
        ("jax", "torch"),
        fit(ENDLESS["sampled from shuffled, repeated data sets"], "epochs=3, steps_per_epoch=5"),
    ),
}
