"""Models that Keras cannot build ahead, with several optimizers, with state of their own."""
# ruff: noqa: D103

from cases.arrays import DATA

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
END = """
run = ck.open_run(RUN)
history = model.fit({data}, epochs=3, batch_size=8, callbacks=[run.resume()])
"""
VAE = """
import tensorflow as tf
class VAE(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential([layers.Input((6,)), layers.Dense(4)])
        self.decoder = keras.Sequential([layers.Input((2,)), layers.Dense(6)])
        self.seeds = keras.random.SeedGenerator()
        self.tracker = keras.metrics.Mean(name="loss")
        {more}
    @property
    def metrics(self):
        return [self.tracker]
    def train_step(self, data):
        data = data[0] if isinstance(data, tuple) else data
        {first}
        with tf.GradientTape() as tape:
            mean, spread = ops.split(self.encoder(data), 2, axis=1)
            noise = {noise}
            loss = ops.mean(ops.square(data - self.decoder(mean + ops.exp(0.5 * spread) * noise)))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights))
        self.tracker.update_state(loss)
        return {{"loss": self.tracker.result()}}
model = VAE()
model.compile("adam"{options})
"""


def vae(more="pass", first="pass", noise="keras.random.normal(ops.shape(mean), seed=self.seeds)", options="", tail=""):
    text = VAE.format(more=more, first=first, noise=noise, options=options)
    return DATA + text + END.format(data="x") + tail


def layer(body, more="", build="classifier(Own())", tail=""):
    return f"""{DATA}
{more}
class Own(layers.Layer):
{body}
model = {build}
{END.format(data="x, y")}
{tail}
"""


