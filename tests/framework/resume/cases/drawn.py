"""What a script without a seed draws before its first fit: arrays in functions of a model."""

from cases.arrays import DATA

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
LOSS = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"


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


CLOSURE = """
def projected(size):
    weights = np.random.normal(size=(6, size)).astype("float32")
    return layers.Lambda(lambda inputs: ops.matmul(inputs, weights))
"""
CASES = {
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
