"""Pictures of any size and format with one folder a class, in a folder or a zip file."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import few
from colabkit._internal.log import warn
from colabkit._internal.optional import require
from colabkit._internal.process.threads import for_each
from colabkit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np

    Array = np.ndarray[Any, Any]

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".ico", ".avif")
_NOT_READ = (".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".svg", ".psd", ".mov", ".mp4")
"""What cameras and phones write beside those."""
FORM = "lay them out as cat/any-name.jpg and dog/any-name.jpg, or the same below train/ and test/"

_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")
_LARGEST = 200_000_000  # pixels; what is larger takes gigabytes to unpack, or wants to
_TOLD = 5
_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures with their classes.

    Attributes:
        x: uint8, shape (pictures, height, width, 3).
        y: Class numbers.
        labels: The names of the classes.
        tested: Which of them are for the test, as bools; None where the folder does not say.
    """

    x: Array
    y: Array
    labels: tuple[str, ...]
    tested: Array | None


def read_picture(source: Any, size: tuple[int, int]) -> Array:
    """Read one picture: upright as its EXIF says, in three colours of 8 bits, the middle cut to the size.

    Args:
        source: A path, or an open binary file.
        size: Height and width.

    Returns:
        uint8, shape (height, width, 3).

    Raises:
        DataError: It is not a picture, is damaged, or too large.
    """
    import warnings

    import numpy as np

    image = require("PIL.Image", extra="train", why="pictures are read with it")
    operations = require("PIL.ImageOps", extra="train", why="pictures are read with it")
    name = getattr(source, "name", source)
    height, width = size
    try:
        with warnings.catch_warnings(), image.open(source) as picture:
            warnings.simplefilter("ignore")  # of 90 megapixels and more, and of metadata that is odd
            if picture.width * picture.height > _LARGEST:
                raise DataError(
                    f"the picture {name} has {picture.width} x {picture.height} pixels",
                    why=f"more than {_LARGEST:,} are not unpacked",
                    hint="make it smaller, or remove it",
                )
            picture.draft("RGB", (2 * width, 2 * height))  # a JPEG is unpacked at a fraction of its size
            upright = operations.exif_transpose(picture)
            fitted = operations.fit(_in_colour(upright, image), (width, height), image.Resampling.BILINEAR)
            return np.asarray(fitted, np.uint8)
    except DataError:
        raise
    except image.UnidentifiedImageError as error:
        raise DataError(
            f"{name} is not a picture", why="it is of no format that Pillow reads", hint="replace it"
        ) from error
    except (OSError, ValueError, SyntaxError, MemoryError, EOFError, image.DecompressionBombError) as error:
        raise DataError(
            f"{name} is not a picture", why=str(error) or type(error).__name__, hint="replace it"
        ) from error


def _in_colour(picture: Any, image: Any) -> Any:
    """Bring a picture into RGB: 16 bits and floats are scaled, transparency lies on white."""
    import numpy as np

    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture).astype("float32")
        most = 65535.0 if picture.mode.startswith("I") and values.max() > 255 else max(255.0, float(values.max()))
        return image.fromarray((values.clip(0, most) * (255 / most)).round().astype("uint8")).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        ground = image.new("RGBA", clear.size, "white")
        return image.alpha_composite(ground, clear).convert("RGB")
    return picture.convert("RGB")


