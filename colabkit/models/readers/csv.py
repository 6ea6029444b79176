"""A CSV of small whole numbers, as Kaggle's digit-recognizer has it, read fast and in little memory.

The bytes are taken in blocks that fit the processor's cache, and a block where every field is one to three digits is
read by arithmetic on all its bytes at once. Any other block is read again slowly, field by field: either it is written
otherwise (quotes, spaces, `7.0`), or the field that is wrong is named.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.display.few import few
from colabkit._internal.foreign import reading
from colabkit.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from colabkit._types import StrPath

    Array = np.ndarray[Any, Any]

_BLOCK = 1 << 16
_LONGEST_LINE = 1 << 20
_HEADER_BYTES = 1 << 16
_NEWLINE, _COMMA, _ZERO = np.frombuffer(b"\n,0", np.uint8)
_AHEAD = b"\n\n\n"  # so that the first bytes of a block have three before them
_FORM = "pass the file as Kaggle gives it, with the columns label, pixel0 to pixel783"


def read_csv(path: StrPath, columns: list[str]) -> Array:
    r"""Read a CSV whose fields are whole numbers from 0 to 255.

    Args:
        path: The file; its first line names the columns.
        columns: The columns that it must have, in this order.

    Returns:
        uint8, shape (rows, columns).

    Raises:
        DataError: The message names the row and the column that is wrong.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     _ = file.write("label,pixel0\n7,255\n1,0\n")
        ...     file.flush()
        ...     read_csv(file.name, ["label", "pixel0"]).tolist()
        [[7, 255], [1, 0]]
    """
    path = Path(path)
    with reading(lambda why: DataError(f"{path} cannot be read as a CSV", why=why, hint=_FORM)), _open(path) as file:
        first = file.readline(_HEADER_BYTES)
        _check_header(path, first, columns)
        # The shortest row has one digit and one separator a column; what is not needed is never touched.
        rows = np.empty((os.fstat(file.fileno()).st_size // (2 * len(columns)) + 1, len(columns)), np.uint8)
        count = 0
        work = _Work()
        for block in _blocks(path, file):
            count += _read_block(path, block, columns, rows, count, work)
    if not count:
        raise DataError(f"{path} has no rows", why="there is nothing below its first line", hint=_FORM)
    return rows[:count]


def _open(path: Path) -> BufferedReader:
    try:
        return open(path, "rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file at {path}", hint="check the path") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read", why=error.strerror or str(error), hint="check the path") from error


def _names(line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return []
    return [name.strip() for name in next(csv.reader([text]), [])]


def _check_header(path: Path, line: bytes, columns: list[str]) -> None:
    names = _names(line)
    if not line.strip():
        raise DataError(f"{path} is empty", hint=_FORM)
    if names == columns:
        return
    if missing := [name for name in columns if name not in names]:
        shown = ", ".join(names[:3])[:80]
        gone = few([repr(name) for name in missing], 1)
        raise DataError(f"{path} has no column {gone}", why=f"its first line begins: {shown}", hint=_FORM)
    if extra := [name for name in names if name not in columns]:
        raise DataError(f"{path} has a column {extra[0][:40]!r} that does not belong there", hint=_FORM)
    place = next(index for index, (name, due) in enumerate(zip(names, columns, strict=False)) if name != due)
    raise DataError(
        f"the columns of {path} are in another order",
        why=f"column {place + 1} is {names[place]!r}, and {columns[place]!r} is expected",
        hint=_FORM,
    )


def _blocks(path: Path, file: BufferedReader) -> Iterator[memoryview]:
    """Give the rest of a file in blocks of whole lines that end with a bare newline, with `_AHEAD` before each.

    All are read to the same place: with new memory for each, half of the time would be the system's for giving it.
    """
    first = len(_AHEAD)
    buffer, end = bytearray(_AHEAD + bytes(_BLOCK)), first
    while size := file.readinto(memoryview(buffer)[end:]):
        begin, end = end, end + size
        whole = buffer.rfind(b"\n", begin, end) + 1
        if whole:
            yield _plain_lines(buffer, whole)
            buffer[first : first + end - whole] = buffer[whole:end]
            end += first - whole
        elif end == len(buffer):
            if end > _LONGEST_LINE:
                raise DataError(
                    f"{path} is not a CSV", why=f"it has a line of more than {_LONGEST_LINE} bytes", hint=_FORM
                )
            buffer = buffer + bytes(len(buffer))
    if buffer[first:end].strip():
        yield _plain_lines(buffer[:end] + b"\n", end + 1)


def _plain_lines(buffer: bytearray, end: int) -> memoryview:
    if buffer.find(b"\r", 0, end) < 0:
        return memoryview(buffer)[:end]
    return memoryview(buffer[:end].replace(b"\r\n", b"\n"))


class _Work:
    """Memory for the steps of reading a block, the same for all blocks."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def of(self, name: str, size: int, dtype: Any = np.uint8) -> Array:
        array = self._arrays.get(name)
        if array is None or len(array) < size:
            array = self._arrays[name] = np.empty(max(size, _BLOCK), dtype)
        return array[:size]


