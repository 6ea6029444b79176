"""More models: layers that draw or keep something, optimizers, losses and metrics with a state, several inputs, transfer."""
# ruff: noqa: D103, E501

from cases.arrays import DATA
from cases.arrays import fit as fit_arrays
from cases.models import END, layer, vae

ALL = ("tensorflow", "jax", "torch")
TF = ("tensorflow",)
JAX = ("jax",)
TORCH = ("torch",)


def script(body, data="x, y", tail=""):
    return DATA + body + END.format(data=data) + tail


def with_optimizer(text):
    return fit_arrays(f"classifier(optimizer={text})")


PICTURES = """
images = np.random.default_rng(0).random((32, 32, 32, 3), "float32")
labels = np.random.default_rng(1).integers(0, 2, 32)
"""
SEQUENCES = """
steps = np.random.default_rng(0).random((32, 5, 3), "float32")
sums = steps.sum((1, 2))[:, None]
"""
KINDS = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"


def sequence(*parts):
    return (
        SEQUENCES
        + f"model = keras.Sequential([layers.Input((5, 3)), {', '.join(parts)}, layers.Dense(1)])\nmodel.compile('adam', 'mse')\n"
        + END.format(data="steps, sums")
    )


OPTIMIZERS = {
    "Nadam": "keras.optimizers.Nadam()",
    "Lion": "keras.optimizers.Lion()",
    "Adafactor": "keras.optimizers.Adafactor()",
    "Ftrl": "keras.optimizers.Ftrl()",
    "Adamax, decayed": "keras.optimizers.Adamax(weight_decay=0.01)",
    "Lamb": "keras.optimizers.Lamb()",
    "amsgrad": "keras.optimizers.Adam(amsgrad=True)",
    "loss scale": "keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(), initial_scale=16.0, dynamic_growth_steps=3)",
    "restarts of the cosine": "keras.optimizers.SGD(keras.optimizers.schedules.CosineDecayRestarts(0.1, 5), nesterov=True, momentum=0.9)",
    "warm-up in the schedule": "keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.0, 12, warmup_target=0.01, warmup_steps=6), global_clipnorm=1.0)",
    "averages and accumulation": "keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=5, gradient_accumulation_steps=2)",
}
OWN_SCHEDULE = """
class Warm(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.01 * ops.minimum(1.0, (ops.cast(step, "float32") + 1) / 10)
"""
TRAIN_STEP_JAX = """
import jax
class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.drop, self.two = layers.Dense(4), layers.Dropout(0.3), layers.Dense(3)
    def call(self, inputs, training=False):
        return self.two(self.drop(self.one(inputs), training=training))
    def loss_of(self, trainable, frozen, x, y):
        guess, frozen = self.stateless_call(trainable, frozen, x, training=True)
        return self.compute_loss(x, y, guess), (guess, frozen)
    def train_step(self, state, data):
        trainable, frozen, optimizer, metrics = state
        x, y = data[:2]
        (loss, (guess, frozen)), gradients = jax.value_and_grad(self.loss_of, has_aux=True)(trainable, frozen, x, y)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return {"loss": loss}, (trainable, frozen, optimizer, metrics)
model = Own()
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
"""
TRAIN_STEP_TORCH = """
import torch
class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.drop, self.two = layers.Dense(4), layers.Dropout(0.3), layers.Dense(3)
        {more}
    def call(self, inputs, training=False):
        return self.two(self.drop(self.one(inputs), training=training))
    def train_step(self, data):
        x, y = data[:2]
        {first}
        self.zero_grad()
        loss = self.compute_loss(x, y, self(x, training=True))
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
        return {{"loss": float(loss.detach())}}
model = Own()
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
"""
TORCH_PARTS = """
import torch
class Own(layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2))
    def call(self, inputs):
        return self.inner(inputs)
model = classifier(Own())
"""
DISTILL = """
import tensorflow as tf
class Distiller(keras.Model):
    def __init__(self, teacher, student):
        super().__init__()
        self.teacher, self.student = teacher, student
    def call(self, inputs, training=False):
        return self.student(inputs, training=training)
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(self.teacher(x, training=False) - y_pred)) + super().compute_loss(x, y, y_pred, sample_weight)
teacher = classifier(layers.Dropout(0.2))
teacher.trainable = False
model = Distiller(teacher, keras.Sequential([layers.Dense(4), layers.Dropout(0.3), layers.Dense(3)]))
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
"""
MOVING = """
import tensorflow as tf
class Mean(keras.Model):
    def __init__(self):
        super().__init__()
        self.online = keras.Sequential([layers.Input((6,)), layers.Dense(4), layers.Dropout(0.2), layers.Dense(3)])
        self.slow = keras.models.clone_model(self.online)
        self.slow.set_weights(self.online.get_weights())
    def call(self, inputs, training=False):
        return self.online(inputs, training=training)
    def train_step(self, data):
        found = super().train_step(data)
        for slow, fast in zip(self.slow.weights, self.online.weights):
            slow.assign(0.9 * slow + 0.1 * fast)
        return found
model = Mean()
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
"""
WGAN = """
import tensorflow as tf
class WGAN(keras.Model):
    def __init__(self):
        super().__init__()
        self.critic = keras.Sequential([layers.Input((6,)), layers.Dense(4), layers.Dropout(0.2), layers.Dense(1)])
        self.maker = keras.Sequential([layers.Input((2,)), layers.Dense(6), layers.BatchNormalization()])
        self.turn = 0
    def compile(self, d_optimizer, g_optimizer, loss_fn, **options):
        super().compile(**options)
        self.optimizers, self.loss_fn = {"critic": d_optimizer, "maker": g_optimizer}, loss_fn
    def train_step(self, real):
        real = real[0] if isinstance(real, tuple) else real
        for _ in range(2):
            noise = NOISE
            with tf.GradientTape() as tape:
                loss = ops.mean(self.critic(self.maker(noise, training=True), training=True)) - ops.mean(self.critic(real, training=True))
            self.optimizers["critic"].apply_gradients(zip(tape.gradient(loss, self.critic.trainable_variables), self.critic.trainable_variables))
        with tf.GradientTape() as tape:
            made = -ops.mean(self.critic(self.maker(noise, training=True), training=True))
        self.optimizers["maker"].apply_gradients(zip(tape.gradient(made, self.maker.trainable_variables), self.maker.trainable_variables))
        return {"d_loss": loss, "g_loss": made}
model = WGAN()
model.compile(keras.optimizers.RMSprop(0.01), keras.optimizers.Adam(0.01), None)
"""
GLOBAL = """
weight = keras.Variable(0.0, name="weight")
def loss(target, guess):
    return keras.losses.sparse_categorical_crossentropy(target, guess, from_logits=True) + weight * ops.mean(ops.square(guess))
class Anneal(keras.callbacks.Callback):
    {state}
    def on_train_batch_end(self, batch, logs=None):
        weight.assign(weight + 0.01)
model = classifier()
model.compile("adam", loss)
"""
CASES = {
    **{f"optimizer {name}": (ALL, with_optimizer(text)) for name, text in OPTIMIZERS.items()},
    "own schedule": (ALL, fit_arrays("classifier(optimizer=keras.optimizers.Adam(Warm()))", before=OWN_SCHEDULE)),
    "LSTM with dropout": (ALL, sequence("layers.LSTM(4, dropout=0.2, recurrent_dropout=0.2)")),
    "GRU in both directions": (
        ALL,
        sequence("layers.Bidirectional(layers.GRU(4, return_sequences=True))", "layers.GRU(3)"),
    ),
    "attention with dropout": (
        ALL,
        SEQUENCES
        + "inputs = keras.Input((5, 3))\nhidden = layers.MultiHeadAttention(2, 4, dropout=0.2)(inputs, inputs)\nhidden = layers.LayerNormalization()(hidden + inputs)\n"
        + "model = keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(hidden)))\nmodel.compile('adam', 'mse')\n"
        + END.format(data="steps, sums"),
    ),
    "noise layers": (
        ALL,
        sequence(
            "layers.SpatialDropout1D(0.2)",
            "layers.GaussianDropout(0.2)",
            "layers.AlphaDropout(0.1)",
            "layers.Flatten()",
        ),
    ),
    "spectral normalisation": (ALL, fit_arrays("classifier(layers.SpectralNormalization(layers.Dense(8)))")),
    "embedding": (
        ALL,
        "words = np.random.default_rng(0).integers(0, 30, (48, 5))\nlabels = words[:, 0] % 2\n"
        "model = keras.Sequential([layers.Embedding(30, 4), layers.Dropout(0.2), layers.GlobalMaxPooling1D(), layers.Dense(1)])\n"
        "model.compile(keras.optimizers.Adam(), keras.losses.BinaryCrossentropy(from_logits=True), metrics=[keras.metrics.AUC(from_logits=True)])\n"
        + END.format(data="words, labels"),
    ),
    "normalisation, adapted": (
        ALL,
        script(
            "normal = layers.Normalization()\nnormal.adapt(x)\nmodel = keras.Sequential([normal, layers.Dense(3)])\nmodel.compile('adam', "
            + KINDS
            + ")\n"
        ),
    ),
    "normalisation, adapted to a sample without a seed": (
        ALL,
        script(
            "normal = layers.Normalization()\nnormal.adapt(x[np.random.permutation(48)[:16]])\n"
            "model = keras.Sequential([normal, layers.Dense(3)])\nmodel.compile('adam', "
            + KINDS
            + ")\nmodel.evaluate(x, y, verbose=0)\n"
        )
        + "\nmeasured = model.evaluate(x, y, verbose=0)\n"
        + "COMPARE = ['measured', 'ops.convert_to_numpy(normal.mean).tolist()']\n",
    ),
    "more augmentation layers": (
        ALL,
        PICTURES
        + "parts = [layers.Input((32, 32, 3)), layers.RandomZoom(0.2), layers.RandomTranslation(0.1, 0.1), layers.RandomContrast(0.2)]\n"
        + f"model = keras.Sequential([*parts, layers.Conv2D(2, 3, strides=4), layers.Flatten(), layers.Dense(2)])\nmodel.compile('adam', {KINDS})\n"
        + END.format(data="images, labels"),
    ),
    "backbone of keras.applications, frozen": (
        TF,
        PICTURES
        + "base = keras.applications.MobileNetV2(input_shape=(32, 32, 3), alpha=0.35, include_top=False, weights=None, pooling='avg')\nbase.trainable = False\n"
        + f"model = keras.Sequential([base, layers.Dropout(0.2), layers.Dense(2)])\nmodel.compile('adam', {KINDS}, metrics=['accuracy'])\n"
        + END.format(data="images, labels").replace("epochs=3", "epochs=2"),
    ),
    "dict of inputs and outputs": (
        ALL,
        script(
            "one, two = keras.Input((2,), name='one'), keras.Input((4,), name='two')\nhidden = layers.Dropout(0.2)(layers.Concatenate()([layers.Dense(3)(one), layers.Dense(3)(two)]))\n"
            "model = keras.Model({'one': one, 'two': two}, {'kind': layers.Dense(3, name='kind')(hidden), 'value': layers.Dense(1, name='value')(hidden)})\n"
            "model.compile('adam', {'kind': "
            + KINDS
            + ", 'value': 'mse'}, loss_weights={'kind': 1.0, 'value': 0.2}, metrics={'kind': ['accuracy'], 'value': ['mae']})\n",
            "{'one': x[:, :2], 'two': x[:, 2:]}, {'kind': y, 'value': x[:, :1]}",
        ),
    ),
    "list of inputs, weights of the outputs": (
        ALL,
        script(
            "one, two = keras.Input((2,)), keras.Input((4,))\nhidden = layers.Concatenate()([one, two])\nmodel = keras.Model([one, two], [layers.Dense(3)(hidden), layers.Dense(1)(hidden)])\n"
            "model.compile('adam', [" + KINDS + ", 'mse'])\n",
            "[x[:, :2], x[:, 2:]], [y, x[:, :1]]",
        ),
    ),
    "QLoRA": (
        ALL,
        script(
            "model = classifier()\nmodel.quantize('int8')\nmodel.layers[0].enable_lora(2)\nmodel.compile('adam', model.loss)\n"
        ),
    ),
    "mixed bfloat16": (
        ALL,
        fit_arrays(
            "classifier(layers.Dropout(0.2))", before="keras.mixed_precision.set_global_policy('mixed_bfloat16')"
        ),
    ),
    "float16 with an own optimizer": (
        ALL,
        fit_arrays(
            "classifier(optimizer=keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)))",
            before="keras.mixed_precision.set_global_policy('mixed_float16')",
        ),
    ),
    "own train_step on JAX": (JAX, script(TRAIN_STEP_JAX)),
    "own train_step on torch": (TORCH, script(TRAIN_STEP_TORCH.format(more="pass", first="pass"))),
    "own train_step on torch, torch's noise": (
        TORCH,
        script(TRAIN_STEP_TORCH.format(more="pass", first="x = x + torch.randn_like(x) * 0.1")),
    ),
    "own train_step on torch, counters": (
        TORCH,
        script(
            TRAIN_STEP_TORCH.format(
                more="self.turn, self.mean = 0, None",
                first="self.turn += 1; self.mean = x.mean(0) if self.mean is None else 0.9 * self.mean + 0.1 * x.mean(0); x = x - self.mean",
            )
        ),
    ),
    "own train_step on torch, a torch optimizer": (
        TORCH,
        script(
            TRAIN_STEP_TORCH.format(
                more="self.other = None",
                first="self.other = self.other or torch.optim.Adam([v.value for v in self.trainable_weights], 0.01)",
            ).replace(
                "self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)",
                "self.other.step()",
            )
        ),
    ),
    "torch modules in a layer": (TORCH, script(TORCH_PARTS)),
    "torch noise in call": (
        TORCH,
        layer(
            "    def call(self, inputs, training=False):\n        return inputs + 0.1 * torch.randn_like(inputs) if training else inputs\n",
            "import torch",
        ),
    ),
    "distillation": (TF, script(DISTILL)),
    "mean teacher": (TF, script(MOVING)),
    "WGAN, dict of optimizers": (TF, script(WGAN.replace("NOISE", "keras.random.normal((8, 2))"), "x")),
    "WGAN that draws from tf.random": (TF, script(WGAN.replace("NOISE", "tf.random.normal((8, 2))"), "x")),
    "layer with a generator of TF": (
        TF,
        layer(
            "    def __init__(self):\n        super().__init__()\n        self.noise = tf.random.Generator.from_seed(3)\n    def call(self, inputs, training=False):\n        return inputs + 0.1 * self.noise.normal(tf.shape(inputs)) if training else inputs\n",
            "import tensorflow as tf",
        ),
    ),
    "layer that calls Python": (
        TF,
        layer(
            "    def call(self, inputs, training=False):\n        noise = tf.numpy_function(lambda v: v + np.random.rand(*v.shape).astype('f4'), [inputs], tf.float32)\n        return tf.ensure_shape(noise, inputs.shape) if training else inputs\n",
            "import tensorflow as tf",
        ),
    ),
    "layer with a queue of arrays": (
        ("tensorflow", "torch"),
        layer(
            '    def __init__(self):\n        super().__init__()\n        self.kept = collections.deque(maxlen=3)\n    def call(self, inputs, training=False):\n        if training:\n            self.kept.append(np.array(ops.convert_to_numpy(ops.stop_gradient(inputs))).mean(0))\n        return inputs - ops.convert_to_tensor(sum(self.kept) / len(self.kept), "float32") if self.kept else inputs\n',
            "import collections",
            build="classifier(Own(), run_eagerly=True)",
        ),
    ),
    "layer with a tensor": (
        ("tensorflow", "torch"),
        layer(
            "    def __init__(self):\n        super().__init__()\n        self.mean = None\n    def call(self, inputs, training=False):\n        if training:\n            now = ops.mean(ops.stop_gradient(inputs), axis=0)\n            self.mean = now if self.mean is None else 0.9 * self.mean + 0.1 * now\n        return inputs if self.mean is None else inputs - self.mean\n",
            build="classifier(Own(), run_eagerly=True)",
        ),
    ),
    "layer with an object of the user": (
        ("tensorflow", "torch"),
        layer(
            "    def __init__(self):\n        super().__init__()\n        self.scale = Scale()\n    def call(self, inputs, training=False):\n        if training:\n            self.scale.value *= 0.95\n        return inputs * self.scale.value\n",
            "class Scale:\n    def __init__(self):\n        self.value = 1.0\n",
            build="classifier(Own(), run_eagerly=True)",
        ),
    ),
    "loss with a state": (
        ("tensorflow", "torch"),
        script(
            "class Focal(keras.losses.Loss):\n    def __init__(self):\n        super().__init__()\n        self.mean = keras.Variable(1.0, trainable=False)\n    def call(self, target, guess):\n        found = keras.losses.sparse_categorical_crossentropy(target, guess, from_logits=True)\n        self.mean.assign(0.9 * self.mean + 0.1 * ops.mean(ops.stop_gradient(found)))\n        return found / self.mean\nmodel = classifier()\nmodel.compile('adam', Focal())\n"
        ),
    ),
    "loss with a Python state": (
        ("tensorflow", "torch"),
        script(
            "class Focal(keras.losses.Loss):\n    def __init__(self):\n        super().__init__()\n        self.calls = 0\n    def call(self, target, guess):\n        self.calls += 1\n        return keras.losses.sparse_categorical_crossentropy(target, guess, from_logits=True) * (1 + 0.1 * self.calls)\nmodel = classifier()\nmodel.compile('adam', Focal(), run_eagerly=True)\n"
        ),
    ),
    "metric with a Python state": (
        ("tensorflow", "torch"),
        script(
            "class Seen(keras.metrics.Metric):\n    def __init__(self):\n        super().__init__(name='seen')\n        self.count = 0\n    def update_state(self, target, guess, sample_weight=None):\n        self.count += 1\n    def result(self):\n        return self.count\n    def reset_state(self):\n        pass\nmodel = classifier()\nmodel.compile('adam', model.loss, metrics=[Seen()], run_eagerly=True)\n"
        ),
    ),
    "own metric with weights": (
        ALL,
        script(
            "class Seen(keras.metrics.Metric):\n    def __init__(self):\n        super().__init__(name='seen')\n        self.count = self.add_weight(name='count', initializer='zeros')\n    def update_state(self, target, guess, sample_weight=None):\n        self.count.assign(self.count + ops.mean(guess))\n    def result(self):\n        return self.count + 0.0\nmodel = classifier()\nmodel.compile('adam', model.loss, metrics=[Seen()], weighted_metrics=['accuracy'])\n"
        ),
    ),
    "more metrics": (
        ALL,
        "x = np.random.default_rng(0).random((48, 6), 'float32'); y = (x[:, 0] > 0.5).astype('float32')\n"
        "model = keras.Sequential([layers.Input((6,)), layers.Dropout(0.2), layers.Dense(1, 'sigmoid')])\n"
        "model.compile('adam', 'binary_crossentropy', metrics=['accuracy', keras.metrics.AUC(), keras.metrics.Precision(), keras.metrics.Recall(), keras.metrics.F1Score(threshold=0.5)])\n"
        + END.format(data="x, y[:, None]"),
    ),
    "variable beside the model, told by a callback": (
        TF,
        script(GLOBAL.format(state="stateless = True")).replace("callbacks=[", "callbacks=[Anneal(), "),
    ),
    "variable in a callback": (
        TF,
        script(
            GLOBAL.format(state="def __init__(self):\n        super().__init__()\n        self.weight = weight")
        ).replace("callbacks=[", "callbacks=[Anneal(), "),
    ),
    "optimizer of the user with a Python state": (
        ("tensorflow", "torch"),
        script(
            "class Slow(keras.optimizers.SGD):\n    turns = 0\n    def apply(self, grads, trainable_variables=None):\n        self.turns += 1\n        return super().apply([g * (0.9 ** self.turns) for g in grads], trainable_variables)\nmodel = classifier()\nmodel.compile(Slow(0.1), model.loss, run_eagerly=True)\n"
        ),
    ),
    "VAE with a queue and a plain generator": (
        TF,
        vae(
            "self.rng, self.seen = random.Random(), {'sum': 0.0}",
            "self.seen['sum'] += float(ops.mean(data)) * self.rng.random()",
            options=", run_eagerly=True",
            tail="\nCOMPARE = ['model.seen[\"sum\"]']\n",
        ),
    ),
    "diffusion: noise and time drawn in the step": (
        TF,
        vae(noise="keras.random.normal(ops.shape(mean)) * keras.random.uniform((ops.shape(mean)[0], 1), 0.1, 1.0)"),
    ),
    "weights loaded before": (
        ALL,
        fit_arrays("classifier()").replace(
            "run = ",
            "model.save_weights(RUN + '-begin.weights.h5')\nmodel.load_weights(RUN + '-begin.weights.h5')\nrun = ",
        ),
    ),
    "model trained before": (
        ALL,
        fit_arrays("classifier(layers.Dropout(0.2))").replace("run = ", "model.fit(x, y, epochs=1, verbose=0)\nrun = "),
    ),
    "model evaluated and asked before": (
        ALL,
        fit_arrays("classifier(layers.Dropout(0.2))").replace(
            "run = ", "model.evaluate(x, y, verbose=0); model.predict(x, verbose=0)\nrun = "
        ),
    ),
    "model cloned": (
        ALL,
        fit_arrays("keras.models.clone_model(classifier(layers.Dropout(0.2)))").replace(
            "run = ", f"model.compile('adam', {KINDS})\nrun = "
        ),
    ),
    "model loaded from a file": (
        ALL,
        fit_arrays("classifier(layers.Dropout(0.2))").replace(
            "run = ", "model.save(RUN + '-begin.keras')\nmodel = keras.models.load_model(RUN + '-begin.keras')\nrun = "
        ),
    ),
    "mirrored strategy": (
        TF,
        DATA
        + "import tensorflow as tf\nwith tf.distribute.MirroredStrategy(['CPU:0']).scope():\n    model = classifier(layers.Dropout(0.2))\n"
        + END.format(data="x, y"),
    ),
    "pandas": (
        ALL,
        fit_arrays(
            "classifier()", "pd.DataFrame(x), pd.Series(y), epochs=3, batch_size=8", before="import pandas as pd"
        ),
    ),
    "float64 and lists": (
        ALL,
        fit_arrays("classifier()", "x.astype('float64'), y.tolist() and y, epochs=2, batch_size=8"),
    ),
}