GAN = """
import tensorflow as tf
class GAN(keras.Model):
    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential([layers.Input((2,)), layers.Dense(6)])
        self.critic = keras.Sequential([layers.Input((6,)), layers.Dense(4), layers.Dropout(0.2), layers.Dense(1)])
        self.seeds = keras.random.SeedGenerator()
        self.g_tracker, self.d_tracker = keras.metrics.Mean(name="g_loss"), keras.metrics.Mean(name="d_loss")
    def compile(self, d_optimizer, g_optimizer):
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
    @property
    def metrics(self):
        return [self.g_tracker, self.d_tracker]
    def train_step(self, data):
        data = data[0] if isinstance(data, tuple) else data
        noise = keras.random.normal((8, 2), seed=self.seeds)
        with tf.GradientTape() as tape:
            real, fake = self.critic(data, training=True), self.critic(self.generator(noise), training=True)
            d_loss = ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))
        gradients = tape.gradient(d_loss, self.critic.trainable_weights)
        self.d_optimizer.apply_gradients(zip(gradients, self.critic.trainable_weights))
        with tf.GradientTape() as tape:
            g_loss = ops.mean(ops.softplus(-self.critic(self.generator(noise), training=True)))
        gradients = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply_gradients(zip(gradients, self.generator.trainable_weights))
        self.g_tracker.update_state(g_loss)
        self.d_tracker.update_state(d_loss)
        return {"g_loss": self.g_tracker.result(), "d_loss": self.d_tracker.result()}
model = GAN()
model.compile(keras.optimizers.Adam(0.01), keras.optimizers.Adam(0.02))
"""
SIAMESE = """
import tensorflow as tf
class Siamese(keras.Model):
    def __init__(self):
        super().__init__()
        self.tower = keras.Sequential([layers.Dense(4), layers.Dropout(0.1)])
        self.tracker = keras.metrics.Mean(name="loss")
    @property
    def metrics(self):
        return [self.tracker]
    def call(self, inputs):
        return self.tower(inputs)
    def train_step(self, data):
        (left, right), same = data
        with tf.GradientTape() as tape:
            gap = ops.sum(ops.square(self(left, training=True) - self(right, training=True)), axis=1)
            loss = ops.mean(ops.where(same == 1, gap, ops.maximum(0.0, 1.0 - gap)))
        self.optimizer.apply_gradients(zip(tape.gradient(loss, self.trainable_weights), self.trainable_weights))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}
model = Siamese()
model.compile("adam")
"""
FOREST = """
class Tree(keras.Model):
    def __init__(self, used=3):
        super().__init__()
        chosen = np.random.choice(6, used, replace=False)
        self.mask = ops.convert_to_tensor(np.eye(6)[chosen], dtype="float32")
        self.leaves = layers.Dense(3)
    def call(self, inputs):
        return self.leaves(ops.matmul(inputs, ops.transpose(self.mask)))
class Forest(keras.Model):
    def __init__(self, trees=3):
        super().__init__()
        self.trees = [Tree() for _ in range(trees)]
    def call(self, inputs):
        return sum(tree(inputs) for tree in self.trees)
inputs = layers.Input((6,))
forest = Forest()
model = keras.Model(inputs, forest(layers.BatchNormalization()(inputs)))
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
"""
CASES = {
    "forest of trees, each of features drawn once": (
        ALL,
        DATA
        + FOREST
        + END.format(data="x, y")
        + """
loss = model.evaluate(x, y, verbose=0)
COMPARE = ["loss", "[ops.convert_to_numpy(tree.mask).tolist() for tree in forest.trees]"]
""",
    ),
    "layer of random Fourier features in NumPy": (
        ALL,
        layer("""
    def __init__(self):
        super().__init__()
        self.waves = np.random.normal(size=(8, 4)).astype("float32")
        self.waves.flags.writeable = False  # as of a tensor that NumPy reads
    def call(self, inputs):
        return ops.sin(ops.matmul(inputs, self.waves))
"""),
    ),
    "VAE without call": (TF, vae()),
    "VAE, eager": (TF, vae(options=", run_eagerly=True")),
    "VAE that draws from tf.random": (TF, vae(noise="tf.random.normal(tf.shape(mean))")),
    "VAE with a counter": (TF, vae("self.steps = tf.Variable(0.0)", "self.steps.assign_add(1.0)")),
    "VAE, eager, with Python counters": (
        TF,
        vae(
            "self.steps, self.seen = 0, []",
            "self.steps += 1; self.seen.append(float(ops.mean(data)))",
            options=", run_eagerly=True",
            tail="\nCOMPARE = ['model.steps', 'list(model.seen)']\n",
        ),
    ),
    "VAE, eager, with a NumPy generator": (
        TF,
        vae(
            "self.rng = np.random.default_rng()",
            noise="ops.convert_to_tensor(self.rng.normal(size=mean.shape).astype('float32'))",
            options=", run_eagerly=True",
        ),
    ),
    "GAN with two optimizers": (TF, DATA + GAN + END.format(data="x")),
    "siamese pairs": (TF, DATA + SIAMESE + END.format(data="(x, x[::-1].copy()), (y == y[::-1]).astype('int32')")),
    "eager loss": (
        TF,
        DATA
        + """
def loss(target, guess):
    return ops.mean(ops.square(guess - np.asarray(guess.numpy()).round(1))) + ops.mean(ops.square(guess))
model = keras.Sequential([layers.Dense(4), layers.Dropout(0.2), layers.Dense(1)])
model.compile("adam", loss, run_eagerly=True)
"""
        + END.format(data="x, y.astype('float32')[:, None]"),
    ),
    "eager call": (
        TF,
        DATA
        + """
class Odd(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = layers.Dense(4), layers.Dense(3)
    def call(self, inputs):
        hidden = self.one(inputs)
        return self.two(hidden if float(ops.mean(inputs)) > 0.4 else -hidden)
model = Odd()
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
"""
        + END.format(data="x, y"),
    ),
    "subclassed model, not built": (
        ALL,
        DATA
        + """
class Plain(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.drop, self.two = layers.Dense(4), layers.Dropout(0.3), layers.Dense(3)
    def call(self, inputs, training=False):
        return self.two(self.drop(self.one(inputs), training=training))
model = Plain()
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
"""
        + END.format(data="x, y"),
    ),
    "stateful RNN": (
        ("tensorflow", "jax"),  # Keras itself cannot train it on torch
        """
x = np.random.default_rng(0).random((32, 5, 3), "float32")
y = x.sum((1, 2))[:, None]
model = keras.Sequential([layers.Input(batch_shape=(8, 5, 3)), layers.LSTM(4, stateful=True), layers.Dense(1)])
model.compile("adam", "mse")
run = ck.open_run(RUN)
history = model.fit(x, y, epochs=3, batch_size=8, shuffle=False, callbacks=[run.resume()])
""",
    ),
    "layer with a tf.Variable": (
        TF,
        layer(
            """
    def build(self, shape):
        self.scale = tf.Variable(1.0)
        self.kept = [tf.Variable(2.0)]
    def call(self, inputs):
        self.scale.assign(self.scale * 0.9)
        self.kept[0].assign_add(0.5)
        return inputs * self.scale + self.kept[0]
""",
            "import tensorflow as tf",
        ),
    ),
    "layer with a SeedGenerator": (
        ALL,
        layer("""
    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(3)
    def call(self, inputs, training=False):
        return inputs + keras.random.normal(ops.shape(inputs), stddev=0.1, seed=self.seeds) if training else inputs
"""),
    ),
    "layer without a seed": (
        ("tensorflow", "torch"),  # Keras refuses it on JAX
        layer("""
    def call(self, inputs, training=False):
        return inputs + keras.random.normal(ops.shape(inputs), stddev=0.1) if training else inputs
"""),
    ),
    "layer with a state of Keras": (
        ALL,
        layer("""
    def build(self, shape):
        self.mean = self.add_weight(shape=(shape[-1],), trainable=False, initializer="zeros")
    def call(self, inputs, training=False):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * ops.mean(inputs, axis=0))
        return inputs - self.mean
"""),
    ),
    "frozen layers": (
        ALL,
        layer(
            "    def call(self, inputs):\n        return inputs",
            build="classifier()",
        ).replace(
            "model = classifier()",
            "model = classifier()\nmodel.layers[0].trainable = False\nmodel.compile('adam', model.loss)",
        ),
    ),
    "LoRA": (
        ALL,
        DATA
        + """
model = classifier()
model.layers[0].enable_lora(2)
model.compile("adam", model.loss)
"""
        + END.format(data="x, y"),
    ),
    "several outputs": (
        ALL,
        DATA
        + """
inputs = keras.Input((6,))
hidden = layers.Dense(8)(inputs)
model = keras.Model(inputs, {"a": layers.Dense(3, name="a")(hidden), "b": layers.Dense(1, name="b")(hidden)})
kinds = {"a": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "b": "mse"}
model.compile("adam", kinds, loss_weights={"a": 1.0, "b": 0.5}, metrics={"a": ["accuracy"]})
"""
        + END.format(data="x, {'a': y, 'b': x[:, :1]}"),
    ),
    "added losses and own metrics": (
        ALL,
        layer("""
    def call(self, inputs):
        self.add_loss(0.01 * ops.mean(ops.square(inputs)))
        return inputs
"""),
    ),
}
