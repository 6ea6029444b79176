"""What is saved of a learner in one fit, and how it is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify, warn
from colabkit.checkpoint.fastai import state
from colabkit.checkpoint.fastai.drawn_data import BatchFigures, DataParts
from colabkit.checkpoint.loop.carried import CarriedNames, places_in
from colabkit.checkpoint.loop.drawn import DrawnBefore
from colabkit.checkpoint.loop.parts.values import decode, encode
from colabkit.checkpoint.state import pytree, rng
from colabkit.checkpoint.state.loose import LooseState
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.checkpoint.fastai.best_files import BestFiles
    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.run_store import RunStore


class LearnerState:
    """The state of a learner beside its model, in one fit: optimizer, callbacks, random states, loose attributes.

    In the middle of an epoch the random states of its beginning are part of it: with them a later process reads the
    data up to the place.

    Args:
        learn: The learner, as it is when the fit begins.
        own: The callback that saves, which is no part of it.
        run: The run.
        best_files: The files that callbacks keep of their best state.

    Attributes:
        learn: The learner.
        others: Its other callbacks.
        data: What identifies its data.
    """

    def __init__(self, learn: Any, own: Any, run: RunStore, best_files: BestFiles) -> None:
        self.learn = learn
        self.others = [callback for callback in learn.cbs if callback is not own]
        self.data = state.identity(learn.dls)
        self._parts, self._figures = DataParts(learn.dls), BatchFigures(learn.dls)
        self._best_files = best_files
        self._loose = LooseState(learn.model)
        self._begin: dict[str, Any] = {}
        says: dict[str, Callable[..., None]] = {
            "notify": lambda text, *values: notify(text, run.name, *values),
            "warn": lambda text, *values: warn(text, run.name, *values),
        }
        self._drawn = DrawnBefore(run.dir, **says)
        self._names = CarriedNames(run.dir, **says, whose="training")
        more = {"loss_func": learn.loss_func, "callbacks": self.others}
        self._drawn.find({"model": learn.model, "learn": learn}, [learn.dls, *learn.dls.loaders], more=more)
        given = {"model": learn.model, "learn": learn, "opt": learn.opt, "callbacks": list(learn.cbs)}
        self._names.begin_held(state.held_of(learn, self.others), given, [learn.dls, *learn.dls.loaders])

    def release(self, *, is_cut: bool) -> None:
        """Hold nothing of the user's variables any longer.

        Args:
            is_cut: The fit is to be continued.
        """
        self._drawn.release()
        self._names.release(is_cut=is_cut)

    def give_drawn(self, saved: Checkpoint) -> None:
        """Give back what the script draws before the fit."""
        rest = pytree.unflatten(saved.meta["state"], saved.tensors)
        self._drawn.give(rest.get("drawn"))

    def give_data(self, saved: Checkpoint, *, run: str) -> None:
        """Put back what the data drew as it was made: which samples are held out, what transforms measured."""
        drawn = saved.meta.get("drawn", {})
        self._figures.give(run, drawn.get("figures", []), saved.tensors)
        if self._parts.give(run, drawn.get("split", {}), saved.tensors):
            self.data = state.identity(self.learn.dls)

    def data_drawn(self, tensors: dict[str, Any]) -> dict[str, Any]:
        """Tell what the data drew as it was made.

        Args:
            tensors: Arrays are added here.
        """
        return {"split": self._parts.describe(tensors), "figures": self._figures.describe(tensors)}

    def epoch_begins(self) -> None:
        """Note the random states with which an epoch begins."""
        self._begin = state.generators(self.learn.dls)

    def go_to_epoch_start(self, saved: Checkpoint) -> None:
        """Put back the random states with which the epoch of a checkpoint began."""
        self._begin = rng.of_epoch_start(saved.tensors)
        state.restore_generators(self.learn.dls, self._begin)

    def take(self, *, within_epoch: bool, complete: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return its arrays, which may be changed later, and the rest of it."""
        tensors: dict[str, Any] = dict(state.generators(self.learn.dls))
        if within_epoch:
            tensors |= rng.at_epoch_start(self._begin)
        rest = state.capture_rest(self.learn, self.others)
        rest |= {
            "loose": encode(self._loose.changed(), "model"),
            "best_files": self._best_files.capture(self.others),
            "names": (names := self._names.take()),
            "drawn": self._drawn.take(is_cut=not complete, besides=places_in(names)),
        }
        return tensors, pytree.flatten(rest, "fastai", tensors)

    def give(self, saved: Checkpoint, *, run: str, with_files: bool = False, is_last: bool = False) -> None:
        """Put back what a checkpoint holds.

        Args:
            saved: The checkpoint.
            run: The run's name.
            with_files: Put back the files of the best state, too.
            is_last: No code of the user's runs between this and the next step.

        Raises:
            RunMismatchError: It does not fit this learner.
        """
        try:
            rest = pytree.unflatten(saved.meta["state"], saved.tensors)
            state.apply(self.learn, self.others, saved.tensors, rest)
            if with_files:
                self._best_files.restore(self.others, rest.get("best_files", {}))
            self._loose.restore(decode(rest.get("loose", {})))
            self._names.give(rest.get("names"), is_last=is_last)
            state.restore_generators(self.learn.dls, saved.tensors)
        except (KeyError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
            raise RunMismatchError(
                f"the checkpoint of {run} does not fit this learner",
                why=f"{type(error).__name__}: {error}",
                hint="build the learner and its optimizer as they were, or open a run under another name",
            ) from error