def read_pictures(place: Path, size: tuple[int, int], labels: Sequence[str] | None = None) -> Pictures:
    """Read a folder or a zip file of classes; what is not a picture is left out, and told.

    Args:
        place: Has one folder a class, or that below `train` and `test`.
        size: Height and width.
        labels: The classes that there may be, in their order; found when None.

    Returns:
        The pictures.

    Raises:
        DataError: There is no picture, one class alone, or one that is not among `labels`.
    """
    import numpy as np

    with _opened(place) as (names, open_one):
        if unread := [name for name in names if name.lower().endswith(_NOT_READ) and "/" in name]:
            what = "%s: %s files are of a kind that is not read, and are left out; convert them to .jpg: %s"
            warn(what, place, len(unread), few(unread, _TOLD))
        members = _classes(names)
        if not members:
            raise DataError(f"{place} holds no pictures in folders", why="a folder is a class", hint=FORM)
        known = tuple(labels) if labels is not None else tuple(sorted({label for _, label, _ in members}))
        if stranger := next((label for _, label, _ in members if label not in known), None):
            raise DataError(
                f"the folder {stranger} in {place} is not a class",
                why=f"the classes are {', '.join(known[:20])}",
                hint="rename or move it",
            )

        def read(name: str) -> Array | str:
            try:
                with open_one(name) as file:
                    return read_picture(file, size)
            except DataError as error:
                return error.why or error.what

        read_all: list[Array | str] = [""] * len(members)

        def read_one(number: int) -> None:
            read_all[number] = read(members[number][0])

        for_each(read_one, range(len(members)), threads=_AT_ONCE, name="colabkit-pictures")
    good = [number for number, one in enumerate(read_all) if not isinstance(one, str)]
    if bad := [f"{members[number][0]} ({one})" for number, one in enumerate(read_all) if isinstance(one, str)]:
        warn("%s: %s files are not pictures and are left out: %s", place, len(bad), few(bad, _TOLD))
    if not good:
        raise DataError(f"{place} holds no picture that can be read", hint=FORM)
    y = np.array([known.index(members[number][1]) for number in good], np.int64)
    counts = Counter(y.tolist())
    if labels is None:
        known = _worth_training(place, known, counts)
    tests = [members[number][2] for number in good]
    return Pictures(
        x=np.stack([read_all[number] for number in good]),
        y=y,
        labels=known,
        tested=None if None in tests else np.array(tests),
    )


def _worth_training(place: Path, labels: tuple[str, ...], counts: Counter[int]) -> tuple[str, ...]:
    """Refuse what cannot be learned from."""
    if len(labels) < 2:
        raise DataError(
            f"{place} holds one class, {labels[0]}", why="there is nothing to distinguish", hint=f"give two; {FORM}"
        )
    few = [label for number, label in enumerate(labels) if counts[number] < 2]
    if few:
        raise DataError(
            f"{place}: the class {few[0]} has {counts[labels.index(few[0])]} pictures that can be read",
            why="one is needed to train on and one to test",
            hint="give at least two pictures per class; fifty make a model that is worth something",
        )
    return labels


def _classes(names: Sequence[str]) -> list[tuple[str, str, bool | None]]:
    """Find the class of each file, and whether it is for the test; None where the folders do not say."""
    paths = [
        PurePosixPath(name)
        for name in names
        if name.lower().endswith(SUFFIXES)
        and not any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
    ]
    while paths and len({path.parts[0] for path in paths}) == 1 and all(len(path.parts) > 2 for path in paths):
        paths = [PurePosixPath(*path.parts[1:]) for path in paths]  # what a zip of a folder has around all
    by_end = {str(PurePosixPath(name)): name for name in names}
    top = {path.parts[0].lower() for path in paths}
    parted = bool(top) and top <= {*_TRAIN, *_TEST} and bool(top & {*_TRAIN}) and bool(top & {*_TEST})
    members: list[tuple[str, str, bool | None]] = []
    for path in paths:
        name = next((full for end, full in by_end.items() if end == str(path) or end.endswith(f"/{path}")), str(path))
        parts = path.parts[1:] if parted else path.parts
        if len(parts) > 1:
            members.append((name, parts[0], path.parts[0].lower() in _TEST if parted else None))
    return members


@contextlib.contextmanager
def _opened(place: Path) -> Iterator[tuple[list[str], Callable[[str], Any]]]:
    """List the files of a folder or a zip file, and what opens one of them."""
    if place.is_dir():
        names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
        yield names, lambda name: (place / name).open("rb")
        return
    if not zipfile.is_zipfile(place):
        raise DataError(f"{place} is neither a folder nor a zip file", hint=FORM)
    with zipfile.ZipFile(place) as packed:
        members = {_name(one): one for one in packed.infolist() if not one.is_dir()}

        def open_one(name: str) -> Any:
            if members[name].file_size > _LARGEST:
                raise DataError(f"{name} has {members[name].file_size:,} bytes", hint="make it smaller, or remove it")
            try:
                file = io.BytesIO(packed.read(members[name]))
            except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, NotImplementedError) as error:
                raise DataError(f"{name} cannot be unpacked", why=str(error), hint="pack it again") from error
            file.name = name
            return file

        yield sorted(members), open_one


def _name(member: zipfile.ZipInfo) -> str:
    """Read a name that was written without the mark of UTF-8, as many programs do it."""
    if member.flag_bits & 0x800:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename
