"""A convolutional network on the digits of Kaggle's competition digit-recognizer, by fastai.

Source: https://www.kaggle.com/competitions/digit-recognizer and, for the network, chapter 13 of fastai's book,
https://github.com/fastai/fastbook/blob/master/13_convolutions.ipynb
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.models.base import ImageData
from colabkit.models.datasets import LABELS, load_digit_recognizer

if TYPE_CHECKING:
    from colabkit.models.base import Data

LIBRARY = "fastai"
EPOCHS = 5
BATCH_SIZE = 64
LEARNING_RATE = 3e-3


def load(data: Data | None) -> ImageData:
    """Load the digits; fastai itself scales their pixels to 0 to 1, batch by batch."""
    digits = load_digit_recognizer(data)
    return ImageData(
        x_train=digits.x_train[..., None],
        y_train=digits.y_train,
        x_test=digits.x_test[..., None],
        y_test=digits.y_test,
        labels=LABELS,
        source=digits.source,
        divided_by=255,
    )


def build(samples: ImageData, batch_size: int = BATCH_SIZE) -> Any:
    """Build the learner: images in their order, the test data as validation data."""
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        ItemGetter,
        Learner,
        PILImageBW,
        accuracy,
    )

    images = [*samples.x_train[..., 0], *samples.x_test[..., 0]]
    labels = [samples.labels[number] for number in [*samples.y_train, *samples.y_test]]
    block = DataBlock(
        blocks=(ImageBlock(PILImageBW), CategoryBlock(vocab=list(samples.labels), sort=False)),
        get_x=ItemGetter(0),
        get_y=ItemGetter(1),
        splitter=IndexSplitter(range(len(samples.x_train), len(images))),
    )
    # Without worker processes: these images are small, and starting the workers anew in each epoch takes longer.
    dls = block.dataloaders(list(zip(images, labels, strict=True)), bs=batch_size, num_workers=0)
    return Learner(dls, network(len(samples.labels)), metrics=accuracy)


def fit(learn: Any, epochs: int, callbacks: list[Any], learning_rate: float | None = None) -> None:
    """Train the learner: one cycle of the learning rate, up and down again."""
    learn.fit_one_cycle(epochs, learning_rate or LEARNING_RATE, cbs=callbacks)


def network(classes: int = len(LABELS)) -> Any:
    """Build the network alone: each layer halves the sides of the image, and the last one gives one logit a class."""
    from fastai.vision.all import ConvLayer, Flatten
    from torch import nn

    return nn.Sequential(
        ConvLayer(1, 8, ks=5, stride=2),  # 14 x 14
        ConvLayer(8, 16, stride=2),  # 7 x 7
        ConvLayer(16, 32, stride=2),  # 4 x 4
        ConvLayer(32, 64, stride=2),  # 2 x 2
        ConvLayer(64, classes, stride=2, norm_type=None, act_cls=None),  # 1 x 1
        Flatten(),
    )
