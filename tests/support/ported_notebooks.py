"""Notebooks in the manner of public ones; each is ported, run, killed in the middle, and ends as if it never was.

A notebook has a parameter `die`; `dies()` kills the kernel's process once. Its last cell prints what it ended with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from colabkit.port import port
from tests.support.notebooks import write_notebook

DIES = """import os, signal, hashlib
def dies():
    if die and not os.path.exists("died"):
        open("died", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)"""
DATA = """import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)
x = torch.linspace(0, 1, 640).reshape(64, 10)
data = TensorDataset(x, x.sum(dim=1, keepdim=True))
train_loader = DataLoader(data, batch_size=8, shuffle=True)"""
MODEL = "model = nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))"
ENDS = """weights = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
print(hashlib.sha256(weights).hexdigest())"""

KERAS = """import keras
import numpy as np

keras.utils.set_random_seed(7)
class Dies(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            dies()"""
KERAS_ENDS = """weights = b"".join(weight.tobytes() for weight in model.get_weights())
print(len(history.history["loss"]), hashlib.sha256(weights).hexdigest())"""
IMAGES = """images = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3)).astype("float32")
labels = np.arange(64) % 4"""

NOTEBOOKS = {
    "images": [
        "!pip install -q packaging && mkdir -p figures",
        f"{DIES}\n{KERAS}",
        f"""{IMAGES}
model = keras.Sequential([
    keras.layers.Rescaling(1.0 / 255, input_shape=(16, 16, 3)),
    keras.layers.RandomFlip("horizontal"),
    keras.layers.Conv2D(8, 3, activation="relu"),
    keras.layers.MaxPooling2D(),
    keras.layers.Flatten(),
    keras.layers.Dropout(0.2),
    keras.layers.Dense(4),
])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
model.summary()""",
        """epochs = 3
history = model.fit(
  images,
  labels,
  validation_split=0.25,
  epochs=epochs,
  callbacks=[Dies()]
)""",
        """acc = history.history["accuracy"]
val_acc = history.history["val_accuracy"]
assert len(acc) == len(val_acc) == epochs""",
        KERAS_ENDS,
    ],
    "text": [
        "%%bash\npip install -q packaging\nmkdir -p aclImdb",
        f"{DIES}\n{KERAS}\nimport tensorflow as tf",
        """texts = ["a good film", "a bad film", "good and long", "bad and long"] * 16
raw = tf.data.Dataset.from_tensor_slices((texts, [1, 0, 1, 0] * 16)).shuffle(64, seed=42).batch(8)
vectorize = keras.layers.TextVectorization(max_tokens=20, output_sequence_length=4)
vectorize.adapt(raw.map(lambda x, y: x))
AUTOTUNE = tf.data.AUTOTUNE
train_ds = raw.map(lambda x, y: (vectorize(x), y)).cache().prefetch(buffer_size=AUTOTUNE)""",
        """model = keras.Sequential([
    keras.layers.Embedding(20, 8),
    keras.layers.Dropout(0.2),
    keras.layers.GlobalAveragePooling1D(),
    keras.layers.Dense(1, activation="sigmoid"),
])
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
history = model.fit(train_ds, epochs=3, callbacks=[Dies()])""",
        KERAS_ENDS,
    ],
    "transfer": [
        f"{DIES}\n{KERAS}",
        f"""{IMAGES}
