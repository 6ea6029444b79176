"""A folder of pictures with one folder a class: `7/anything.png`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.foreign import reading
from colabkit._internal.log import notify
from colabkit._internal.optional import require
from colabkit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Array = np.ndarray[Any, Any]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def read_image(path: Path, size: tuple[int, int]) -> Array:
    """Read one picture in shades of grey.

    Args:
        path: The file.
        size: Its height and width.

    Returns:
        uint8, shape `size`.

    Raises:
        DataError: It is not a picture, or of another size.
    """
    image = require("PIL.Image", extra="train", why="pictures are read with it")
    with (
        reading(lambda why: DataError(f"{path} is not a picture", why=why, hint="remove or replace it")),
        image.open(path) as picture,
    ):
        if (picture.height, picture.width) != size:  # known before its pixels are unpacked
            shape = f"{picture.height} x {picture.width}"
            raise DataError(
                f"the picture {path} is {shape}", why=f"{size[0]} x {size[1]} is needed", hint="resize or remove it"
            )
        return np.asarray(picture.convert("L"))


def read_folder(folder: Path, labels: Sequence[str], size: tuple[int, int]) -> tuple[Array, Array]:
    """Read the pictures of a folder of classes.

    Args:
        folder: Has one folder a class, named as in `labels`.
        labels: The name of each class.
        size: Height and width.

    Returns:
        The pictures, uint8, shape (samples, height, width), and their class numbers.

    Raises:
        DataError: A class or a picture is not one; the message names it.
    """
    pictures, classes, skipped = [], [], 0
    for place in sorted(folder.iterdir()):
        if not place.is_dir() or place.name.startswith((".", "_")):
            continue
        if place.name not in labels:
            raise DataError(
                f"the folder {place} is not a class",
                why=f"the classes are {', '.join(labels)}",
                hint="rename or move it",
            )
        for path in sorted(place.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                pictures.append(read_image(path, size))
                classes.append(labels.index(place.name))
            else:
                skipped += 1
    if not pictures:
        raise DataError(f"{folder} holds no pictures", why="pictures are expected in one folder per class", hint=FORM)
    if skipped:
        notify("%s: %s files that are not pictures were skipped", folder, skipped)
    return np.stack(pictures), np.array(classes, np.uint8)


FORM = "lay them out as 0/any-name.png to 9/any-name.png"
