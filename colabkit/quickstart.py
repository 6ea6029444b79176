"""From an empty machine to a trained model, one step after the other: what `colabkit quickstart` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import write_json
from colabkit._internal.log import notify
from colabkit._internal.phases import Timings
from colabkit.checkpoint import default_folder, open_run
from colabkit.errors import MissingDependencyError, OfflineError, TransferError
from colabkit.models import datasets, recipes, train
from colabkit.models.results.plots import save_predictions_plot, save_training_plot
from colabkit.models.saving import save_model
from colabkit.runtime import detect
from colabkit.transfer.fetching import fetch

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.checkpoint import Run
    from colabkit.models import Result

MODEL = "mnist-mlp"
EVERY = "2s"
"""Saving takes a few milliseconds here, and a newcomer who presses Ctrl-C wants to see that little is lost."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the quickstart did.

    Attributes:
        values: Everything as plain JSON values.
        text: The same for people.
    """

    values: dict[str, Any]
    text: str


def quickstart(
    where: StrPath | None = None, *, data: StrPath | None = None, epochs: int | None = None, every: str = EVERY
) -> Report:
    """Train the tutorial's digit classifier in a run that survives a kill, and save model, weights and plots.

    Args:
        where: The run's place; `colabkit-runs/quickstart`, or on Colab that folder of the mounted Drive, when None.
        data: An `.npz` file with MNIST; fetched when None.
        epochs: How often to go through the training data; 5 when None.
        every: How often to save.

    Returns:
        What was done and where everything is.
    """
    phases = Timings()
    with phases("runtime"):
        runtime = detect()
    notify("runtime: %s, because %s", runtime.name, "; ".join(runtime.evidence))
    run = open_run(default_folder("quickstart") if where is None else where, every=every)
    notify("run: %s", run.dir)
    if data is None:
        with phases("data"):
            data = _data(run)
    result = train(MODEL, data=data, run=run, epochs=epochs)
    with phases("save"):
        files = _save(result)
    fetching = phases.seconds.get("data", 0.0)
    seconds = {**phases.seconds, **result.seconds}
    seconds["data"] += fetching
    values = {
        "runtime": {"host": runtime.host, "name": runtime.name, "evidence": list(runtime.evidence)},
        "data": result.data.source,
        "training_images": len(result.data.x_train),
        "strategy": result.strategy,
        "resumed_from": result.resumed_from,
        "epochs": len(result.history["loss"]),
        "history": result.history,
        "test_accuracy": result.metrics["accuracy"],
        "test_loss": result.metrics["loss"],
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "run": str(run.dir),
        "files": {name: str(path) for name, path in files.items()},
    }
    write_json(run.dir / "report.json", values)
    run.close()  # the report, too, belongs to what a fresh machine finds
    return Report(values=values, text=_text(result, files))


def _data(run: Run) -> StrPath | None:
    """Fetch MNIST; where it cannot be had, the sample is enough for a first look, and that is said."""
    begun = recipes.read_begun(run.dir)
    if begun is not None and begun.sample:
        notify("data: this run was begun with the sample that ships with colabkit, and continues with it")
        return datasets.SAMPLE
    try:
        fetch(datasets.MNIST_URL, checksum=datasets.MNIST_CHECKSUM, unpack=False)
    except (TransferError, MissingDependencyError) as error:
        cause = "no network" if isinstance(error, OfflineError) else error.what
        notify("MNIST cannot be fetched: %s (%s)", cause, error.why or error.what)
        notify("this first look trains on the sample of 7,000 real MNIST images that ships with colabkit")
        return datasets.SAMPLE
    return None


def _save(result: Result) -> dict[str, Path]:
    folder = result.run_dir
    files = {
        "model": folder / "model.keras",
        "weights": folder / "model.weights.h5",
        "training_plot": folder / "training.png",
        "predictions_plot": folder / "predictions.png",
    }
    for name in ("model", "weights"):
        save_model(result, files[name])
    save_training_plot(result.history, result.metrics, files["training_plot"])
    save_predictions_plot(result.model, result.data, files["predictions_plot"])
    return files


def _text(result: Result, files: dict[str, Path]) -> str:
    resumed = result.resumed_from
    accuracy, tested = result.metrics["accuracy"], len(result.data.x_test)
    epochs, seconds = len(result.history["loss"]), result.seconds["fit"]
    begun = "begun anew"
    if resumed is not None and resumed["epoch"] >= epochs:
        begun = "trained before"
    elif resumed is not None:
        begun = f"continued from epoch {resumed['epoch'] + 1}, step {resumed['step']}"
    summary = (
        f"{accuracy:.2%} of {tested:,} test digits are recognised after {epochs} epochs ({begun}; {seconds:.1f} s)."
    )
    width = max(len(name) for name in files)
    places = [f"  {name.replace('_', ' '):<{width}}  {path}" for name, path in files.items()]
    return "\n".join(["", summary, "", *places])
