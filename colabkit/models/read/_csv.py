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

from colabkit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from colabkit._types import StrPath

    Array = np.ndarray[Any, Any]

_BLOCK = 1 << 16  # larger, and the allocator returns the arrays to the system after each block: twice the time
_LONGEST_LINE = 1 << 20
_HEADER_BYTES = 1 << 16
_NEWLINE, _ZERO = ord("\n"), ord("0")
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
    try:
        with open(path, "rb") as file:
            first = file.readline(_HEADER_BYTES)
            _check_header(path, first, columns)
            # The shortest row has one digit and one separator a column; what is not needed is never touched.
            rows = np.empty((os.fstat(file.fileno()).st_size // (2 * len(columns)) + 1, len(columns)), np.uint8)
            count = 0
            for block in _blocks(path, file):
                count += _read_block(path, block, columns, rows, count)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}", do="check the path") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read", why=error.strerror or str(error), do="check the path") from error
    if not count:
        raise DataError(f"{path} has no rows", why="there is nothing below its first line", do=_FORM)
    return rows[:count]


def _names(line: bytes) -> list[str]:
    try:
        text = line.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return []
    return [name.strip() for name in next(csv.reader([text]), [])]


def _check_header(path: Path, line: bytes, columns: list[str]) -> None:
    names = _names(line)
    if not line.strip():
        raise DataError(f"{path} is empty", do=_FORM)
    if names == columns:
        return
    if missing := [name for name in columns if name not in names]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        shown = ", ".join(names[:3])[:80]
        raise DataError(f"{path} has no column {missing[0]!r}{more}", why=f"its first line begins: {shown}", do=_FORM)
    if extra := [name for name in names if name not in columns]:
        raise DataError(f"{path} has a column {extra[0][:40]!r} that does not belong there", do=_FORM)
    place = next(index for index, (name, due) in enumerate(zip(names, columns, strict=False)) if name != due)
    raise DataError(
        f"the columns of {path} are in another order",
        why=f"column {place + 1} is {names[place]!r}, and {columns[place]!r} is due",
        do=_FORM,
    )


def _blocks(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """Give the rest of a file in blocks of whole lines that end with a bare newline."""
    rest = b""
    while data := file.read(_BLOCK):
        data = rest + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) > _LONGEST_LINE:
            raise DataError(f"{path} is no CSV", why=f"it has a line of more than {_LONGEST_LINE} bytes", do=_FORM)
        rest = data[end:]
        if end:
            yield _plain_lines(data[:end])
    if rest.strip():
        yield _plain_lines(rest + b"\n")


def _plain_lines(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n") if b"\r" in data else data


def _read_block(path: Path, block: bytes, columns: list[str], rows: Array, count: int) -> int:
    """Read the lines of a block into `rows` from `count` on, and say how many there were."""
    values = _read_digits(block, len(columns))
    if values is None:
        values = _read_fields(path, block, columns, count)
    if count + len(values) > len(rows):
        raise DataError(f"{path} grew while it was read", do="wait until it is written, then run the same again")
    rows[count : count + len(values)] = values
    return len(values)


def _read_digits(block: bytes, width: int) -> Array | None:
    """Read a block of bare digits; None where it is written in another way or wrong.

    Each byte gets the value of its field up to itself, by arithmetic on whole blocks of bytes; then the bytes before
    the separators are picked.
    """
    raw = np.frombuffer(_AHEAD + block, np.uint8)
    is_digit = (raw >= _ZERO).view(np.uint8)
    digits = (raw - np.uint8(_ZERO)) * is_digit
    third, second, last = is_digit[1:-2], is_digit[2:-1], is_digit[3:]
    ends = np.flatnonzero(last == 0)
    lines = block.count(b"\n")
    if len(ends) != lines * width or lines + block.count(b",") != len(ends) or digits.max() > 9:
        return None
    tail = digits[3:] + digits[2:-1] * np.uint8(10)
    hundreds = digits[1:-2] * (second & last)
    values = tail + hundreds * np.uint8(100)
    out_of_range = hundreds.max() > 2 or (values < tail).any()  # up to 299: wrapped around, it is smaller than its tail
    empty = not (second | last).all()
    too_long = (is_digit[:-3] & third & second & last).any()
    if out_of_range or empty or too_long or (raw[ends[width - 1 :: width] + len(_AHEAD)] != _NEWLINE).any():
        return None
    picked: Array = values.take(ends - 1).reshape(lines, width)
    return picked


def _read_fields(path: Path, block: bytes, columns: list[str], count: int) -> Array:
    """Read a block field by field, and name the first one that is wrong."""
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        row = count + block.count(b"\n", 0, error.start) + 1
        raise DataError(f"row {row} of {path} is no text", why=str(error), do=_FORM) from error
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
                do="correct or remove that row",
            )
        values.append([_number(path, row, *pair) for pair in zip(columns, fields, strict=True)])
    return np.array(values, np.uint8).reshape(len(values), len(columns))


def _number(path: Path, row: int, column: str, field: str) -> int:
    try:
        number = float(field)
    except ValueError:
        number = float("nan")
        why = "it is empty" if not field.strip() else "it is no number"
    else:
        why = "a whole number from 0 to 255 is needed"
    if 0 <= number <= 255 and number == int(number):
        return int(number)
    raise DataError(
        f"row {row} of {path}, column {column!r}: {field.strip()[:40]!r}", why=why, do="correct or remove that row"
    )
