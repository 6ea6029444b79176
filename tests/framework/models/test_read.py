"""Claims about the readers of digits: what comes out is what is in the file, and what is wrong is named."""

from __future__ import annotations

import gzip
import os
import struct

import numpy as np
import pytest

from colabkit.errors import DataError
from colabkit.models import datasets
from colabkit.models.readers import binary_cache, csv
from colabkit.models.readers.csv import read_csv

COLUMNS = ["label", "pixel0", "pixel1"]
RNG = np.random.default_rng(0)


def text_of(rows, columns=COLUMNS, end="\n"):
    """Write rows as a CSV."""
    return end.join([",".join(columns), *(",".join(map(str, row)) for row in rows), ""])


def digits_csv(path, rows=42):
    """Write a small train.csv of the competition's form; return its labels and images."""
    y = np.arange(rows) % 10
    x = RNG.integers(0, 256, (rows, 784))
    path.write_text(text_of(np.column_stack([y, x]).tolist(), ["label", *datasets.PIXELS]))
    return y, x.reshape(-1, 28, 28)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [30, 1 << 16])
def test_every_value_comes_out_wherever_a_block_ends(tmp_path, monkeypatch, end, block):
    """All numbers of one to three digits, in every position, with lines cut by the ends of blocks."""
    monkeypatch.setattr(csv, "_BLOCK", block)
    rows = RNG.integers(0, 256, (500, 3))
    rows[:256, 1] = np.arange(256)
    (tmp_path / "a.csv").write_bytes(text_of(rows.tolist(), end=end).encode())
    assert np.array_equal(read_csv(tmp_path / "a.csv", COLUMNS), rows)


def test_the_last_line_needs_no_newline_and_a_byte_order_mark_is_no_name(tmp_path):
    """Files that end without a newline, begin with a byte order mark or have blank lines are read alike."""
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbflabel,pixel0,pixel1\n1,2,3\n\n4,5,6")
    assert read_csv(tmp_path / "a.csv", COLUMNS).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_other_ways_to_write_the_same_numbers_are_read(tmp_path):
    """Quotes, spaces, leading zeros and a needless .0 do not change a number."""
    (tmp_path / "a.csv").write_text('label,pixel0,pixel1\n"1", 2,3.0\n004,05,6\n')
    assert read_csv(tmp_path / "a.csv", COLUMNS).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("1,2", "row 3 .* has 2 fields"),
        ("1,2,3,4", "row 3 .* has 4 fields"),
        ("1,x,3", "row 3 .*column 'pixel0'.*'x'"),
        ("1,2,", "row 3 .*column 'pixel1'"),
        ("1,2,nan", "row 3 .*column 'pixel1'.*'nan'"),
        ("1,256,3", "row 3 .*column 'pixel0'.*'256'"),
        ("1,999,3", "row 3 .*'999'"),
        ("1,1000,3", "row 3 .*'1000'"),
        ("-1,2,3", "row 3 .*column 'label'.*'-1'"),
        ("1,2.5,3", "row 3 .*'2.5'"),
        ("1,2,inf", "row 3 .*'inf'"),
        ("1,2,3\0", "row 3 .*column 'pixel1'"),
        ("1;2;3", "row 3 .* has 1 fields"),
        ("1,2\n3,4,5,6", "row 3 .* has 2 fields"),  # as many fields as two whole rows
    ],
)
def test_a_wrong_field_is_named_by_row_and_column(tmp_path, line, named):
    """Ragged rows, strings, NaN and numbers that are no pixel are refused by their place, never read as something."""
    (tmp_path / "a.csv").write_text(f"label,pixel0,pixel1\n1,2,3\n4,5,6\n{line}\n7,8,9\n")
    with pytest.raises(DataError, match=named):
        read_csv(tmp_path / "a.csv", COLUMNS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "is empty"),
        ("label,pixel0,pixel1\n", "has no rows"),
        ("label,pixel1\n1,2\n", "no column 'pixel0'"),
        ("1,2,3\n", "no column 'label' and 2 more"),
        ("label,pixel1,pixel0\n1,2,3\n", "another order"),
        ("label,pixel0,pixel1,note\n1,2,3,4\n", "column 'note'"),
    ],
)
def test_wrong_columns_are_named(tmp_path, text, named):
    """An empty file, missing, strange and exchanged columns say so."""
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=named):
        read_csv(tmp_path / "a.csv", COLUMNS)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    """A binary file under the name of a CSV is a DataError, not a decoding error."""
    (tmp_path / "a.csv").write_bytes(b"label,pixel0,pixel1\n1,2,3\n\xff\xfe,1,2\n")
    with pytest.raises(DataError, match=r"row 2 .*not text"):
        read_csv(tmp_path / "a.csv", COLUMNS)


