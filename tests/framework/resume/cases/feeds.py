"""More generators, PyDatasets and DataLoaders: what shuffles late, reads others, or has a state of its own."""
# ruff: noqa: D103, E501

from cases.generators import IN_ORDER, PYDATASET, fit, shuffled

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
TORCH = ("torch",)
AUGMENTED = """
def batches(x, y, size=8):
    while True:
        order = np.random.permutation(len(x))
        for at in range(0, len(x) - size + 1, size):
            part = order[at:at + size]
            yield x[part] + np.random.normal(0, 0.1, (size, 6)).astype("float32"), y[part]
"""
CLASS = """
class Pictures(keras.utils.PyDataset):
    def __init__(self, **options):
        super().__init__(**options)
        {init}
    def __len__(self): return 6
    def __getitem__(self, index):
        at = {at}
        return x[at]{noise}, y[at]
    {more}
"""


def pydataset(init="pass", at="slice(index * 8, index * 8 + 8)", noise="", more="", options="", fit_options="epochs=3"):
    return fit(CLASS.format(init=init, at=at, noise=noise, more=more), f"Pictures({options})", fit_options)


LOADER = """
import torch
pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
loader = torch.utils.data.DataLoader(pairs, batch_size=8{options})
"""
NOISY = """
import torch
class Noisy(torch.utils.data.Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y
    def __len__(self):
        return len(self.x)
    def __getitem__(self, at):
        noise = torch.randn(6) * 0.1 + float(np.random.normal(0, 0.1))
        return torch.tensor(self.x[at]) + noise, int(self.y[at])
loader = torch.utils.data.DataLoader(Noisy(x, y), batch_size=8, shuffle=True, num_workers={workers})
"""
SPLIT = """
import os
import torch
pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
part, held = torch.utils.data.random_split(pairs, [37, 11], generator=torch.Generator().manual_seed({seed}))
loader = torch.utils.data.DataLoader(part, batch_size=8, shuffle=True)
"""
FLOW = """
from keras.src.legacy.preprocessing.image import ImageDataGenerator
pictures = np.random.default_rng(0).random((48, 8, 8, 3), "float32")
flow = ImageDataGenerator({options}).flow(pictures, y, batch_size=8{more})
model = keras.Sequential([layers.Input((8, 8, 3)), layers.Flatten(), layers.Dropout(0.2), layers.Dense(3)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
"""


def flow(options, more=""):
    return fit(FLOW.format(options=options, more=more), "flow", "epochs=3", build="model")