base_model = keras.Sequential([
    keras.layers.Input((16, 16, 3)), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(),
])
base_model.trainable = False
model = keras.Sequential([base_model, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)""",
        "history = model.fit(images, labels, epochs=2)",
        """base_model.trainable = True
model.compile(optimizer=keras.optimizers.RMSprop(1e-5), loss=loss)
history = model.fit(images, labels, epochs=2, callbacks=[Dies()])""",
        KERAS_ENDS,
    ],
    "drive": [
        "from google.colab import drive\ndrive.mount('/content/drive')",
        f"{DIES}\n{KERAS}",
        f"""{IMAGES}
model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(4)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
checkpoint = keras.callbacks.ModelCheckpoint(
    "/content/drive/MyDrive/models/best.keras", monitor="loss", save_best_only=True
)
history = model.fit(images / 255, labels, epochs=3, callbacks=[checkpoint, Dies()])""",
        "model = keras.models.load_model('/content/drive/MyDrive/models/best.keras')",
        KERAS_ENDS,
    ],
    "fastai": [
        "!pip install -q packaging; mkdir -p models",
        DIES,
        f"""from fastai.vision.all import *
{DATA}
set_seed(7)  # of Python's own generator, too, which orders the batches
dls = DataLoaders.from_dsets(data, data, bs=8)""",
        f"""class Dies(Callback):
    def before_epoch(self):
        if self.epoch == 1:
            dies()

{MODEL}
learn = Learner(dls, model, loss_func=nn.MSELoss(), cbs=[Dies()])""",
        "learn.fit_one_cycle(3, 1e-2)",
        ENDS,
    ],
    "loop": [
        "!pip install -q packaging",
        DIES,
        f"from tqdm.auto import tqdm\n{DATA}",
        f"""{MODEL}
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters())
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
numbers = []""",
        """for epoch in tqdm(range(3)):
    model.train()
    for i, (inputs, labels) in enumerate(tqdm(train_loader, leave=False)):
        if (epoch, i) == (1, 5):
            dies()
        loss = criterion(model(inputs), labels) / 2
        loss.backward()
        if i % 2 == 1:
            optimizer.step()
            optimizer.zero_grad()
        numbers.append((epoch, i))
    scheduler.step()""",
        f"{ENDS}\nprint(numbers[-1], scheduler.get_last_lr())",
    ],
    "gan": [
        f"{DIES}\n{KERAS}\nfrom keras import layers, ops\nimport tensorflow as tf",
        """class GAN(keras.Model):
    def __init__(self, discriminator, generator, latent_dim):
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator
        self.latent_dim = latent_dim
        self.seed_generator = keras.random.SeedGenerator(1337)

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn
        self.d_loss_metric = keras.metrics.Mean(name="d_loss")
        self.g_loss_metric = keras.metrics.Mean(name="g_loss")

    @property
    def metrics(self):
        return [self.d_loss_metric, self.g_loss_metric]

    def train_step(self, real):
        size = tf.shape(real)[0]
        noise = keras.random.normal((size, self.latent_dim), seed=self.seed_generator)
        mixed = tf.concat([self.generator(noise), real], axis=0)
        labels = tf.concat([tf.ones((size, 1)), tf.zeros((size, 1))], axis=0)
        with tf.GradientTape() as tape:
            d_loss = self.loss_fn(labels, self.discriminator(mixed))
        grads = tape.gradient(d_loss, self.discriminator.trainable_weights)
        self.d_optimizer.apply_gradients(zip(grads, self.discriminator.trainable_weights))
        noise = keras.random.normal((size, self.latent_dim), seed=self.seed_generator)
        with tf.GradientTape() as tape:
            g_loss = self.loss_fn(tf.zeros((size, 1)), self.discriminator(self.generator(noise)))
        grads = tape.gradient(g_loss, self.generator.trainable_weights)
        self.g_optimizer.apply_gradients(zip(grads, self.generator.trainable_weights))
        self.d_loss_metric.update_state(d_loss)
        self.g_loss_metric.update_state(g_loss)
        return {"d_loss": self.d_loss_metric.result(), "g_loss": self.g_loss_metric.result()}""",
        """discriminator = keras.Sequential([keras.Input((12,)), layers.Dense(8), layers.LeakyReLU(), layers.Dense(1)])
generator = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(12)])
numbers = np.random.default_rng(0).normal(size=(64, 12)).astype("float32")
dataset = tf.data.Dataset.from_tensor_slices(numbers).shuffle(buffer_size=64).batch(16)""",
        """model = GAN(discriminator=discriminator, generator=generator, latent_dim=4)
model.compile(
    d_optimizer=keras.optimizers.Adam(learning_rate=0.0003),
    g_optimizer=keras.optimizers.Adam(learning_rate=0.0003),
    loss_fn=keras.losses.BinaryCrossentropy(from_logits=True),
)
history = model.fit(dataset, epochs=3, callbacks=[Dies()])""",
        KERAS_ENDS.replace('["loss"]', '["g_loss"]'),
    ],
    "series": [
        f"{DIES}\n{KERAS}\nimport tensorflow as tf",
        """open("weather.csv", "w").write("\\n".join(f"{day},{day % 7 + day / 50}" for day in range(120)))
series = np.genfromtxt("weather.csv", delimiter=",", dtype="float32")[:, 1]
window_size, batch_size = 6, 16

