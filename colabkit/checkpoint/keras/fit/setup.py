"""How a `fit` is set up, compared with the run that it continues: model, settings, learning rates, versions, code."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import keras

from colabkit._internal.display.few import counted, few
from colabkit._internal.log import notify, warn
from colabkit.checkpoint.keras import state
from colabkit.checkpoint.keras.code_fingerprint import fingerprints
from colabkit.checkpoint.policy import begun_again
from colabkit.checkpoint.state import hardware
from colabkit.checkpoint.state.checks import require_keys
from colabkit.checkpoint.state.kinds import finalize_keras
from colabkit.checkpoint.state.pytree import versions
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.keras.distributed import WorkerCoordinator
    from colabkit.checkpoint.keras.fit.progress import Progress

KIND = "keras"
MODEL_GROUPS = ("model/", "optimizer/", "optimizers/", "hidden/")
_NEEDED = {"step", "epoch", "step_in_epoch", "epochs", "complete", "seconds", "history", "data", "layout", "settings"}


class OfCallback:
    """Reaches the model through a callback, each time anew: on JAX Keras brings its variables up to date only there.

    Args:
        callback: The callback of the `fit` that trains the model.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self._callback = callback

    @property
    def _model(self) -> Any:
        return self._callback.model


_IN_PLACE_OF_THE_OUTER_LOOP = (
    "ask for one epoch more each time, fit(…, epochs=i + 1) in `for i in range(N):`, or for all of them in one fit; "
    'for trials or folds, callbacks=[run.phase("NAME").resume()], with a name for each'
)


class FitSetup(OfCallback):
    """The setup of one `fit`, as given: taken before a callback changes the learning rate.

    Args:
        callback: The callback that resumes.
        others: The other callbacks.
        run: The run's folder.

    Attributes:
        changes: The settings that the code has changed since the checkpoint, as `place: before -> now`.
        code_changed: Whether the source of the user's own classes and functions is another than then.
    """

    def __init__(self, callback: keras.callbacks.Callback, others: list[Any], *, run: Path) -> None:
        super().__init__(callback)
        self._is_begun_again = begun_again.note(run, epochs=int(callback.params["epochs"]))
        self._code = fingerprints(self._model, others)
        self._settings = state.settings(self._model, others)
        self._rates: dict[str, float] = {}
        self.changes: list[str] = []
        self.code_changed = False

    def compare(self, run: str, saved: Checkpoint) -> None:
        """Refuse a checkpoint of another model, and tell what else was changed.

        Args:
            run: The run's name.
            saved: The checkpoint to go on from.

        Raises:
            CorruptCheckpointError: No callback of this kind wrote it.
            RunMismatchError: It belongs to another model.
        """
        meta = saved.meta
        require_keys(run, meta, _NEEDED)
        state.build_optimizers(self._model, meta.get("optimizers", {}))
        said = meta["settings"], self._settings
        state.check_same_model(run, meta["layout"], state.layout(self._model), said=said)
        check_vocabularies(run, *said)
        now = versions(backend=keras.backend.backend())
        if changed := state.changed_settings(meta["versions"], now):
            warn("%s: versions changed, so bit-for-bit equality is not promised: %s", run, "; ".join(changed))
        hardware.tell(run, meta, frameworks=[keras.backend.backend()])
        before = meta.get("code", {})
        if changed := sorted(part for part, code in self._code.items() if before.get(part, code) != code):
            self.code_changed = True
            warn("%s: the code changed since the checkpoint, of %s", run, ", ".join(changed))
        self._rates = state.changed_rates(self._model, meta["settings"], self._settings, saved.tensors)

    def tell_changes(self, run: str, saved: Checkpoint) -> None:
        """Tell which settings the code has changed since the checkpoint, but for arrays that were given back.

        Args:
            run: The run's name.
            saved: The checkpoint to go on from.
        """
        before = saved.meta["settings"]
        arrays = {place for place, text in self._settings.items() if text.startswith("values ")}
        if any(before.get(place) != self._settings[place] for place in arrays):
            self._settings |= {key: text for key, text in state.settings(self._model).items() if key in arrays}
        self.changes = state.changed_settings(before, self._settings)
        if self.changes:
            text = "%s: changed since the state was saved, and in effect from now on: %s"
            warn(text, run, few(self.changes, 5, between="; "))

    def tell_complete(self, workers: WorkerCoordinator, *, epochs: int, progress: Progress) -> None:
        """Tell that no epoch is left to train, so that what the code has changed changes nothing.

        Args:
            workers: The workers that train.
            epochs: How many are trained.
            progress: How far the run has come, maybe beyond what this fit asks for.

        Raises:
            RunMismatchError: This process has trained the run before: these are the settings of another fit, or a loop
                around it begins the same one again.
        """
        name = workers.run.name
        if self._is_begun_again:
            begun_again.refuse(name, f"{epochs} epochs", way=_IN_PLACE_OF_THE_OUTER_LOOP)
        text = "%s: already trained, %s epochs; raise epochs= to train more, or train again in another run or phase"
        notify(text, name, epochs)
        place, limit = (progress.epoch, progress.step_in_epoch), self._callback.params["epochs"]
        if place > (limit, 0):
            text = (
                "%s: asked for %s, the model has the weights of %s: what the code behind this fit measures or keeps of "
                "them is of there. To have it of each epoch after a kill, too, do it in a callback"
            )
            where = f"step {place[1]} of epoch {place[0] + 1}" if place[1] else f"the end of epoch {place[0]}"
            warn(text, name, counted(limit, "epoch"), where)
        if self.changes and workers.trained_here:
            raise RunMismatchError(
                f"the run {name} is trained, and this is another fit",
                why=f"it has other settings ({'; '.join(self.changes[:3])}), and a run holds the states of one fit",
                hint='write callbacks=[run.phase("NAME").resume()], with a name for each trial, fold or stage; '
                "to go on with the trained one, raise epochs=",
            )
        if self.changes:
            text = "%s: nothing is left to train, so the changes have no effect. A search trains each trial apart: %s"
            warn(text, name, 'run.phase("NAME").resume()')

    def restore_model(self, saved: Checkpoint) -> bool:
        """Give the model what was saved; a learning rate that the code has changed since is the code's.

        Returns:
            Whether its functions, where they are traced, hold values that are others now.
        """
        state.apply(self._model, saved.tensors, groups=MODEL_GROUPS)
        state.set_rates(self._model, self._rates)
        return finalize_keras(self._model)

    def meta(self) -> dict[str, Any]:
        """Describe the setup for a checkpoint."""
        return {
            "optimizers": state.trained_by(self._model),
            "layout": state.layout(self._model),
            "settings": self._settings,
            "versions": versions(backend=keras.backend.backend()),
            "code": self._code,
        }


def check_vocabularies(run: str, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse words that a layer numbers in another order: the weights were trained with the numbers of the first one.

    Raises:
        RunMismatchError: A layer has the words of the run in another order.
    """
    for place, text in now.items():
        words = before.get(place, text)
        if place.endswith(".vocabulary") and words != text and Counter(words) == Counter(text):
            raise RunMismatchError(
                f"{place} has another order than when the run {run} was begun",
                why="the weights were trained with the numbers that the words had then. Words that come out of a set "
                "have another order each time Python starts",
                hint="give the layer the words in the order of the run"
                + (f": vocabulary={words}" if len(words) <= 1000 else ", or begin another run, with sorted(…)"),
            )
