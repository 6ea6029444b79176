"""What a `fit` keeps beside the variables of its model: metrics, random states, callbacks, attributes, its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit._internal.log import warn
from colabkit.checkpoint.keras import state
from colabkit.checkpoint.keras.fit.setup import OfCallback
from colabkit.checkpoint.keras.host.callback_state import Callbacks
from colabkit.checkpoint.keras.host.later_models import LaterModels
from colabkit.checkpoint.keras.host.own_state import OwnState
from colabkit.checkpoint.keras.host.own_values import plain, unplain
from colabkit.checkpoint.state import pytree, rng

if TYPE_CHECKING:
    import keras

    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.keras.data import Source

    Array = np.ndarray[Any, Any]


class HostState(OfCallback):
    """The state of one `fit` beside its variables.

    Args:
        callback: The callback that resumes.
        others: The other callbacks.

    Attributes:
        callbacks: The other callbacks.
    """

    def __init__(self, callback: keras.callbacks.Callback, others: list[Any]) -> None:
        super().__init__(callback)
        self.callbacks = Callbacks(others)
        self._own = OwnState(
            self._model, self.callbacks.named, lambda: [variable for _, variable in state.variables(self._model)]
        )
        self._own.begin()
        self._later = LaterModels(self._model)

    def begin(self) -> None:
        """Remember what callbacks and objects look like before the first step, to see later which of them change."""
        self.callbacks.begin()
        self._own.settle()

    def capture(self, source: Source | None, *, steps: int) -> tuple[dict[str, Array], dict[str, Any]]:
        """Take what validation would change, and what is not worth a second copy of the model.

        Args:
            source: The data; None where it is continued at whole epochs.
            steps: Steps trained since the run began.

        Returns:
            The arrays, and what is none.
        """
        tensors: dict[str, Array] = state.capture(self._model, groups=("metrics/",)) | rng.capture()
        callbacks = self.callbacks.capture(tensors)
        attributes = self._own.capture(tensors)
        data_state = source.capture(tensors, steps=steps) if source is not None else None
        return tensors, {
            "callbacks": callbacks,
            "data_state": data_state,
            "attributes": attributes,
            "attribute_constants": self._own.constants,
            "attribute_settings": self._own.settings(),
            "later": self._later.capture(tensors),
        }

    def release(self) -> None:
        """Hold no model of a later fit any longer, and end the history with the epochs that were asked for."""
        self._later.release()
        history, epochs = getattr(self._model, "history", None), self._callback.params["epochs"]
        if history is not None and len(getattr(history, "epoch", ())) > epochs:  # the run is trained further
            every, kept = len(history.epoch), sum(epoch < epochs for epoch in history.epoch)
            history.epoch = history.epoch[:kept]
            history.history = {key: values[: len(values) * kept // every] for key, values in history.history.items()}

    def tell_of_arrays(self, run: str) -> None:
        """Tell as a new fit begins of arrays that an earlier fit of the script had otherwise."""
        self._later.tell_of_arrays(run)

    def keep_constants(self, run: str, saved: Checkpoint, *, code_changed: bool, later: bool) -> bool:
        """Give back arrays that are others in this process, and tell what else the code sets otherwise.

        Args:
            run: The run's name.
            saved: The checkpoint to go on from.
            code_changed: The user has changed the code of the model.
            later: Give those models, too, that a later fit trains, what they had when the run began.

        Returns:
            Whether an array of the model that is trained was another.
        """
        if later:
            self._later.restore(run, saved)
        self._own.compare(run, saved.meta.get("attribute_settings") or {})
        return self._own.keep_constants(run, saved, code_changed=code_changed)

    def restore(self, saved: Checkpoint) -> None:
        """Bring back what `fit` and the callbacks themselves have reset since `on_train_begin`."""
        if (history := getattr(self._model, "history", None)) is not None:
            history.epoch = list(saved.meta["history"].get("epoch", []))
            history.history = {key: list(values) for key, values in saved.meta["history"].get("values", {}).items()}
            typed = pytree.unflatten(saved.meta.get("history_typed") or {}, saved.tensors)
            for key, items in typed.items():
                for place, value in items.items():
                    history.history[key][int(place)] = unplain(value)
        self.callbacks.restore(saved.meta.get("callbacks", {}), saved.tensors)
        self._own.restore(saved.meta.get("attributes") or {}, saved.tensors)

    def restore_metrics(self, run: str, saved: Checkpoint) -> None:
        """Give the metrics what they had measured in the epoch; one that is new measures from here on."""
        if new := state.apply(self._model, saved.tensors, groups=("metrics/",)):
            names = ", ".join(sorted({name.split("/")[2] for name in new}))
            warn("%s: measured from here on only, in this epoch: %s", run, names)

    def history(self) -> dict[str, Any]:
        """Return the history of the epochs as plain values."""
        history = getattr(self._model, "history", None)
        if history is None or not hasattr(history, "epoch"):  # before its own on_train_begin it has none
            return {}
        values = {key: [np.asarray(value).tolist() for value in series] for key, series in history.history.items()}
        return {"epoch": [int(epoch) for epoch in history.epoch], "values": values}

    def history_typed(self, tensors: dict[str, Array]) -> Any:
        """Take the values of the history that are no plain numbers, as the score of each class, to keep their types.

        Args:
            tensors: Arrays are added here, under names that begin with `history/`.
        """
        history = getattr(getattr(self._model, "history", None), "history", {})
        typed = {
            key: {str(at): plain(value) for at, value in enumerate(series) if type(value) not in (bool, int, float)}
            for key, series in history.items()
        }
        return pytree.flatten({key: items for key, items in typed.items() if items}, "history", tensors)
