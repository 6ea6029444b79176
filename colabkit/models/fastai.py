"""Trains a reference model of fastai, as `train` does those of Keras: data, learner, a resumable fit, evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from colabkit._internal.display.training_display import TrainingDisplay
from colabkit._internal.log import notify
from colabkit._internal.out_of_memory import is_out_of_memory
from colabkit._internal.phases import Timings
from colabkit.checkpoint import history
from colabkit.checkpoint.fastai.install_check import require_fastai
from colabkit.checkpoint.management.history import saved_words
from colabkit.checkpoint.memory_words import out_of_memory
from colabkit.errors import UnsupportedError
from colabkit.models import recipes
from colabkit.models.batch_size import AUTO
from colabkit.models.results.result import Result
from colabkit.tracking import track_fastai

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.checkpoint import Run
    from colabkit.models.base import Data, ImageData
    from colabkit.models.settings import Settings
    from colabkit.models.torch.classifier import TorchClassifier

LIBRARY = "fastai"


class FastaiModel(Protocol):
    """What the file of a reference model of fastai offers; the module itself is the object."""

    EPOCHS: int
    BATCH_SIZE: int

    def load(self, data: Data | None) -> ImageData:
        """Load the data, the user's own where it is given."""

    def build(self, samples: ImageData, batch_size: int = ...) -> Any:
        """Build the learner."""

    def fit(self, learn: Any, epochs: int, callbacks: list[Any], learning_rate: float | None = ...) -> None:
        """Train it."""

    def network(self, classes: int = ...) -> Any:
        """Build its network alone."""


@dataclass(frozen=True, kw_only=True, repr=False)
class LearnerResult(Result):
    """A trained learner; `model` is the `fastai.learner.Learner`."""

    @property
    def classifier(self) -> TorchClassifier:
        """The network with what it takes to use it on raw images: preprocessing and labels."""
        from colabkit.models.torch.classifier import TorchClassifier

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
    settings: Settings,
    *,
    data: Data | None,
    open_run: Callable[[], Run],
) -> LearnerResult:
    """Train a reference model of fastai; the arguments are those of `train_keras`."""
    recipe = settings.recipe
    for argument, given, instead in (
        ("validation", settings.validation, "its test data is measured after each epoch"),
        ("class_weight", settings.class_weight, "give its loss weights: CrossEntropyLossFlat(weight=…)"),
        ("patience", settings.patience, "pass fastai's own: callbacks=[EarlyStoppingCallback(patience=3)]"),
        ("time", settings.seconds, "pass fewer epochs; killed, it continues where it was"),
    ):
        if given is not None:
            raise UnsupportedError(f"{name} takes no {argument}=", why="fastai trains it", hint=instead)
    if recipe == "sprint":
        raise UnsupportedError(
            f"{name} has no recipe 'sprint'",
            why="its one cycle of the learning rate is short already",
            hint="use recipe='same' and fewer epochs",
        )
    require_fastai(why=f"the model {name} is built with it")
    from fastai.callback.progress import ProgressCallback
    from fastai.torch_core import set_seed

    phases = Timings()
    with phases("data"):
        samples = reference.load(data)
    run = open_run()
    begun = recipes.read_begun(run.dir)
    recipes.check_begun(run.dir, begun, model=name, recipe=recipe)
    notify("data: %s, %s training and %s test samples", samples.source, len(samples.x_train), len(samples.x_test))
    with phases("build"):
        set_seed(settings.seed)
        size = settings.size or reference.BATCH_SIZE
        learn = reference.build(samples, size)
        if settings.batch_size == AUTO:
            size = begun.batch_size or size if begun is not None else _found_size(learn)
            set_seed(settings.seed)
            learn = reference.build(samples, size)
        learn.remove_cb(ProgressCallback)  # both write on stdout, which is for results
        learn.logger = _silent
    device = f"fastai on {learn.dls.device}"
    notify("strategy: %s", device)
    notify("recipe: %s", recipe)
    resume = run.resume_fastai()
    if begun is None:
        recipes.write_begun(run.dir, recipes.ResumedRecipe(model=name, recipe=recipe, backend=LIBRARY, batch_size=size))
    epochs = settings.epochs or reference.EPOCHS
    with phases("fit"), TrainingDisplay(name, epochs=epochs, saved=lambda: saved_words(run)) as display:
        display.status("starting")
        tracking = track_fastai(run, more=settings.trackers)
        callbacks = [ShowLearner(display), tracking, *settings.callbacks, resume]
        try:
            reference.fit(learn, epochs, callbacks, settings.learning_rate)
        except Exception as error:
            if is_out_of_memory(error):
                raise out_of_memory(run, error, batch_size=size) from error
            raise
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
        batch_size=size,
    )


def _found_size(learn: Any) -> int:
    from colabkit.models.torch.parts import find_torch

    def loss_of(module: Any, batch: Any) -> Any:
        return learn.loss_func(module(*batch[:-1]), batch[-1])

    chosen = find_torch(learn.model, loss_of, learn.dls.train, learn.dls.device)
    notify("batch size: %s, %s", chosen.size, chosen.why)
    return chosen.size


def _silent(*_: Any) -> None:
    pass


class ShowLearner:
    """A callback of fastai that tells a display what happens.

    Args:
        display: The display; it stays open at the end.
    """

    name = "show_learner"
    order = 60
    stateless = True  # nothing of it is to be continued after a kill

    def __init__(self, display: TrainingDisplay) -> None:
        self.learn: Any = None
        self._display = display

    def __call__(self, event: str) -> None:
        """Take an event of fastai's loop."""
        learn = self.learn
        if event == "before_epoch":
            self._display.begin_epoch(learn.epoch, learn.n_iter if hasattr(learn, "n_iter") else len(learn.dls.train))
        elif event == "after_batch" and learn.training:
            self._display.step(learn.iter + 1)
        elif event == "after_epoch":
            names = learn.recorder.metric_names[1:]
            self._display.end_epoch(dict(zip(names, learn.final_record, strict=False)))
