"""Train a reference model or one of your own in a run that survives a kill; the same command again continues it.

The models are mnist-mlp, digits-cnn, digits-fastai and image-classifier, or FILE.py:FUNCTION for a function of yours
that builds and compiles one. At the end the run's folder holds model.zip, for colabkit predict, evaluate and export,
or model.keras where the classes have no names.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from colabkit.cli import Outcome

EXAMPLE = "colabkit train mnist-mlp --run ./runs/digits --epochs 10"
MORE_EXAMPLES = (
    "colabkit train digits-cnn --run drive:runs/digits",
    "colabkit train image-classifier --data photos/ --validation 0.2 --patience 5",
    "colabkit train train.py:build --data data.npz --time '50 min'",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model and the arguments of `colabkit.train`."""
    parser.add_argument("name", help="the model, for example mnist-mlp, or FILE.py:FUNCTION")
    parser.add_argument(
        "--run", metavar="WHERE", help="the run's folder, or drive:FOLDER (default: colabkit-runs/NAME)"
    )
    parser.add_argument(
        "--data", metavar="PATH", help="a file or folder, FILE.py:FUNCTION, or sample (default: fetched)"
    )
    parser.add_argument(
        "--recipe", default="same", help="same (default), tutorial (to the letter) or sprint (the fewest seconds)"
    )
    parser.add_argument("--epochs", type=int, help="how often to go through the data")
    parser.add_argument("--batch-size", type=_size, metavar="SIZE", help="samples a step; auto: as many as fit")
    parser.add_argument("--learning-rate", type=float, help="of the optimizer (default: the model's own)")
    parser.add_argument(
        "--validation", metavar="SHARE", help="a share of the data to measure each epoch on, as 0.1, or a path"
    )
    parser.add_argument("--patience", type=int, metavar="EPOCHS", help="end after so many epochs without a better loss")
    parser.add_argument(
        "--time", metavar="TIME", help='how long it may take, as "50 min", or session for until the session ends'
    )
    parser.add_argument("--class-weight", choices=["balanced"], help="let rare classes count as much as frequent ones")
    parser.add_argument(
        "--fine-tune", type=int, metavar="EPOCHS", help="image-classifier: then train the whole network so long"
    )
    parser.add_argument(
        "--weights", metavar="SOURCE", help="image-classifier: the weights of ImageNet, as hf:OWNER/NAME/FILE.h5"
    )
    parser.add_argument("--seed", type=int, default=0, help="fixes weights, dropout and order (default: %(default)s)")
    parser.add_argument(
        "--tracker",
        metavar="NAME",
        action="append",
        default=[],
        help="where the metrics go besides: mlflow, wandb, trackio or neptune, offline; may be repeated",
    )
    parser.add_argument("--test", metavar="CSV", help="a test.csv to classify; writes submission.csv into the run")


def run(args: argparse.Namespace) -> Outcome:
    """Train and report the metrics."""
    from colabkit.models import train
    from colabkit.models.datasets import read_test_csv
    from colabkit.models.saving import RUN_BUNDLE, RUN_MODEL, RUN_WEIGHTS, save_model, state_dict

    if args.test:
        read_test_csv(Path(args.test))  # before the training, not after it
    result = train(
        args.name,
        data=args.data,
        run=args.run,
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        validation=_share_or_path(args.validation),
        patience=args.patience,
        time=args.time,
        class_weight=args.class_weight,
        fine_tune=args.fine_tune,
        weights=args.weights,
        seed=args.seed,
        recipe=args.recipe,
        tracker=args.tracker,
    )
    value = {
        "model": result.name,
        "data": result.data.source,
        "strategy": result.strategy,
        "recipe": result.recipe,
        "resumed_from": result.resumed_from,
        "history": result.history,
        "metrics": result.metrics,
        "stopped": result.stopped or None,
        "seconds": {name: round(seconds, 3) for name, seconds in result.seconds.items()},
        "run": str(result.run_dir),
    }
    if not hasattr(result.model, "dls"):  # a learner of fastai
        file = RUN_BUNDLE if result.data.labels else RUN_MODEL
        file = RUN_WEIGHTS if state_dict.is_module(result.model) else file
        saved = save_model(result, result.run_dir / file)
        value["model_file"] = str(saved)
    text = ", ".join(f"{name} {number:.4f}" for name, number in sorted(result.metrics.items()))
    text = f"{result.name} on the test data: {text}\nrun: {result.run_dir}" if text else f"run: {result.run_dir}"
    if result.stopped:
        text = f"{text}\nended early: {result.stopped}"
    if args.test:
        submission = result.classifier.write_submission(args.test, result.run_dir / "submission.csv")
        value["submission"] = str(submission)
        text += f"\nsubmission: {submission}"
    return Outcome(value=value, text=text)


def _size(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of samples, nor auto") from None


def _share_or_path(text: str | None) -> float | str | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text
