"""The best weights that SaveModelCallback keeps in a file: they travel with the run, since that file may stay behind.

The callback loads its file at the end of the fit. On another machine it would be missing, or be that of another fit.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import temp_then_rename
from colabkit._internal.log import warn
from colabkit.checkpoint.fastai import state
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    Stamp = tuple[int, int, int]


class BestFiles:
    """The files of a fit's SaveModelCallbacks, each read once for each time that it is written."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, Any]] = {}  # what a file held when it was last read or written

    def capture(self, callbacks: Iterable[Any]) -> dict[str, Any]:
        """Take the content of each file that this fit has written."""
        return {
            key: content
            for key, callback in _keeping(callbacks).items()
            if callback.last_saved_path is not None and (content := self._content(_path(callback))) is not None
        }

    def restore(self, callbacks: Iterable[Any], saved: Mapping[str, Any]) -> None:
        """Write the files as they were."""
        import torch

        for key, callback in _keeping(callbacks).items():
            if key not in saved:
                continue
            path = callback.last_saved_path = _path(callback)
            path.parent.mkdir(parents=True, exist_ok=True)
            with temp_then_rename(path.parent, path.name) as (file, publish):
                torch.save(state.decode(saved[key]), file)
                publish(path)
            self._known[path] = _stamp(path), saved[key]

    def _content(self, path: Path) -> Any:
        import torch

        try:
            stamp = _stamp(path)
        except OSError:  # taken away since; what it held is still the best
            return self._known[path][1] if path in self._known else None
        if path not in self._known or self._known[path][0] != stamp:
            try:
                content = state.encode(torch.load(path, map_location="cpu", weights_only=True))
            except (OSError, CheckpointError, RuntimeError, pickle.UnpicklingError) as error:
                warn("%s is not kept with the run, so another machine misses it at the end of the fit: %s", path, error)
                content = None
            self._known[path] = stamp, content
        return self._known[path][1]


def _keeping(callbacks: Iterable[Any]) -> dict[str, Any]:
    """Find the callbacks that load their file at the end of the fit."""
    from fastai.callback.tracker import SaveModelCallback

    return {
        key: callback
        for key, callback in state.named(callbacks).items()
        if isinstance(callback, SaveModelCallback) and not (callback.every_epoch or callback.at_end)
    }


def _path(callback: Any) -> Path:
    from fastai.learner import join_path_file

    path: Path = join_path_file(callback.fname, callback.learn.path / callback.learn.model_dir, ext=".pth")
    return path


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
