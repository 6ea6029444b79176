"""Reference models: one file each that reads top to bottom, and `train()` that makes any of them resumable."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from colabkit._internal.disk.paths import expand
from colabkit._internal.nearest import suggest
from colabkit.checkpoint import Run, default_folder, open_run
from colabkit.errors import DataError, NotFoundError, UnknownNameError
from colabkit.models import datasets, recipes, settings
from colabkit.models.base import ImageData, Prediction
from colabkit.models.custom import OwnModel, from_file, from_module, name_of
from colabkit.models.results.classifier import Classifier
from colabkit.models.results.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from colabkit._types import StrPath
    from colabkit.models.base import Build, Data, ReferenceModel
    from colabkit.models.recipes import Recipe
    from colabkit.tracking import Tracker

__all__ = ["MODELS", "Classifier", "ImageData", "Prediction", "Result", "train"]

MODELS = {
    "mnist-mlp": "colabkit.models.mnist_mlp",
    "digits-cnn": "colabkit.models.digits_cnn",
    "digits-fastai": "colabkit.models.digits_fastai",
    "image-classifier": "colabkit.models.image_classifier",
}


def train(
    name: str | Build,
    *,
    data: Data | ImageData | Callable[[], Data | ImageData] | None = None,
    run: Run | StrPath | None = None,
    epochs: int | None = None,
    batch_size: int | Literal["auto"] | None = None,
    learning_rate: float | None = None,
    validation: float | StrPath | tuple[Any, Any] | None = None,
    patience: int | None = None,
    callbacks: Sequence[Any] = (),
    time: str | float | None = None,
    class_weight: str | Mapping[int, float] | None = None,
    fine_tune: int | None = None,
    weights: StrPath | None = None,
    seed: int = 0,
    tracker: Tracker | str | Sequence[Tracker | str] = (),
    recipe: Recipe = "same",
) -> Result:
    """Train a reference model or one of your own; killed at any instant, the same call continues exactly.

    Args:
        name: Which model; `colabkit.models.MODELS` lists them. Or a function that builds and compiles one, or where it
            is, as "train.py:build" or "package.module:build". A function that gives a torch module, its optimizer, a
            loss and its data, in a dict, takes no `data`.
        data: For a reference model a file, a folder or arrays, in the forms of `colabkit.models.datasets.read_digits`;
            fetched when None; "sample" for the 7,000 images that ship with colabkit. For "image-classifier" a folder or
            a zip file with one folder of pictures a class. For a model of your own arrays as `(x, y)` or `((x_train,
            y_train), (x_test, y_test))`, an `.npz` file of them, or a function that gives them.
        run: The run to begin or continue, or a place for it; `colabkit-runs/NAME` when None.
        epochs: How often to go through the training data; the model's own number when None, 10 for your own.
        batch_size: Samples a step; the model's own number when None, 32 for your own. "auto" tries out the largest
            power of two that fits the memory; the run keeps it. A batch that does not fit is computed in parts whose
            gradients are added up, from the last saved state on.
        learning_rate: Of the optimizer; the model's own when None. Where it falls along a curve, it begins there.
        validation: A share of the training data to measure each epoch on, as 0.1, drawn by a fixed shuffle; or arrays
            or a path in the form of `data`.
        patience: End after so many epochs without a better loss, of the validation where there is one, with the best
            weights.
        callbacks: More callbacks of Keras, or of fastai for its models; or functions of (epoch, logs), which is all
            that a torch module takes.
        time: How long this call may take, as "50 min", or "session" for until five minutes before the host ends the
            session. Then it saves the exact step, evaluates and returns; the same call goes on from there.
        class_weight: "balanced", for rare classes to count as much as frequent ones, or a weight for each class.
        fine_tune: For "image-classifier": after the head, train the whole network for so many epochs more, at a
            hundredth of the learning rate.
        weights: For "image-classifier": where the weights of ImageNet come from, as "hf:OWNER/NAME/FILE.h5" or a path;
            Keras' own address when None.
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
        DataError: The data does not fit the model, or an argument is not valid.
        DivergedError: The loss is no longer a number.
        OutOfMemoryError: It does not fit the memory, in parts either; the message says which state is saved.
        NotFoundError: There is no file or folder of that name.
        TransferError: The data cannot be fetched; the message says what else can be done.
        UnsupportedError: The model has no such recipe, or cannot take one of the arguments.
        RunBusyError: Another process trains this run.
        RunMismatchError: The run belongs to another model, recipe or other data.

    Example:
        ```python
        result = ck.train("mnist-mlp", run="./runs/digits", validation=0.1, patience=3)
        print(result.metrics["accuracy"])
        ```
    """
    asked = settings.read(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        validation=validation,
        patience=patience,
        callbacks=callbacks,
        time=time,
        class_weight=class_weight,
        fine_tune=fine_tune,
        weights=weights,
        seed=seed,
        tracker=tracker,
        recipe=recipe,
    )
    name = _loaded(name)
    if callable(name) and data is None:
        return _train_torch(name, asked, run)
    called, reference = _find(name, data)
    settings.check_fits(asked, called, reference)
    for place in (data, validation):
        _check_path(place)
    opened = _opening(called, recipe, run)

    if getattr(reference, "LIBRARY", "keras") == "fastai":
        from colabkit.models.fastai import train_learner

        return train_learner(called, cast("Any", reference), asked, data=cast("Any", data), open_run=opened)
    from colabkit.models.keras.training import train_keras

    # `_find` has seen that the data fits the kind of model
    return train_keras(called, reference, asked, load=lambda: reference.load(cast("Any", data)), open_run=opened)


def _opening(called: str, recipe: str, run: Run | StrPath | None) -> Callable[[], Run]:
    """Refuse a run that was begun otherwise, before data is fetched; return what opens it."""
    folder = run.dir if isinstance(run, Run) else Path(default_folder(called) if run is None else run)
    recipes.check_begun(folder, recipes.read_begun(folder), model=called, recipe=recipe)
    return lambda: run if isinstance(run, Run) else open_run(default_folder(called) if run is None else run)


def _train_torch(build: Callable[[], Any], asked: settings.Settings, run: Run | StrPath | None) -> Result:
    from colabkit.models.torch.training import train_torch

    called = name_of(build)
    return train_torch(build, called, asked, open_run=_opening(called, asked.recipe, run))


def _loaded(name: Any) -> Any:
    """Load a function of the user's where a text says where it is, as "train.py:build" or "package.module:build"."""
    if not isinstance(name, str) or name in MODELS:
        return name
    if ".py:" in name or name.endswith(".py"):
        return from_file(name)
    return from_module(name) if ":" in name else name


