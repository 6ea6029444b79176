"""Claims about pictures of any folder: every size and format is read, what is none is told, and a class is a folder."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from colabkit.errors import DataError
from colabkit.models.image_classifier import SIDE, Reference
from colabkit.models.readers.pictures import read_picture, read_pictures

Image = pytest.importorskip("PIL.Image", reason="Pillow is missing: pip install pillow")

RED, BLUE = (220, 40, 40), (40, 40, 220)


def picture(colour, size=(60, 40), mode="RGB"):
    """A picture of one colour."""
    return Image.new("RGB", size, colour).convert(mode)


@pytest.fixture
def photos(tmp_path):
    """Two classes with names from elsewhere, and pictures as cameras, scanners and editors write them."""
    for name, colour in (("猫", RED), ("dog", BLUE)):
        folder = tmp_path / "photos" / name
        (folder / "more").mkdir(parents=True)
        for number, (ending, mode) in enumerate(
            [("jpg", "RGB"), ("jpg", "CMYK"), ("png", "RGBA"), ("gif", "P"), ("bmp", "RGB"), ("tif", "RGB")]
        ):
            picture(colour, (40 + 20 * number, 70), mode).save(folder / f"图 {number}.{ending}")
        picture(colour, (300, 20)).save(folder / "more" / "wide.webp")
    return tmp_path / "photos"


class Unmarked(zipfile.ZipInfo):
    """A member whose name is UTF-8 and does not say so."""

    def _encodeFilenameFlags(self):  # noqa: N802 - zipfile's own
        return self.filename.encode(), self.flag_bits & ~0x800


def packed(folder, path, *, mark):
    """A zip of the folder, its names with the mark of UTF-8 or without, as other programs write them."""
    with zipfile.ZipFile(path, "w") as file:
        for one in sorted(folder.rglob("*.*")):
            name = f"my photos/{one.relative_to(folder).as_posix()}"
            file.writestr((zipfile.ZipInfo if mark else Unmarked)(name), one.read_bytes())
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "foreign zip"])
def test_every_format_of_any_size_is_read(photos, tmp_path, kind):
    """A folder and a zip of it give the same: all pictures, of one size, each in the colour of its class."""
    place = photos if kind == "folder" else packed(photos, tmp_path / "photos.zip", mark=kind == "zip")
    found = read_pictures(place, (32, 48))
    assert found.labels == ("dog", "猫")
    assert found.x.shape == (14, 32, 48, 3)
    assert np.bincount(found.y).tolist() == [7, 7]
    middle = found.x[:, 16, 24].astype(int)
    assert (abs(middle - np.array([BLUE, RED])[found.y]) < 30).all()


def test_sixteen_bits_transparency_and_the_cameras_side_are_understood(tmp_path):
    """16 bits are scaled, not cut; what is clear is white; a picture lies as EXIF says."""
    Image.fromarray(np.full((20, 20), 32768, np.uint16)).save(tmp_path / "deep.png")
    assert abs(int(read_picture(tmp_path / "deep.png", (8, 8))[4, 4, 0]) - 128) <= 1
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png", (8, 8))[4, 4].tolist() == [255, 255, 255]
    half = Image.new("RGB", (40, 40), BLUE)
    half.paste(RED, (0, 0, 20, 40))  # red on the left; turned by EXIF it is above
    exif = Image.Exif()
    exif[0x0112] = 6
    half.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = read_picture(tmp_path / "turned.jpg", (40, 40))
    assert turned[5, 20, 0] > 150
    assert turned[35, 20, 2] > 150


def test_what_is_no_picture_is_left_out_and_told(photos, caplog):
    """The names and the causes of five of them stand in one line; nothing else is lost."""
    caplog.set_level("INFO", "colabkit")
    (photos / "dog" / "text.jpg").write_text("no picture")
    content = (photos / "dog" / "图 0.jpg").read_bytes()
    (photos / "dog" / "cut.jpg").write_bytes(content[: len(content) // 2])
    (photos / "dog" / "bomb.png").write_bytes(huge())
    (photos / "dog" / "notes.txt").write_text("no picture, and no name of one")
    (photos / "dog" / ".hidden.jpg").write_bytes(content)
    assert len(read_pictures(photos, (16, 16)).x) == 14
    assert "3 files are not pictures and are left out" in caplog.text
    for word in ("text.jpg", "cut.jpg", "bomb.png", "10000000000 pixels"):
        assert word in caplog.text


def test_pictures_of_a_phone_that_are_not_read_are_told(photos, caplog):
    """HEIC, raw files and films in a class are named, with what to do; notes and hidden files are not."""
    caplog.set_level("INFO", "colabkit")
    for name in ("IMG_1.HEIC", "IMG_2.heic", "IMG_3.mov", "notes.txt"):
        (photos / "dog" / name).write_bytes(b"x")
    assert len(read_pictures(photos, (16, 16)).x) == 14
    assert "3 files are of a kind that is not read, and are left out; convert them to .jpg" in caplog.text
    assert "IMG_1.HEIC" in caplog.text
    assert "notes.txt" not in caplog.text


def huge():
    """A small file that says it has ten gigapixels."""
    import io
    import struct
    import zlib

    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "png")
    content = bytearray(file.getvalue())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


def test_what_cannot_be_learned_from_is_refused_by_name(tmp_path):
    """No folder, one class, a class with one picture, arrays: each says what is needed."""
    (tmp_path / "cat").mkdir()
    picture(RED).save(tmp_path / "cat" / "a.png")
    with pytest.raises(DataError, match="one class, cat"):
        read_pictures(tmp_path, (8, 8))
    (tmp_path / "dog").mkdir()
    picture(RED).save(tmp_path / "dog" / "a.png")
    with pytest.raises(DataError, match="the class cat has 1 pictures"):
        read_pictures(tmp_path, (8, 8))
    with pytest.raises(DataError, match="no pictures in folders"):
        read_pictures(tmp_path / "cat", (8, 8))
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        read_pictures(tmp_path / "text.zip", (8, 8))
    with pytest.raises(DataError, match="image-classifier needs a folder"):
        Reference().load(None)


def test_the_test_data_is_the_users_where_it_is_told(photos, tmp_path):
    """Folders train and val are kept apart; without them one in ten of each class is drawn, the same each time."""
    found = Reference().load(photos)
    assert (found.x_train.shape, len(found.x_test)) == ((12, SIDE, SIDE, 3), 2)
    assert sorted(found.y_test.tolist()) == [0, 1]
    assert (Reference().load(photos).x_test == found.x_test).all()
    for part in ("train", "val"):
        for name, colour in (("a", RED), ("b", BLUE)):
            (tmp_path / "parted" / part / name).mkdir(parents=True)
            for number in range(3 if part == "train" else 1):
                picture(colour).save(tmp_path / "parted" / part / name / f"{number}.png")
    found = Reference().load(tmp_path / "parted")
    assert (len(found.x_train), len(found.x_test), found.labels) == (6, 2, ("a", "b"))
