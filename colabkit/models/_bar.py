"""A progress bar for `fit` on stderr, so that stdout stays free for what a command has to say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import keras

from colabkit._tools.log import say
from colabkit._tools.progress import progress

if TYPE_CHECKING:
    from colabkit._tools.progress import Progress

_REDRAW_SECONDS = 0.1


class EpochBar(keras.callbacks.Callback):  # type: ignore[misc]
    """One bar an epoch, and one line with its metrics when it is done."""

    stateless = True  # nothing of it is to be continued after a kill

    def __init__(self) -> None:
        super().__init__()
        self._bar: Progress | None = None
        self._began = self._drawn = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._close()
        self._bar = progress(f"epoch {epoch + 1} of {self.params['epochs']}", unit="step")
        self._began = self._drawn = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        if self._bar is not None and (now := time.monotonic()) - self._drawn >= _REDRAW_SECONDS:
            self._drawn = now
            self._bar.update(batch + 1, self.params["steps"])

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._close()
        values = ", ".join(f"{name} {value:.4f}" for name, value in sorted((logs or {}).items(), reverse=True))
        seconds = time.monotonic() - self._began
        say("epoch %s of %s: %s (%.1f s)", epoch + 1, self.params["epochs"], values, seconds)

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