def _find(name: Any, data: object) -> tuple[str, ReferenceModel]:
    """Find the model, and what to call it."""
    if hasattr(name, "fit") and hasattr(name, "compile"):
        raise DataError(
            f"{type(name).__name__} is a model that is already built",
            why="train builds it itself, with its seed and on the device and backend that it chooses",
            hint="pass the function that builds and compiles it, as ck.train(build, data=…); "
            "or train it yourself: model.fit(x, y, callbacks=[run.resume()])",
        )
    if callable(name):
        own = OwnModel(name)
        return own.name, own
    if not isinstance(name, str) or name not in MODELS:
        raise UnknownNameError(f"there is no model {name!r}", hint=suggest(str(name), MODELS))
    if callable(data) or isinstance(data, ImageData):
        raise DataError(f"{name} takes its data as a path or arrays", hint="pass the arrays that the function gives")
    module = importlib.import_module(MODELS[name])
    return name, cast("ReferenceModel", module.Reference() if hasattr(module, "Reference") else module)


def _check_path(place: object) -> None:
    """Refuse a path that leads nowhere."""
    if isinstance(place, (str, os.PathLike)) and str(place) != datasets.SAMPLE and ".py:" not in str(place):
        path = expand(place)
        if not path.exists():
            raise NotFoundError(f"there is no file or folder at {path}", hint="check the path")
