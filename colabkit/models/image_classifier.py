"""A classifier of pictures of your own: one folder a class, of any size and format.

MobileNetV2 with the weights of ImageNet below a new head where its weights can be fetched, which is said; else a small
convolutional network from nothing. Pictures are turned, mirrored and zoomed a little while it trains.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.paths import expand
from colabkit._internal.log import notify
from colabkit.errors import ColabKitError, DataError
from colabkit.models.base import ImageData
from colabkit.models.readers.pictures import FORM, read_pictures
from colabkit.transfer.fetching import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.models.base import Data, Sprint

SIDE = 96
WEIGHTS = (
    "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
    "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
)
"""As in `keras.applications.MobileNetV2`."""

PRETRAINED, SMALL = "MobileNetV2", "small"
_RATE = 1e-3
_TEST_SHARE = 10  # one in ten of each class where the folders do not say


class Reference:
    """What `train` needs to know; one object a training, since the number of classes comes from the data.

    Attributes:
        variant: Which network; "" until it is chosen. A run goes on with the one that it was begun with.
        weights_from: Where its weights come from, in the forms of `fetch`; Keras' own address when None.
    """

    EPOCHS = 15
    BATCH_SIZE = 32
    STEPS_AT_ONCE: int | None = None
    FASTEST_ON_CPU: str | None = None
    SPRINT: Sprint | None = None

    def __init__(self) -> None:
        self.variant = ""
        self.weights_from: StrPath | None = None
        self._classes = 0
        self._weights: Path | None = None

    def load(self, data: Data | None) -> ImageData:
        """Read a folder, or a zip file, of pictures."""
        import numpy as np

        if not isinstance(data, (str, os.PathLike)) or str(data) == "sample":
            raise DataError("image-classifier needs a folder or a zip file of pictures", hint=f'data="photos/": {FORM}')
        place = expand(data)
        pictures = read_pictures(place, (SIDE, SIDE))
        self._classes = len(pictures.labels)
        tested = pictures.tested
        if tested is None:
            tested = np.zeros(len(pictures.y), bool)
            order = np.random.default_rng(0).permutation(len(pictures.y))
            for number in range(len(pictures.labels)):
                of_class = order[pictures.y[order] == number]
                tested[of_class[: max(1, len(of_class) // _TEST_SHARE)]] = True
        counts = ", ".join(
            f"{label} {(pictures.y == number).sum()}" for number, label in enumerate(pictures.labels[:10])
        )
        notify(
            "pictures: %s%s",
            counts,
            f" and {len(pictures.labels) - 10} classes more" if len(pictures.labels) > 10 else "",
        )
        return ImageData(
            x_train=pictures.x[~tested],
            y_train=pictures.y[~tested],
            x_test=pictures.x[tested],
            y_test=pictures.y[tested],
            labels=pictures.labels,
            source=str(place),
        )

    def build(self, learning_rate: Any = _RATE) -> Any:
        """Build and compile the model; it takes pixels from 0 to 255 and gives one logit a class."""
        import keras

        weights = self._weights
        augmented = [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(0.05),
            keras.layers.RandomZoom(0.1),
        ]
        if weights is not None:
            base = keras.applications.MobileNetV2(input_shape=(SIDE, SIDE, 3), include_top=False, weights=str(weights))
            base.trainable = False
            body = [keras.layers.Rescaling(1 / 127.5, offset=-1), base, keras.layers.GlobalAveragePooling2D()]
        else:
            body = [keras.layers.Rescaling(1 / 255)]
            for filters in (32, 64, 128, 128):
                body += [
                    keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
                    keras.layers.BatchNormalization(),
                    keras.layers.ReLU(),
                    keras.layers.MaxPooling2D(),
                ]
            body.append(keras.layers.GlobalAveragePooling2D())
        head = [keras.layers.Dropout(0.2), keras.layers.Dense(self._classes)]
        model = keras.Sequential(
            [keras.layers.Input((SIDE, SIDE, 3)), *augmented, *body, *head], name="image_classifier"
        )
        self._compile(model, learning_rate)
        return model

    def _compile(self, model: Any, learning_rate: Any) -> None:
        import keras

        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )

    def unfreeze(self, model: Any, learning_rate: float | None = None) -> bool:
        """Let the whole network train, at a hundredth of the rate; says whether there was anything frozen."""
        import keras

        base = next((layer for layer in model.layers if isinstance(layer, keras.Model)), None)
        if base is None:
            notify("fine-tune: nothing to do, since the small network has trained as a whole")
            return False
        base.trainable = True
        for layer in base.layers:  # their averages are of a million pictures, and a few would spoil them
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        self._compile(model, (learning_rate or _RATE) / 100)
        return True

    def choose(self) -> None:
        """Choose the network: with the weights of ImageNet where they can be fetched."""
        if self.variant == SMALL:
            return
        try:
            self._weights = fetch(self.weights_from or WEIGHTS, unpack=False)
        except ColabKitError as error:
            if self.variant == PRETRAINED or self.weights_from is not None:
                raise  # begun with them, or asked for: another network would be another training
            notify(
                "network: a small one from scratch, since the weights of MobileNetV2 cannot be fetched (%s)", error.what
            )
            self.variant = SMALL
            return
        notify("network: MobileNetV2 with the weights of ImageNet; its head is trained")
        self.variant = PRETRAINED
