"""Trains a reference model of fastai, as `train` does those of Keras: data, learner, a resumable fit, evaluation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from colabkit._tools.log import say
from colabkit._tools.phases import Phases
from colabkit._tools.progress import progress
from colabkit.checkpoint import history
from colabkit.checkpoint.fastai import require_fastai
from colabkit.errors import UnsupportedError
from colabkit.models import recipes
from colabkit.models.base import ImageData, Result
from colabkit.tracking import track_fastai

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._tools.progress import Progress
    from colabkit.checkpoint import Run
    from colabkit.models.base import Data
    from colabkit.models.torch_classifier import TorchClassifier
    from colabkit.tracking import Tracker

LIBRARY = "fastai"


class FastaiModel(Protocol):
    """What the file of a reference model of fastai offers; the module itself is the object."""

    EPOCHS: int
    BATCH_SIZE: int

    def load(self, data: Data | None) -> ImageData:
        """Load the data, the user's own where it is given."""

    def build(self, samples: ImageData, batch_size: int = ...) -> Any:
        """Build the learner."""

    def fit(self, learn: Any, epochs: int, callbacks: list[Any]) -> None:
        """Train it."""

    def network(self, classes: int = ...) -> Any:
        """Build its network alone."""


@dataclass(frozen=True, kw_only=True)
class LearnerResult(Result):
    """A trained learner; `model` is the `fastai.learner.Learner`."""

    @property
    def classifier(self) -> TorchClassifier:
        """The network with what it takes to use it on raw images: preprocessing and labels."""
        from colabkit.models.torch_classifier import TorchClassifier

        return TorchClassifier(
            name=self.name,
            model=self.model.model,
            shape=tuple(self.data.x_train.shape[1:]),
            divide_by=self.data.divided_by,
            labels=self.data.labels,
            metrics=self.metrics,
        )


def train_learner(
    name: str,
    reference: FastaiModel,
    *,
    data: Data | None,
    run: Run,
    epochs: int | None,
    batch_size: int | None,
    seed: int,
    tracker: Tracker | str | Sequence[Tracker | str],
    recipe: str,
) -> LearnerResult:
    """Train a reference model of fastai; the arguments are those of `train`."""
    if recipe == "sprint":
        raise UnsupportedError(
            f"{name} has no recipe 'sprint'",
            why="its one cycle of the learning rate is short already",
            do="use recipe='same' and fewer epochs",
        )
    require_fastai(why=f"the model {name} is built with it")
    from fastai.callback.progress import ProgressCallback
    from fastai.torch_core import set_seed

    begun = recipes.read_begun(run.dir)
    recipes.check_begun(run.dir, begun, model=name, recipe=recipe)
    phases = Phases()
    with phases("data"):
        samples = reference.load(data)
    say("data: %s, %s training and %s test samples", samples.source, len(samples.x_train), len(samples.x_test))
    with phases("build"):
        set_seed(seed)
        learn = reference.build(samples, batch_size or reference.BATCH_SIZE)
        learn.remove_cb(ProgressCallback)  # both write on stdout, which is for results
        learn.logger = _silent
    device = f"fastai on {learn.dls.device}"
    say("strategy: %s", device)
    say("recipe: %s", recipe)
    resume = run.resume_fastai()
    if begun is None:
        recipes.write_begun(run.dir, recipes.Begun(model=name, recipe=recipe, backend=LIBRARY))
    with phases("fit"):
        callbacks = [EpochLines(), track_fastai(run, more=tracker), resume]
        reference.fit(learn, epochs or reference.EPOCHS, callbacks)
    with phases("evaluate"):
        loss, *values = learn.validate()
    names = [metric.name for metric in learn.metrics]
    return LearnerResult(
        name=name,
        model=learn,
        history=history(run),
        metrics={"loss": float(loss), **{key: float(value) for key, value in zip(names, values, strict=True)}},
        resumed_from=resume.resumed_from,
        data=samples,
        strategy=device,
        recipe=recipe,
        seconds=phases.seconds,
        run_dir=run.dir,
    )


def _silent(*_: Any) -> None:
    pass


class EpochLines:
    """A callback of fastai: one bar an epoch on stderr, and one line with its metrics when it is done."""

    name = "epoch_lines"
    order = 60
    stateless = True  # nothing of it is to be continued after a kill

    def __init__(self) -> None:
        self.learn: Any = None
        self._bar: Progress | None = None
        self._began = 0.0

    def __call__(self, event: str) -> None:
        """Take an event of fastai's loop."""
        learn = self.learn
        if event == "before_epoch":
            self._bar = progress(f"epoch {learn.epoch + 1} of {learn.n_epoch}", unit="step")
            self._began = time.monotonic()
        elif event == "after_batch" and learn.training and self._bar is not None:
            self._bar.update(learn.iter + 1, learn.n_iter)
        elif event in ("after_epoch", "after_fit") and self._bar is not None:
            self._bar.close()
            self._bar = None
            if event == "after_epoch":
                names = learn.recorder.metric_names[1:]
                values = ", ".join(
                    f"{name} {value:.4f}" for name, value in zip(names, learn.final_record, strict=False)
                )
                seconds = time.monotonic() - self._began
                say("epoch %s of %s: %s (%.1f s)", learn.epoch + 1, learn.n_epoch, values, seconds)
