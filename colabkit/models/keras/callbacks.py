"""What `train` gives a Keras `fit` beside the run: the live display, the end at NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from colabkit.errors import DivergedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._internal.display.training_display import TrainingDisplay


class ShowTraining(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells a display what happens.

    Args:
        display: The display; it stays open at the end.
        before: The history of a fit before this one.
    """

    stateless = True  # nothing of it is to be continued after a kill

    def __init__(self, display: TrainingDisplay, before: Mapping[str, list[float]] | None = None) -> None:
        super().__init__()
        self._display = display
        self._before = dict(before or {})
        self._offset = max(map(len, self._before.values()), default=0)
        self._begun = False

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._display.status("compiling")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if not self._begun:
            self._begun = True
            earlier = getattr(getattr(self.model, "history", None), "history", None)
            if epoch and earlier:  # of the process that was killed
                self._display.earlier(
                    {k: [*self._before.get(k, []), *earlier.get(k, [])] for k in self._before | earlier}
                )
            elif self._before:
                self._display.earlier(self._before)
        self._display.begin_epoch(epoch + self._offset, self.params.get("steps"))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._display.step(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        self._display.end_epoch(logs or {})


class StopAtNaN(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training whose loss is no longer a number, before such a state is saved: it stands first in the list.

    Args:
        learning_rate: As the user gave it, for the message.
    """

    stateless = True

    def __init__(self, learning_rate: float | None) -> None:
        super().__init__()
        self._rate = learning_rate
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and (loss != loss or abs(loss) == float("inf")):
            rate = self._rate if self._rate is not None else _rate_of(self.model)
            raise DivergedError(
                f"the loss is {loss} in epoch {self._epoch + 1}, step {batch + 1}",
                why="the steps were too large, or the data holds values that are not numbers",
                hint=f"pass a smaller learning_rate{f' than {rate:g}' if rate else ''} and another run=, and look for "
                "NaN in the data. Nothing of this state was saved: the run's newest checkpoint is from before it",
            )


def _rate_of(model: Any) -> float | None:
    try:
        return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    except Exception:  # noqa: BLE001 - only a number in a message
        return None