CASES = {
    "generator that shuffles and augments": (ALL, fit(AUGMENTED, "batches(x, y)")),
    "generator that shuffles and augments, seeded": (
        ALL,
        fit("keras.utils.set_random_seed(5)" + AUGMENTED, "batches(x, y)"),
    ),
    "generator that shuffles the arrays in place": (
        ALL,
        fit(shuffled("at = np.random.permutation(48); x[:], y[:] = x[at], y[at]")),
    ),
    "generator that shuffles in place with a seed of its own": (
        ALL,
        fit(shuffled("at = rng.permutation(48); x[:], y[:] = x[at], y[at]", "rng = np.random.RandomState(4)")),
    ),
    "generator by random.sample": (
        ALL,
        fit("def batches():\n    while True:\n        at = random.sample(range(48), 8)\n        yield x[at], y[at]\n"),
    ),
    "generator by torch.randperm": (
        TORCH,
        fit(
            "import torch\ndef batches():\n    while True:\n        at = torch.randperm(48)[:8].numpy()\n        yield x[at], y[at]\n"
        ),
    ),
    "generator by tf.random": (
        TF,
        fit(
            "import tensorflow as tf\ndef batches():\n    while True:\n        at = tf.random.shuffle(tf.range(48))[:8].numpy()\n        yield x[at], y[at]\n"
        ),
    ),
    "generator by keras.random": (
        ALL,
        fit(
            "def batches():\n    while True:\n        at = ops.convert_to_numpy(keras.random.randint((8,), 0, 48))\n        yield x[at], y[at]\n"
        ),
    ),
    "generator by the clock": (
        ALL,
        fit(
            "import time\ndef batches():\n    while True:\n        at = np.random.default_rng(time.time_ns()).integers(0, 48, 8)\n        yield x[at], y[at]\n"
        ),
    ),
    "generator of a generator": (
        ALL,
        fit(
            IN_ORDER
            + "def noisy(inner):\n    rng = np.random.default_rng(1)\n    for a, b in inner:\n        yield a + rng.normal(0, 0.1, a.shape).astype('float32'), b\n",
            "noisy(batches())",
        ),
    ),
    "generator of a generator that shuffles": (
        ALL,
        fit(
            shuffled("np.random.shuffle(order)")
            + "def noisy(inner):\n    for a, b in inner:\n        yield a + np.random.normal(0, 0.1, a.shape).astype('float32'), b\n",
            "noisy(batches())",
        ),
    ),
    "generator with a closure": (
        ALL,
        fit(
            "def make(size):\n    order, rng = np.arange(48), random.Random(2)\n    def batches():\n        while True:\n            rng.shuffle(order)\n            for at in range(0, 48, size):\n                yield x[order[at:at + size]], y[order[at:at + size]]\n    return batches\n",
            "make(8)()",
        ),
    ),
    "generator method of an object": (
        ALL,
        fit(
            "class Feed:\n    def __init__(self):\n        self.order, self.rng = np.arange(48), np.random.default_rng()\n    def batches(self):\n        while True:\n            self.rng.shuffle(self.order)\n            for at in range(0, 48, 8):\n                yield x[self.order[at:at + 8]], y[self.order[at:at + 8]]\n",
            "Feed().batches()",
        ),
    ),
    "generator expression": (
        ALL,
        fit(
            "rng = np.random.default_rng()\n", "((x[at], y[at]) for at in (rng.integers(0, 48, 8) for _ in range(100)))"
        ),
    ),
    "generator with weights of the samples": (
        ALL,
        fit(
            "def batches():\n    while True:\n        for at in range(0, 48, 8):\n            yield x[at:at + 8], y[at:at + 8], x[at:at + 8, 0]\n"
        ),
    ),
    "generator with a generator for validation": (
        ALL,
        fit(
            shuffled("np.random.shuffle(order)"),
            options="epochs=3, steps_per_epoch=4, validation_data=batches(), validation_steps=2",
        ),
    ),
    "generator that ends": (
        ALL,
        fit(
            "def batches():\n    for _ in range(3):\n        for at in range(0, 48, 8):\n            yield x[at:at + 8], y[at:at + 8]\n",
            options="epochs=3, steps_per_epoch=6",
        ),
    ),
    "generator whose steps are not a pass": (
        ALL,
        fit(shuffled("np.random.shuffle(order)"), options="epochs=4, steps_per_epoch=5"),
    ),
    "generator that reads a file": (
        ALL,
        fit(
            "import pathlib\npath = pathlib.Path(RUN).parent.parent / 'rows.csv'\nnp.savetxt(path, np.c_[x, y])\ndef batches():\n    while True:\n        with open(path) as file:\n            rows = []\n            for line in file:\n                rows.append([float(v) for v in line.split()])\n                if len(rows) == 8:\n                    part = np.array(rows, 'float32'); rows = []\n                    yield part[:, :6], part[:, 6].astype(int)\n"
        ),
    ),
    "generator by run.fit": (
        TF,
        fit(IN_ORDER).replace(
            "model.fit(batches(), epochs=3, steps_per_epoch=4, callbacks=[run.resume()])",
            "run.fit(model, batches(), epochs=3, steps_per_epoch=4)",
        ),
    ),
    "generator that counts": (
        ALL,
        fit(
            "seen = [0]\ndef batches():\n    while True:\n        at = seen[0] % 6 * 8\n        seen[0] += 1\n        yield x[at:at + 8], y[at:at + 8]\n"
        ),
    ),
    "PyDataset that shuffles its own order": (
        ALL,
        pydataset(
            "self.order = np.arange(48)",
            "self.order[index * 8:index * 8 + 8]",
            more="def on_epoch_end(self): np.random.shuffle(self.order)",
        ),
    ),
    "PyDataset with a generator of its own": (
        ALL,
        pydataset(
            "self.order, self.rng = np.arange(48), np.random.default_rng(0)",
            "self.order[index * 8:index * 8 + 8]",
            more="def on_epoch_end(self): self.rng.shuffle(self.order)",
        ),
    ),
    "PyDataset that shuffles at the begin": (
        ALL,
        pydataset(
            "self.order = np.arange(48)",
            "self.order[index * 8:index * 8 + 8]",
            more="def on_epoch_begin(self): random.shuffle(self.order)",
        ),
    ),
    "PyDataset with a state": (
        ALL,
        pydataset(
            "self.order, self.rng = np.arange(48), np.random.default_rng(0)",
            "self.order[index * 8:index * 8 + 8]",
            more="def on_epoch_end(self): self.rng.shuffle(self.order)\n    def get_state(self): return {'order': self.order, 'rng': self.rng.bit_generator.state}\n    def set_state(self, state): self.order[:] = state['order']; self.rng.bit_generator.state = state['rng']",
        ),
    ),
    "PyDataset augmented by its own generator": (
        ALL,
        pydataset("self.rng = np.random.default_rng(0)", noise=" + self.rng.normal(0, 0.1, (8, 6))"),
    ),
    "PyDataset augmented by the index": (
        ALL,
        pydataset(noise=" + np.random.default_rng(index).normal(0, 0.1, (8, 6))", options="workers=2"),
    ),
    "PyDataset augmented with workers": (
        ALL,
        pydataset(noise=" + np.random.normal(0, 0.1, (8, 6))", options="workers=2, use_multiprocessing=False"),
    ),
    "PyDataset that counts": (
        ALL,
        pydataset("self.seen = 0", noise=" * (1 + 0.01 * self.seen)", more="def on_epoch_end(self): self.seen += 1"),
    ),
    "PyDataset with steps": (ALL, pydataset(fit_options="epochs=4, steps_per_epoch=4")),
    "PyDataset for validation too": (ALL, pydataset(fit_options="epochs=3, validation_data=Pictures()")),
    "PyDataset without an end": (
        ALL,
        fit(
            PYDATASET.format(noise="", more="")
            .replace("def __len__(self): return 6", "num_batches = property(lambda self: None)")
            .replace("index * 8, index * 8 + 8", "index % 6 * 8, index % 6 * 8 + 8"),
            "Pictures()",
            "epochs=3, steps_per_epoch=4",
        ),
    ),
    "PyDataset by run.fit": (
        TF,
        pydataset().replace(
            "model.fit(Pictures(), epochs=3, callbacks=[run.resume()])", "run.fit(model, Pictures(), epochs=3)"
        ),
    ),
    "keras.utils.Sequence": (TF, pydataset().replace("keras.utils.PyDataset", "keras.utils.Sequence")),
    "ImageDataGenerator": (TF, flow("rotation_range=20, horizontal_flip=True")),
    "ImageDataGenerator with a seed": (TF, flow("rotation_range=20, horizontal_flip=True", ", seed=3")),
    "ImageDataGenerator, not shuffled": (TF, flow("rescale=0.5", ", shuffle=False")),
    "DataLoader, in order": (ALL, fit(LOADER.format(options=""), "loader", "epochs=3")),
    "DataLoader, shuffled, on another backend": (
        ("tensorflow", "jax"),
        fit(LOADER.format(options=", shuffle=True"), "loader", "epochs=3"),
    ),
    "DataLoader with a generator": (
        TORCH,
        fit(LOADER.format(options=", shuffle=True, generator=torch.Generator().manual_seed(1)"), "loader", "epochs=3"),
    ),
    "DataLoader, weighted": (
        TORCH,
        fit(
            LOADER.format(options=", sampler=torch.utils.data.WeightedRandomSampler(torch.ones(48), 48)"),
            "loader",
            "epochs=3",
        ),
    ),
    "DataLoader for validation": (
        TORCH,
        fit(LOADER.format(options=", shuffle=True"), "x, y", "epochs=3, batch_size=8, validation_data=loader"),
    ),
    "DataLoader by run.fit": (
        TORCH,
        fit(LOADER.format(options=", shuffle=True"), "loader", "epochs=3").replace(
            "model.fit(loader, epochs=3, callbacks=[run.resume()])", "run.fit(model, loader, epochs=3)"
        ),
    ),
    "DataLoader, shuffled, without dropout": (
        ALL,
        fit(LOADER.format(options=", shuffle=True"), "loader", "epochs=3", build="classifier()"),
    ),
    "DataLoader, shuffled, in workers": (
        TORCH,
        fit(LOADER.format(options=", shuffle=True, num_workers=2"), "loader", "epochs=3"),
    ),
    "DataLoader that augments by torch and NumPy": (ALL, fit(NOISY.format(workers=0), "loader", "epochs=3")),
    "DataLoader that augments in a lasting worker, by run.fit": (
        TORCH,
        fit(NOISY.format(workers="1, persistent_workers=True"), "loader", "epochs=3").replace(
            "model.fit(loader, epochs=3, callbacks=[run.resume()])", "run.fit(model, loader, epochs=3)"
        ),
    ),
    "DataLoader that augments in a worker": (TORCH, fit(NOISY.format(workers=1), "loader", "epochs=3")),
    "DataLoader, batches left over, a split with a seed": (ALL, fit(SPLIT.format(seed=1), "loader", "epochs=3")),
    "DataLoader of a split drawn anew": (
        ALL,
        fit(SPLIT.format(seed="int.from_bytes(os.urandom(4))"), "loader", "epochs=3"),
    ),
    "DataLoader, validated on another": (
        TORCH,
        fit(LOADER.format(options=", shuffle=True"), "loader", "epochs=3, validation_data=loader"),
    ),
}