def windowed_dataset(series, window_size, batch_size, shuffle_buffer):
    dataset = tf.data.Dataset.from_tensor_slices(series)
    dataset = dataset.window(window_size + 1, shift=1, drop_remainder=True)
    dataset = dataset.flat_map(lambda window: window.batch(window_size + 1))
    dataset = dataset.shuffle(shuffle_buffer)
    dataset = dataset.map(lambda window: (window[:-1], window[-1]))
    return dataset.batch(batch_size).prefetch(1)""",
        """dataset = windowed_dataset(series[:100], window_size, batch_size, 50)
model = keras.Sequential([
    keras.Input((window_size,)),
    keras.layers.Dense(8, activation="relu"),
    keras.layers.Dropout(0.2),
    keras.layers.Dense(1),
])
model.compile(loss=keras.losses.Huber(), optimizer=keras.optimizers.SGD(learning_rate=1e-3, momentum=0.9))
lr_schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4 * 10 ** (epoch / 20))
history = model.fit(dataset, epochs=3, callbacks=[lr_schedule, Dies()], verbose=0)""",
        KERAS_ENDS,
    ],
    "whole": [
        DIES,
        DATA,
        f"""{MODEL}
loss_fn = nn.MSELoss()
optimizer = torch.optim.SGD(params=model.parameters(), lr=0.01, momentum=0.9)
epochs = 60
x_train, y_train, x_test, y_test = x[:48], data.tensors[1][:48], x[48:], data.tensors[1][48:]
epoch_count, losses = [], []""",
        """for epoch in range(epochs):
    ### Training
    model.train()
    y_pred = model(x_train)
    loss = loss_fn(y_pred, y_train)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch == 33:
        dies()

    ### Testing
    model.eval()
    with torch.inference_mode():
        test_loss = loss_fn(model(x_test), y_test)
    if epoch % 10 == 0:
        epoch_count.append(epoch)
        losses.append(test_loss.item())""",
        f"{ENDS}\nprint(epoch, epoch_count, losses)",
    ],
    "slices": [
        DIES,
        DATA,
        f"""{MODEL}
optimizer = torch.optim.Adam(model.parameters())
n_epochs, batch_size, best_loss = 4, 8, 99.0
y = data.tensors[1]""",
        """for epoch in range(n_epochs):
    permutation = torch.randperm(len(x))
    running = 0.0
    for i in range(0, len(x), batch_size):
        indices = permutation[i:i + batch_size]
        batch_x, batch_y = x[indices], y[indices]
        if (epoch, i) == (2, 24):
            dies()
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(batch_x), batch_y)
        loss.backward()
        optimizer.step()
        running += loss.item()
    if running < best_loss:
        best_loss = running""",
        f"{ENDS}\nprint(running, best_loss)",
    ],
    "lightning": [
        DIES,
        f"import lightning as L\n{DATA}",
        f"""class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        {MODEL.replace("model", "self.net", 1)}

    def training_step(self, batch, number):
        inputs, labels = batch
        loss = nn.functional.mse_loss(self.net(inputs), labels)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())

class Dies(L.Callback):
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 2:
            dies()

model = Model()""",
        """trainer = L.Trainer(
    max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[Dies()]
)
trainer.fit(model, train_loader)""",
        ENDS,
    ],
    "trainer": [
        DIES,
        DATA,
        f"""from transformers import Trainer, TrainerCallback, TrainingArguments

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {MODEL.replace("model", "self.net", 1)}

    def forward(self, inputs=None, labels=None):
        found = self.net(inputs)
        return {{"loss": nn.functional.mse_loss(found, labels), "logits": found}}

class Dies(TrainerCallback):
    def on_epoch_begin(self, args, state, control, **more):
        if state.epoch and state.epoch >= 2:
            dies()

rows = [{{"inputs": inputs, "labels": labels}} for inputs, labels in data]
model = Model()""",
        """arguments = TrainingArguments("out", num_train_epochs=3, use_cpu=True, report_to=[], save_strategy="no")
trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[Dies()])
trainer.train()""",
        ENDS,
    ],
}


def ends(folder, name, *, die):
    """Port a notebook and run it, killed once or never; return what its last cell printed."""
    folder.mkdir(parents=True)
    ported = port(write_notebook(folder / "n.ipynb", NOTEBOOKS[name]))
    assert any(change.kind == "train" for change in ported.changes), ported
    done = subprocess.run(
        [sys.executable, "-m", "colabkit", "run", ported.output, "-p", f"die={die}", "--json"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["attempts"] == 1 + die
    cells = json.loads((folder / "n.ported.out.ipynb").read_text())["cells"]
    return "".join(cells[-1]["outputs"][0]["text"])