def test_a_csv_is_split_40000_to_2000_in_proportion(tmp_path):
    """One row in 21 is kept for the test, each row is in one part only, and the same ones each time."""
    y, x = digits_csv(tmp_path / "train.csv", 420)
    digits = datasets.read_digits(tmp_path / "train.csv")
    again = datasets.read_digits(tmp_path)  # the folder that Kaggle's archive unpacks to
    assert (len(digits.x_train), len(digits.x_test)) == (400, 20)
    rows = {image.tobytes() for image in x.astype(np.uint8)}
    assert {image.tobytes() for image in np.concatenate([digits.x_train, digits.x_test])} == rows
    assert np.array_equal(digits.x_test, again.x_test)
    assert sorted(np.concatenate([digits.y_train, digits.y_test])) == sorted(y)


def test_the_binary_copy_is_used_until_the_file_changes(tmp_path, monkeypatch):
    """The second reading parses nothing; after an edit of one digit that keeps the size, the new content comes."""
    path = tmp_path / "train.csv"
    digits_csv(path)
    first = datasets.read_train_csv(path)
    with monkeypatch.context() as patch:
        patch.setattr(csv, "read_csv", lambda *_: pytest.fail("parsed again"))
        kept = datasets.read_train_csv(path)[0]
        assert np.array_equal(kept, first[0])
        kept += 1  # what a user does with it stays in this process
        assert np.array_equal(datasets.read_train_csv(path)[0], first[0])
    text = path.read_text()
    at = text.index("\n") + 1
    path.write_text(f"{text[:at]}9{text[at + 1 :]}")
    assert datasets.read_train_csv(path)[1][0] == 9
    status = path.stat()  # and an edit that hides its time, seen by the content
    path.write_text(f"{text[:at]}8{text[at + 1 :]}")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert datasets.read_train_csv(path)[1][0] == 8


@pytest.mark.parametrize("damage", [b"", b"{}\n", b"not json\n" + bytes(100), None])
def test_a_damaged_copy_is_made_anew(tmp_path, damage):
    """A copy that is empty, foreign or cut off costs one slow reading and nothing else."""
    path = tmp_path / "train.csv"
    digits_csv(path)
    first = datasets.read_train_csv(path)[0]
    copy = binary_cache.place_of(path, "label")
    copy.write_bytes(copy.read_bytes()[:-50] if damage is None else damage)
    assert np.array_equal(datasets.read_train_csv(path)[0], first)
    assert copy.stat().st_size > first.nbytes


def test_a_copy_that_claims_objects_is_made_anew(tmp_path):
    """Numbers are mapped, never addresses: a copy of the right length whose type is "object" is not believed."""
    path = tmp_path / "train.csv"
    digits_csv(path)
    first = datasets.read_train_csv(path)[0]
    copy = binary_cache.place_of(path, "label")
    assert b"'|u1'" in copy.read_bytes()
    copy.write_bytes(copy.read_bytes().replace(b"'|u1'", b"'|O8'") + bytes(8 * copy.stat().st_size))
    assert np.array_equal(datasets.read_train_csv(path)[0], first)


def test_without_room_for_the_copy_the_data_still_comes(tmp_path, monkeypatch, caplog):
    """A cache folder that cannot be made is told in one line, and the data is read."""
    caplog.set_level("INFO", "colabkit")
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path / "taken"))
    digits_csv(tmp_path / "train.csv")
    assert len(datasets.read_train_csv(tmp_path / "train.csv")[0]) == 42
    assert "no binary copy" in caplog.text


