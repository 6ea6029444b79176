"""Read the offline logs that Neptune's client left behind; its service ended in March 2026, its package is not needed.

A run's folder has files `data-1.log`, `data-17.log`, ..., each a row of JSON objects: `{"obj": {"type": "LogFloats",
"path": ["train", "loss"], "values": [{"value": 0.5, "step": 1.0, "ts": 1700000000.0}]}, "version": 7}`. Source:
core/components/queue/disk_queue.py and internal/operation.py of the package neptune, versions 1.0 to 1.14.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.paths import expand
from colabkit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colabkit._types import StrPath

_LARGEST = 1 << 30  # a queue file of Neptune has 64 MiB at most


@dataclass(frozen=True, kw_only=True)
class NeptuneRun:
    """What an offline log holds.

    Attributes:
        folder: Where it lies.
        values: Single values by their name, such as `parameters/lr`.
        series: For each series its points in order: step, value, and seconds since 1970. A step is None where none was
            logged.
        left_out: Names of what is not a number, text or truth value: files, images, tags.
    """

    folder: Path
    values: dict[str, float | str | bool] = field(default_factory=dict)
    series: dict[str, list[tuple[float | None, float | str, float]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def read_neptune(where: StrPath) -> list[NeptuneRun]:
    """Read Neptune's offline logs.

    Args:
        where: A folder `.neptune`, a run in it, or the folder that it lies in.

    Returns:
        The runs, by their folders' names. What a kill has cut off at the end of a log is passed over.

    Raises:
        DataError: There is no such log, or one that is no row of JSON objects.

    Example:
        ```python
        for run in read_neptune("./old-project/.neptune"):
            print(run.values.get("sys/name"), run.series["train/loss"][-1])
        ```
    """
    place = expand(where)
    logs: dict[Path, list[Path]] = {}
    for path in sorted(place.rglob("data-*.log"), key=lambda path: (str(path.parent), _version(path))):
        logs.setdefault(path.parent, []).append(path)
    if not logs:
        raise DataError(
            f"there is no offline log of Neptune in {place}",
            why="such a log is a file data-1.log in .neptune/offline or .neptune/async",
            hint="pass the folder .neptune",
        )
    return [_read(folder, files) for folder, files in sorted(logs.items())]


def _version(path: Path) -> int:
    number = path.stem.removeprefix("data-")
    return int(number) if number.isdecimal() and len(number) < 20 else 0


def _read(folder: Path, files: list[Path]) -> NeptuneRun:
    run = NeptuneRun(folder=folder)
    for path in files:
        for number, operation in enumerate(_operations(path), start=1):
            try:
                _apply(run, operation["obj"])
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"operation {number} of {path} cannot be read", why=repr(error)[:200], hint="take another copy"
                ) from error
    return run


def _operations(path: Path) -> Iterator[Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path} is too large for a log of Neptune", hint="pass the folder .neptune")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path} cannot be read", why=error.strerror or str(error), hint="check the path") from error
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            item, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            if "\n" in text[at:].strip():  # not the last one: no kill has cut it off
                line = text.count("\n", 0, at) + 1
                raise DataError(
                    f"line {line} of {path} is not JSON", why=str(error), hint="take another copy"
                ) from error
            return
        yield item


def _apply(run: NeptuneRun, operation: Any) -> None:
    kind, name = operation["type"], "/".join(map(str, operation["path"]))
    if kind in ("AssignInt", "AssignFloat", "AssignBool", "AssignString", "AssignDatetime"):
        run.values[name] = operation["value"]
    elif kind in ("LogFloats", "LogStrings"):
        points = [(point.get("step"), point["value"], float(point["ts"])) for point in operation["values"]]
        run.series.setdefault(name, []).extend(points)
    elif kind in ("ClearFloatLog", "ClearStringLog"):
        run.series.pop(name, None)
    elif kind == "DeleteAttribute":
        run.values.pop(name, None)
        run.series.pop(name, None)
    elif kind != "ConfigFloatSeries" and name not in run.left_out:
        run.left_out.append(name)
