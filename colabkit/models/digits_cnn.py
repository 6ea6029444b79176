"""A convolutional network on the digits of Kaggle's competition digit-recognizer.

Source: https://www.kaggle.com/competitions/digit-recognizer
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.models.base import ImageData, Sprint
from colabkit.models.datasets import LABELS, load_digit_recognizer

if TYPE_CHECKING:
    from colabkit.models.base import Data

EPOCHS = 10
BATCH_SIZE = 32
STEPS_AT_ONCE = 32
FASTEST_ON_CPU = "tensorflow"
SPRINT = Sprint(epochs=3, batch_size=125, learning_rate=6e-3, bfloat16_on_cpu=True)


def load(data: Data | None) -> ImageData:
    """Load the digits, scale their pixels to 0 to 1, and give each pixel its one channel."""
    digits = load_digit_recognizer(data)
    return ImageData(
        x_train=digits.x_train[..., None].astype("float32") / 255,
        y_train=digits.y_train,
        x_test=digits.x_test[..., None].astype("float32") / 255,
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
            keras.layers.Input((28, 28, 1)),
            keras.layers.Conv2D(32, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(64, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Conv2D(64, (3, 3), activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ],
        name="digits_cnn",
    )
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model