def test_labels_of_one_class_and_beyond_nine_are_refused(tmp_path, caplog):
    """One class alone, a label of 10, and too few rows are each said; a rare class is warned of."""
    images = np.zeros((42, 28, 28), np.uint8)
    with pytest.raises(DataError, match="all 40 labels in arrays are 7"):
        datasets.read_digits((images, np.full(42, 7)))
    labels = np.arange(42) % 10
    labels[5] = 10
    with pytest.raises(DataError, match=r"y\[5\] in arrays is 10"):
        datasets.read_digits((images, labels))
    with pytest.raises(DataError, match="too few"):
        datasets.read_digits((images[:5], np.arange(5)))
    labels[:] = [0, 1] * 21
    labels[0] = 3
    datasets.read_digits((images, labels))
    assert "out of balance" in caplog.text


def idx(array):
    """Pack an array as IDX."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def idx_folder(folder):
    """Write MNIST's four files, small; two of them packed. Return the arrays."""
    arrays = {
        "train-images-idx3-ubyte": RNG.integers(0, 256, (20, 28, 28)),
        "train-labels-idx1-ubyte": np.arange(20) % 10,
        "t10k-images-idx3-ubyte": RNG.integers(0, 256, (10, 28, 28)),
        "t10k-labels-idx1-ubyte": np.arange(10),
    }
    for name, array in arrays.items():
        if "images" in name:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name.replace("-idx", ".idx")).write_bytes(idx(array))
    return list(arrays.values())


def test_idx_files_are_read_packed_or_not(tmp_path):
    """A folder with MNIST's own files gives its arrays."""
    arrays = idx_folder(tmp_path)
    digits = datasets.read_digits(tmp_path)
    for found, due in zip((digits.x_train, digits.y_train, digits.x_test, digits.y_test), arrays, strict=True):
        assert np.array_equal(found, due)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x0d\3" + bytes(12), "not an IDX file"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 2**31), "claims the shape"),
        (gzip.compress(idx(np.zeros((2, 28, 28))), mtime=0)[:-4], "cannot be read"),
        (idx(np.zeros((2, 28, 28))) + b"more", "more bytes"),
        (idx(np.zeros((2, 28, 28)))[:5], "cut off"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, content, named):
    """Cut off, padded, of floats, or with a shape that would fill the memory: a DataError that names the file."""
    idx_folder(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").unlink()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=f"(?s)train-images-idx3-ubyte.*{named}"):
        datasets.read_digits(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="has no file train-images-idx3-ubyte"):
        datasets.read_digits(tmp_path)


def test_a_folder_of_pictures_is_read_by_class(tmp_path):
    """One folder a digit, PNG and JPEG; what is not a picture is passed over, a wrong one is named."""
    image = pytest.importorskip("PIL.Image", reason='Pillow is missing; pip install "pillow"')
    for number in range(10):
        (tmp_path / str(number)).mkdir()
        for copy in range(5):
            pixels = np.full((28, 28), 20 * number + copy, np.uint8)
            image.fromarray(pixels).save(tmp_path / str(number) / f"{copy}.png")
    (tmp_path / "3" / "notes.txt").write_text("mine")
    digits = datasets.read_digits(tmp_path)
    assert (len(digits.x_train), len(digits.x_test)) == (48, 2)
    assert all(picture[0, 0] // 20 == label for picture, label in zip(digits.x_train, digits.y_train, strict=True))
    image.fromarray(np.zeros((28, 30), np.uint8)).save(tmp_path / "4" / "wide.png")
    with pytest.raises(DataError, match=r"4/wide.png is 28 x 30"):
        datasets.read_digits(tmp_path)
    (tmp_path / "4" / "wide.png").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"4/wide.png is not a picture"):
        datasets.read_digits(tmp_path)
    (tmp_path / "4" / "wide.png").unlink()
    (tmp_path / "cats").mkdir()
    with pytest.raises(DataError, match="cats is not a class"):
        datasets.read_digits(tmp_path)


def test_data_of_another_kind_is_refused_with_the_forms(tmp_path):
    """A number, three arrays and an empty folder say what would be read."""
    for data in (7, (1, 2, 3), tmp_path):
        with pytest.raises(DataError, match=r"train\.csv|0/any-name"):
            datasets.read_digits(data)
