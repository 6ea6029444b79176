"""The state of a fit's callbacks: what EarlyStopping and its like keep for themselves, and a user's own.

A callback of the user is continued when it has `get_state()`, which returns arrays and plain values nested as one
likes, and `set_state(state)`, which takes them back. One that keeps something and has no such methods is named, unless
it says `stateless = True`: what it keeps means nothing after a kill, as the place of a progress bar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit._internal.log import notify, warn
from colabkit.checkpoint.keras.code_fingerprint import is_the_users
from colabkit.checkpoint.lost_files import is_lost
from colabkit.checkpoint.state import pytree
from colabkit.errors import CheckpointError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Array = np.ndarray[Any, Any]

# What Keras' own callbacks change while they train.
_KEPT: dict[type, tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("best", "best_epoch", "best_weights", "stopped_epoch", "wait"),
    keras.callbacks.ReduceLROnPlateau: ("best", "cooldown_counter", "wait"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_current_epoch",
        "_last_batch_seen",
    ),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
}
_STATELESS = (
    keras.callbacks.History,  # the run keeps it
    keras.callbacks.LambdaCallback,
    keras.callbacks.LearningRateScheduler,  # the rate is in the optimizer
    keras.callbacks.ProgbarLogger,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.TerminateOnNaN,
)


class Callbacks:
    """The other callbacks of a fit.

    Args:
        callbacks: They, in the order in which Keras calls them.

    Attributes:
        named: They, by names that are the same in every process.
    """

    def __init__(self, callbacks: Iterable[Any]) -> None:
        self.named: dict[str, Any] = {}
        for callback in callbacks:
            if isinstance(callback, keras.callbacks.BackupAndRestore):
                raise UnsupportedError(
                    "BackupAndRestore cannot be used beside run.resume()",
                    why="both would restore the model, each from its own files",
                    hint="leave BackupAndRestore out",
                )
            name, number = type(callback).__qualname__, 1
            while f"{name}-{number}" in self.named:
                number += 1
            self.named[f"{name}-{number}"] = callback
        self._at_first: dict[str, dict[str, Any]] = {}
        self._told: set[str] = set()

    @property
    def change_at_end(self) -> bool:
        """Whether one of them gives the model other weights when the training ends."""
        return any(getattr(callback, "restore_best_weights", False) for callback in self.named.values())

    def begin(self) -> None:
        """Remember what they look like before the first step, to see later which of them keep something."""
        self._at_first = {name: _marks(callback) for name, callback in self.named.items()}

    def capture(self, tensors: dict[str, Array]) -> dict[str, Any]:
        """Take their states.

        Args:
            tensors: Arrays are added here, under names that begin with `callbacks/`.

        Returns:
            What is not an array, by the callback's name.
        """
        states = {}
        for name, callback in self.named.items():
            state = _state_of(callback)
            if state is not None:
                try:
                    states[name] = pytree.flatten(state, f"callbacks/{name}", tensors)
                except CheckpointError as error:
                    states[name] = None
                    self._tell(name, f"cannot be continued: {error.what}, {error.why}")
            elif changed := self._changed(name):
                states[name] = None
                kept = ", ".join(changed[:3])
                self._tell(name, f"cannot be continued: it keeps {kept} and has no get_state() and set_state(state)")
        return states

    def restore(self, states: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        """Give them their states back, and name those that are not there any more.

        Args:
            states: What `capture` returned.
            tensors: What it added, among others.
        """
        for name, state in states.items():
            if (callback := self.named.get(name)) is None:
                warn("the run had a callback %s, which is not among those of this fit", _spoken(name))
                continue
            if state is None:
                warn("the callback %s starts over: the run could not keep its state", _spoken(name))
                continue
            kept = pytree.unflatten(state, tensors)
            if _is_own(callback):
                callback.set_state(kept)
            elif isinstance(callback, keras.callbacks.CSVLogger):
                _rewrite(callback, kept)
            else:
                at_first = getattr(callback, "best", None)
                vars(callback).update(kept)
                if isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.best != at_first:
                    _look_for_best(callback)

    def _changed(self, name: str) -> list[str]:
        """Name the attributes of a callback that hold other values than before the training."""
        callback = self.named[name]
        if isinstance(callback, _STATELESS) or getattr(callback, "stateless", False) or is_the_users(type(callback)):
            return []  # what the user's own keep is saved by `own_state`
        before = self._at_first.get(name)
        if before is None:
            return []
        return sorted(key for key, mark in _marks(callback).items() if before.get(key) != mark)

    def _tell(self, name: str, why: str) -> None:
        if name not in self._told:
            self._told.add(name)
            notify("after a kill the callback %s %s", _spoken(name), why)


def _look_for_best(callback: Any) -> None:
    """Tell where the file of the best model has stayed behind; a name with the epoch in it nobody can look for."""
    if callback.save_best_only and "{" not in str(callback.filepath):
        is_lost(callback.filepath, owner="ModelCheckpoint")


def _spoken(name: str) -> str:
    return name.rsplit("-", 1)[0].rsplit(".", 1)[-1]


def _is_own(callback: Any) -> bool:
    return hasattr(callback, "get_state") and hasattr(callback, "set_state")


def _state_of(callback: Any) -> Any:
    if _is_own(callback):
        return callback.get_state()
    if isinstance(callback, keras.callbacks.CSVLogger):
        return {"keys": callback.keys, "text": _written(callback)}
    for kind, names in _KEPT.items():
        if isinstance(callback, kind):
            return {name: _plain(getattr(callback, name)) for name in names if hasattr(callback, name)}
    return None


def kept_of_keras(callback: Any) -> set[str]:
    """Name the attributes of a callback that are Keras' own to keep: of the class that it is derived from."""
    names = {name for kind, kept in _KEPT.items() if isinstance(callback, kind) for name in kept}
    if isinstance(callback, keras.callbacks.CSVLogger):
        names |= {"csv_file", "writer", "keys", "append_header", "file_flags"}
    return names


def _plain(value: Any) -> Any:
    """Make a number of what Keras compares: it may be a tensor or a NumPy scalar, which another backend is not."""
    if isinstance(value, int | float | list | None):
        return value
    return float(keras.ops.convert_to_numpy(value))


def _written(callback: Any) -> str:
    if callback.csv_file is not None and not callback.csv_file.closed:
        callback.csv_file.flush()
    try:
        with open(callback.filename, encoding="utf-8", newline="") as file:
            return file.read()
    except OSError:
        return ""


def _rewrite(callback: Any, kept: Mapping[str, Any]) -> None:
    """Let the file hold what it held, neither emptied by the new start nor with rows that are trained again."""
    with open(callback.filename, "w", encoding="utf-8", newline="") as file:
        file.write(kept["text"])
    if callback.csv_file is not None and not callback.csv_file.closed:
        callback.csv_file.close()
        callback.csv_file = open(callback.filename, "a", encoding="utf-8", newline="")  # noqa: SIM115 - it closes it
    callback.keys, callback.append_header, callback.writer = kept["keys"], not kept["text"], None


def _marks(callback: Any) -> dict[str, Any]:
    """Tell attributes apart by value where they are plain, by length where they are containers."""
    marks: dict[str, Any] = {}
    for name, value in vars(callback).items():
        if name in ("_model", "params", "validation_data"):
            continue
        if value is None or isinstance(value, bool | int | float | str | np.generic):
            marks[name] = value
        elif isinstance(value, list | dict | set | tuple):
            marks[name] = len(value)
        elif isinstance(value, np.ndarray):
            marks[name] = value.tobytes() if value.nbytes < 1 << 20 else value.nbytes
    return marks
