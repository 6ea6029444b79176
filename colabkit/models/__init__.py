"""Reference models: one file each that reads top to bottom, and `train()` that makes any of them resumable."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, cast

from colabkit._tools.log import say, warn
from colabkit._tools.optional import require
from colabkit._tools.phases import Phases
from colabkit._tools.quiet import native_stderr_hidden
from colabkit.accelerator import strategy
from colabkit.checkpoint import Run, default_folder, open_run
from colabkit.errors import DataError, UnknownNameError
from colabkit.models.base import ImageData, Result

if TYPE_CHECKING:
    from colabkit._types import StrPath
    from colabkit.models.base import ReferenceModel

__all__ = ["MODELS", "ImageData", "Result", "train"]

MODELS = {"mnist-mlp": "colabkit.models.mnist_mlp"}


def train(
    name: str,
    *,
    data: StrPath | None = None,
    run: Run | StrPath | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> Result:
    """Train a reference model; killed at any instant, the same call continues exactly.

    Args:
        name: Which model; `colabkit.models.MODELS` lists them.
        data: A file with the data, in the form the model's file describes; fetched when None.
        run: The run to begin or continue, or a place for it; `colabkit-runs/NAME` when None.
        epochs: How often to go through the training data; the model's own number when None.
        batch_size: Samples a step; the model's own number when None.
        seed: Fixes the first weights, the dropout and the order of the samples; sets the global generators too.

    Returns:
        The trained model with its history and its metrics on the test data.

    Raises:
        UnknownNameError: There is no model of that name.
        MissingDependencyError: Keras or a backend is not installed.
        DataError: The data does not fit the model, or a number makes no sense.
        RunBusyError: Another process trains this run.
        RunMismatchError: The run belongs to another model or other data.

    Example:
        ```python
        result = ck.train("mnist-mlp", run="./runs/digits")
        print(result.metrics["accuracy"])
        ```
    """
    if name not in MODELS:
        raise UnknownNameError(f"there is no model {name!r}", do=f"choose one of: {', '.join(MODELS)}")
    for label, number in {"epochs": epochs, "batch_size": batch_size}.items():
        if number is not None and number < 1:
            raise DataError(f"{label}={number} makes no sense", do=f"pass {label}=1 or more")
    reference = cast("ReferenceModel", importlib.import_module(MODELS[name]))
    if not isinstance(run, Run):
        run = open_run(default_folder(name) if run is None else run)
    phases = Phases()
    with phases("data"):
        images = reference.load(data)
    say("data: %s, %s training and %s test images", images.source, len(images.x_train), len(images.x_test))
    chosen = strategy()
    say("strategy: %s", chosen.reason)
    for sentence in chosen.warnings:
        warn("%s", sentence)
    with contextlib.ExitStack() as scope:
        with phases("build"), native_stderr_hidden():
            scope.enter_context(chosen.scope())  # first: it chooses the backend, which Keras reads at its import
            keras = require("keras", extra="train", why=f"the model {name} is built with it")
            keras.utils.set_random_seed(seed)
            model = reference.build()
        from colabkit.models._bar import EpochBar

        resume = run.resume(seed=seed)
        with phases("fit"):
            history = model.fit(
                images.x_train,
                images.y_train,
                batch_size=batch_size or reference.BATCH_SIZE,
                epochs=epochs or reference.EPOCHS,
                verbose=0,
                callbacks=[EpochBar(), resume],
            )
        with phases("evaluate"):
            metrics = model.evaluate(images.x_test, images.y_test, verbose=0, return_dict=True)
    return Result(
        name=name,
        model=model,
        history=history.history,
        metrics={key: float(value) for key, value in metrics.items()},
        resumed_from=resume.resumed_from,
        data=images,
        strategy=chosen.reason,
        seconds=phases.seconds,
        run_dir=run.dir,
    )
