"""Files of weights that a script has written before it trains, and that a later fit or loop of it may load.

A script writes the weights that it begins with (`model.save_weights(folder / "initial.weights.h5")`), so that each
fold, trial or phase begins alike. A new process draws others and writes those. A file in the system's temporary folder,
which is nobody's work, gets its content of the run back. A file elsewhere may be the result of days, and is never
written, nor is one of a format that may hold code to run, as `.pt` and `.keras` do: that they are others is told.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.disk.files import atomic_write
from colabkit.checkpoint.state import user_variables
from colabkit.runtime.process_start import interpreter_start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

_OF_WEIGHTS = re.compile(r".+\.(?:h5|hdf5|keras|npz|npy|pt|pth|ckpt|msgpack|eqx|pkl|pickle)")
_OF_NUMBERS_ALONE = ".weights.h5"
_MOST_BYTES = 1 << 26  # of all that is kept
_READ = 1 << 22  # bytes of a file that tell it from another: weights that were drawn anew differ from the first one on
_FILES = 64
_DEPTH = 2
_ITEMS = 64
_OF_A_MOMENT = ("metadata.json",)  # when Keras has saved a model


class WrittenFiles:
    """The files of weights that this process has written so far, in the user's variables and the working folder."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}
        self._marks: dict[str, str] = {}
        self._contents: dict[str, np.ndarray[Any, Any]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self._paths

    def find(self, frame: FrameType | None) -> None:
        """Find them, before a state is put back.

        Args:
            frame: Where to begin to look for variables.
        """
        self._paths = dict(itertools.islice(_written_here(frame), _FILES))
        left = _MOST_BYTES
        for place, path in list(self._paths.items()):
            try:
                self._marks[place] = _mark_of(path)
                if _is_scratch(path) and (size := path.stat().st_size) <= left:
                    self._contents[place] = np.frombuffer(path.read_bytes(), np.uint8)
                    left -= size
            except OSError:  # it is gone, or not readable
                self._paths.pop(place)

    def take(self) -> dict[str, Any]:
        """Return what a checkpoint holds of them."""
        return {"marks": dict(self._marks), "contents": dict(self._contents)}

    def give(self, saved: Mapping[str, Any] | None) -> tuple[list[str], list[str]]:
        """Give files that hold something else what `take` returned of them.

        Returns:
            The names of the files that were written, and of those that were not and hold something else.
        """
        given, others = [], []
        for place, path in self._paths.items():
            before = (saved or {}).get("marks", {}).get(place)
            if before in (None, self._marks.get(place)):
                continue
            content = (saved or {})["contents"].get(place)
            if content is None or place not in self._contents:
                others.append(_spoken(place, path))
                continue
            with atomic_write(path) as file:
                file.write(np.ascontiguousarray(content).tobytes())
            self._marks[place], self._contents[place] = before, content
            given.append(_spoken(place, path))
        return given, others


def _is_scratch(path: Path) -> bool:
    """Say whether it is a file of numbers alone in the system's temporary folder."""
    folder = Path(tempfile.gettempdir()).resolve()
    return path.name.endswith(_OF_NUMBERS_ALONE) and path.resolve().is_relative_to(folder)


def _spoken(place: str, path: Path) -> str:
    return path.name if place == path.name else f"{place} ({path.name})"


def _written_here(frame: FrameType | None) -> Iterator[tuple[str, Path]]:
    """Go through the files in variables, and then those in the working folder; each file once."""
    seen: set[str] = set()
    start = interpreter_start()
    for place, text in (*user_variables.of_callers(frame, _paths_in), *_in_working_folder()):
        path = Path(text)
        try:
            is_new = path.is_file() and path.stat().st_mtime >= start
            real = str(path.resolve())
        except (OSError, ValueError):  # no path at all
            continue
        if is_new and real not in seen:
            seen.add(real)
            yield place, path


def _in_working_folder() -> Iterator[tuple[str, str]]:
    try:
        names = sorted(path.name for path in Path().iterdir())
    except OSError:
        return
    yield from ((name, name) for name in names if _OF_WEIGHTS.fullmatch(name))


def _paths_in(value: Any, place: str, seen: set[int], depth: int = _DEPTH) -> Iterator[tuple[str, str]]:
    if isinstance(value, str | Path):
        if _OF_WEIGHTS.fullmatch(str(value)):
            yield place, str(value)
    elif depth and isinstance(value, list | tuple | dict) and id(value) not in seen:
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in list(items)[:_ITEMS]:
            if isinstance(key, str | int):
                yield from _paths_in(item, f"{place}[{key!r}]", seen, depth - 1)


def _mark_of(path: Path) -> str:
    """Tell what a file holds from something else; of an archive without the moment in which it was written."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                parts = [(each.filename, each.CRC) for each in archive.infolist()]
        except (zipfile.BadZipFile, ValueError):
            parts = []
        kept = [part for part in parts if Path(part[0]).name not in _OF_A_MOMENT]
        if kept:
            return hashlib.blake2b(repr(sorted(kept)).encode(), digest_size=12).hexdigest()
    with path.open("rb") as file:
        return f"{path.stat().st_size} {hashlib.blake2b(file.read(_READ), digest_size=12).hexdigest()}"
