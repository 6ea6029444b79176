"""Trainings on Python generators, PyDatasets and DataLoaders."""
# ruff: noqa: D103, E501

from cases.arrays import DATA

ALL = ("tensorflow", "jax", "torch")


def fit(before, data="batches()", options="epochs=3, steps_per_epoch=4", build="classifier(layers.Dropout(0.2))"):
    return f"""{DATA}
{before}
model = {build}
run = ck.open_run(RUN)
history = model.fit({data}, {options}, callbacks=[run.resume()])
"""


IN_ORDER = """
def batches():
    while True:
        for at in range(0, 48, 8):
            yield x[at:at + 8], y[at:at + 8]
"""


def shuffled(draw, before=""):
    return f"""
{before}
def batches():
    order = np.arange(48)
    while True:
        for at in range(0, 48, 8):
            yield x[order[at:at + 8]], y[order[at:at + 8]]
        {draw}
"""


PYDATASET = """
class Pictures(keras.utils.PyDataset):
    def __len__(self): return 6
    def __getitem__(self, index):
        at = slice(index * 8, index * 8 + 8)
        return x[at]{noise}, y[at]
{more}
"""
CASES = {
    "generator": (ALL, fit(IN_ORDER)),
    "generator with validation": (
        ALL,
        fit(IN_ORDER, options="epochs=3, steps_per_epoch=4, validation_data=(x[:16], y[:16])"),
    ),
    "generator with a generator of its own": (
        ALL,
        fit(shuffled("rng.shuffle(order)", "rng = np.random.default_rng(0)")),
    ),
    "generator with an unseeded generator": (ALL, fit(shuffled("rng.shuffle(order)", "rng = np.random.default_rng()"))),
    "generator that shuffles later by np.random": (ALL, fit(shuffled("np.random.shuffle(order)"))),
    "generator that shuffles later by np.random, seeded": (
        ALL,
        fit(shuffled("np.random.shuffle(order)", "keras.utils.set_random_seed(1)")),
    ),
    "generator that shuffles later by random": (ALL, fit(shuffled("random.shuffle(order)"))),
    "generator of random batches": (
        ALL,
        fit("""
def batches():
    while True:
        at = np.random.randint(0, 48, 8)
        yield x[at], y[at]
"""),
    ),
    "generator that makes its generators later": (ALL, fit(shuffled("np.random.default_rng().shuffle(order)"))),
    "generator without steps": (
        ("tensorflow",),
        fit(
            "def batches():\n    for at in range(0, 48, 8):\n        yield x[at:at + 8], y[at:at + 8]\n",
            options="epochs=1",
        ),
    ),
    "PyDataset": (ALL, fit(PYDATASET.format(noise="", more=""), "Pictures()", "epochs=3")),
    "PyDataset with workers": (ALL, fit(PYDATASET.format(noise="", more=""), "Pictures(workers=2)", "epochs=3")),
    "PyDataset, not shuffled": (ALL, fit(PYDATASET.format(noise="", more=""), "Pictures()", "epochs=3, shuffle=False")),
    "PyDataset that draws": (
        ALL,
        fit(PYDATASET.format(noise=" + np.random.normal(0, 0.1, (8, 6))", more=""), "Pictures()", "epochs=3"),
    ),
    "PyDataset that shuffles at the end": (
        ALL,
        fit(
            PYDATASET.format(
                noise="",
                more="    def on_epoch_end(self):\n        at = np.random.permutation(48)\n        x[:], y[:] = x[at], y[at]",
            ),
            "Pictures()",
            "epochs=3",
        ),
    ),
    "DataLoader": (
        ("torch",),
        fit(
            """
import torch
pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
loader = torch.utils.data.DataLoader(pairs, batch_size=8, shuffle=True)
""",
            "loader",
            "epochs=3",
        ),
    ),
}