def _read_block(path: Path, block: memoryview, columns: list[str], rows: Array, count: int, work: _Work) -> int:
    """Read the lines of a block into `rows` from `count` on, and say how many there were."""
    lines = _read_digits(np.frombuffer(block, np.uint8), rows[count:], work)
    if lines is None:
        values = _read_fields(path, bytes(block[len(_AHEAD) :]), columns, count)
        lines = len(values)
        if count + lines > len(rows):
            raise DataError(f"{path} grew while it was read", hint="wait until it is written, then run it again")
        rows[count : count + lines] = values
    return lines


def _read_digits(raw: Array, rows: Array, work: _Work) -> int | None:
    """Read a block of bare digits, and say how many lines; None where it is written in another way, or wrong.

    Each byte gets the value of the field that would end before it, by arithmetic on whole blocks of bytes; then those
    at the separators are picked.

    Args:
        raw: The bytes, three more before them.
        rows: Where the values go.
        work: Memory for the steps.
    """
    size, width = len(raw), rows.shape[1]
    some = work.of("some", size, np.bool_)  # for what is counted at once
    is_digit = np.greater_equal(raw, _ZERO, out=work.of("is_digit", size, np.bool_)).view(np.uint8)
    (ends,) = np.equal(is_digit[len(_AHEAD) :], 0, out=some[len(_AHEAD) :]).nonzero()
    lines = int(np.count_nonzero(np.equal(raw, _NEWLINE, out=some))) - len(_AHEAD)
    commas = np.count_nonzero(np.equal(raw, _COMMA, out=some))
    if len(ends) != lines * width or lines + commas != len(ends) or lines > len(rows):
        return None
    lengths = work.of("lengths", len(ends), ends.dtype)  # of the fields, with their separators
    lengths[0] = ends[0] + 1
    np.subtract(ends[1:], ends[:-1], out=lengths[1:])
    digits = np.subtract(raw, _ZERO, out=work.of("digits", size))
    digits *= is_digit
    if digits.max() > 9 or lengths.min() < 2 or lengths.max() > 4:
        return None
    third, second, last = digits[:-3], digits[1:-2], digits[2:-1]
    tail = np.multiply(second, 10, out=work.of("tail", size - 3))
    tail += last
    hundreds = np.logical_and(is_digit[1:-2], is_digit[2:-1], out=some[:-3]).view(np.uint8)
    hundreds *= third
    values = np.multiply(hundreds, 100, out=work.of("values", size - 3))
    values += tail
    too_large = hundreds.max() > 2 or np.count_nonzero(np.less(values, tail, out=some[:-3]))  # it wraps around
    if too_large or (raw[ends[width - 1 :: width] + len(_AHEAD)] != _NEWLINE).any():
        return None
    np.take(values, ends, out=rows[:lines].reshape(-1), mode="clip")  # any other mode copies once more
    return lines


def _read_fields(path: Path, block: bytes, columns: list[str], count: int) -> Array:
    """Read a block field by field, and name the first one that is wrong."""
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        row = count + block.count(b"\n", 0, error.start) + 1
        raise DataError(f"row {row} of {path} is not text", why=str(error), hint=_FORM) from error
    values = []
    row = count
    for fields in csv.reader(text.split("\n")):
        if not fields:
            continue  # a blank line
        row += 1
        if len(fields) != len(columns):
            raise DataError(
                f"row {row} of {path} has {len(fields)} fields",
                why=f"the first line names {len(columns)} columns",
                hint="correct or remove that row",
            )
        values.append([_number(path, row, *pair) for pair in zip(columns, fields, strict=True)])
    return np.array(values, np.uint8).reshape(len(values), len(columns))


def _number(path: Path, row: int, column: str, field: str) -> int:
    try:
        number = float(field)
    except ValueError:
        number = float("nan")
        why = "it is empty" if not field.strip() else "it is not a number"
    else:
        why = "a whole number from 0 to 255 is needed"
    if 0 <= number <= 255 and number == int(number):
        return int(number)
    raise DataError(
        f"row {row} of {path}, column {column!r}: {field.strip()[:40]!r}", why=why, hint="correct or remove that row"
    )
