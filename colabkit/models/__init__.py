"""Reference models: one file each that reads top to bottom, and `train()` that makes any of them resumable."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any, cast

from colabkit._tools.log import say, warn
from colabkit._tools.optional import require
from colabkit._tools.phases import Phases
from colabkit._tools.quiet import native_stderr_hidden
from colabkit.checkpoint import Run, default_folder, open_run
from colabkit.errors import DataError, UnknownNameError
from colabkit.models import recipes
from colabkit.models.base import ImageData, Result
from colabkit.models.classifier import Classifier, Prediction
from colabkit.models.own import OwnModel
from colabkit.tracking import sinks, track

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colabkit._types import StrPath
    from colabkit.models.base import Build, Data, ReferenceModel
    from colabkit.models.recipes import Recipe
    from colabkit.tracking import Tracker

__all__ = ["MODELS", "Classifier", "ImageData", "Prediction", "Result", "train"]

MODELS = {
    "mnist-mlp": "colabkit.models.mnist_mlp",
    "digits-cnn": "colabkit.models.digits_cnn",
    "digits-fastai": "colabkit.models.digits_fastai",
}


def train(
    name: str | Build,
    *,
    data: Data | ImageData | Callable[[], Data | ImageData] | None = None,
    run: Run | StrPath | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    tracker: Tracker | str | Sequence[Tracker | str] = (),
    recipe: Recipe = "same",
) -> Result:
    """Train a reference model or one of your own; killed at any instant, the same call continues exactly.

    Args:
        name: Which model; `colabkit.models.MODELS` lists them. Or a function that builds and compiles one.
        data: For a reference model a file, a folder or arrays, in the forms of `colabkit.models.datasets.read_digits`;
            fetched when None. For a model of your own arrays as `(x, y)` or `((x_train, y_train), (x_test, y_test))`,
            or a function that gives them.
        run: The run to begin or continue, or a place for it; `colabkit-runs/NAME` when None.
        epochs: How often to go through the training data; the model's own number when None, 10 for your own.
        batch_size: Samples a step; the model's own number when None, 32 for your own.
        seed: Fixes the first weights, the dropout and the order of the samples; sets the global generators too.
        tracker: Where the metrics go beside the run's own log and TensorBoard's files: "mlflow", "wandb", "trackio",
            "neptune", or trackers of your own.
        recipe: "same" computes what the tutorial does, faster; "tutorial" does it to the letter; "sprint" reaches the
            same accuracy sooner with a larger batch, a falling learning rate and fewer bits where the chip has them.

    Returns:
        The trained model with its history and its metrics on the test data.

    Raises:
        UnknownNameError: There is no model, recipe or tracker of that name.
        MissingDependencyError: Keras or a backend is not installed; for "digits-fastai" fastai.
        DataError: The data does not fit the model, or a number makes no sense.
        UnsupportedError: The model has no such recipe.
        RunBusyError: Another process trains this run.
        RunMismatchError: The run belongs to another model, recipe or other data.

    Example:
        ```python
        result = ck.train("mnist-mlp", run="./runs/digits")
        print(result.metrics["accuracy"])
        ```
    """
    recipes.check(recipe)
    sinks.check(tracker)
    for label, number in {"epochs": epochs, "batch_size": batch_size}.items():
        if number is not None and number < 1:
            raise DataError(f"{label}={number} makes no sense", do=f"pass {label}=1 or more")
    name, reference = _find(name, data)
    if not isinstance(run, Run):
        run = open_run(default_folder(name) if run is None else run)
    if getattr(reference, "LIBRARY", "keras") == "fastai":
        from colabkit.models._fastai import train_learner

        return train_learner(
            name,
            cast("Any", reference),
            data=cast("Any", data),
            run=run,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            tracker=tracker,
            recipe=recipe,
        )
    begun = recipes.read_begun(run.dir)
    recipes.check_begun(run.dir, begun, model=name, recipe=recipe)
    plan = recipes.plan(
        name, reference, recipe, epochs=epochs, batch_size=batch_size, begun=begun.backend if begun else None
    )
    phases = Phases()
    with phases("data"):
        samples = reference.load(cast("Any", data))  # `_find` has seen that it fits the kind of model
    say("data: %s, %s training and %s test samples", samples.source, len(samples.x_train), len(samples.x_test))
    say("strategy: %s", plan.strategy.reason)
    for sentence in plan.strategy.warnings:
        warn("%s", sentence)
    say("recipe: %s%s", recipe, f", which means {'; '.join(plan.changes)}" if plan.changes else "")
    with contextlib.ExitStack() as scope:
        with phases("build"), native_stderr_hidden():
            scope.enter_context(plan.strategy.scope())  # first: it chooses the backend, which Keras reads at its import
            keras = require("keras", extra="train", why=f"the model {name} is built with it")
            scope.enter_context(recipes.current_policy(plan))
            keras.utils.set_random_seed(seed)
            model = recipes.build(plan, reference, samples=len(samples.x_train))
        from colabkit.models._bar import EpochBar

        resume = run.resume(seed=seed)
        if begun is None:
            recipes.write_begun(run.dir, recipes.Begun(model=name, recipe=recipe, backend=plan.strategy.backend))
        with phases("fit"):
            history = model.fit(
                samples.x_train,
                samples.y_train,
                batch_size=plan.batch_size,
                epochs=plan.epochs,
                verbose=0,
                callbacks=[EpochBar(), track(run, more=tracker), resume],
            )
        if plan.steps_per_execution:
            model.train_function = None  # the user's next fit is Keras' own
        metrics = {}
        with phases("evaluate"):
            if len(samples.x_test):
                metrics = model.evaluate(samples.x_test, samples.y_test, verbose=0, return_dict=True)
    return Result(
        name=name,
        model=model,
        history=history.history,
        metrics={key: float(value) for key, value in metrics.items()},
        resumed_from=resume.resumed_from,
        data=samples,
        strategy=plan.strategy.reason,
        recipe=recipe,
        seconds=phases.seconds,
        run_dir=run.dir,
    )


def _find(name: str | Build, data: object) -> tuple[str, ReferenceModel]:
    """Find the model, and what to call it."""
    if callable(name):
        if data is None:
            raise DataError("a model of your own needs data", do="pass data=(x, y), or a function that gives it")
        own = OwnModel(name)
        return own.name, own
    if name not in MODELS:
        raise UnknownNameError(f"there is no model {name!r}", do=f"choose one of: {', '.join(MODELS)}")
    if callable(data) or isinstance(data, ImageData):
        raise DataError(f"{name} takes its data as a path or arrays", do="pass the arrays that the function gives")
    return name, cast("ReferenceModel", importlib.import_module(MODELS[name]))
