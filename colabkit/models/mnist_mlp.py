"""The tutorial's multilayer perceptron on MNIST.

Source: https://www.tensorflow.org/tutorials/quickstart/beginner
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.models.base import ImageData, Sprint
from colabkit.models.datasets import LABELS, load_mnist

if TYPE_CHECKING:
    from colabkit.models.base import Data

EPOCHS = 5
BATCH_SIZE = 32
STEPS_AT_ONCE = 32
FASTEST_ON_CPU = "jax"
SPRINT = Sprint(epochs=5, batch_size=250, learning_rate=6e-3)


def load(data: Data | None) -> ImageData:
    """Load the digits and scale their pixels to 0 to 1."""
    digits = load_mnist(data)
    return ImageData(
        x_train=digits.x_train.astype("float32") / 255,
        y_train=digits.y_train,
        x_test=digits.x_test.astype("float32") / 255,
        y_test=digits.y_test,
        labels=LABELS,
        source=digits.source,
        divided_by=255,
    )


def build(learning_rate: Any = 1e-3) -> Any:
    """Build and compile the model; it gives one logit a digit."""
    import keras

    model = keras.Sequential(
        [
            keras.layers.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10),
        ],
        name="mnist_mlp",
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model
