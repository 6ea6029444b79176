"""Train a reference model in a run that survives a kill; the same command again continues it.

The models are mnist-mlp, digits-cnn and digits-fastai.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit train mnist-mlp --run ./runs/digits --epochs 10"
MORE_EXAMPLES = ("colabkit train digits-cnn --run drive:runs/digits",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model and the arguments of `colabkit.train`."""
    parser.add_argument("name", help="the model, for example mnist-mlp")
    parser.add_argument(
        "--run", metavar="WHERE", help="the run's folder, or drive:FOLDER (default: colabkit-runs/NAME)"
    )
    parser.add_argument("--data", metavar="PATH", help="a file or folder with the data (default: fetched)")
    parser.add_argument(
        "--recipe", default="same", help="same (default), tutorial (to the letter) or sprint (the fewest seconds)"
    )
    parser.add_argument("--epochs", type=int, help="how often to go through the data")
    parser.add_argument("--batch-size", type=int, help="samples a step")
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

    result = train(
        args.name,
        data=args.data,
        run=args.run,
        epochs=args.epochs,
        batch_size=args.batch_size,
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
        "seconds": {name: round(seconds, 3) for name, seconds in result.seconds.items()},
        "run": str(result.run_dir),
    }
    text = ", ".join(f"{name} {number:.4f}" for name, number in sorted(result.metrics.items()))
    text = f"{result.name} on the test data: {text}\nrun: {result.run_dir}"
    if args.test:
        submission = result.classifier.write_submission(args.test, result.run_dir / "submission.csv")
        value["submission"] = str(submission)
        text += f"\nsubmission: {submission}"
    return Outcome(value=value, text=text)
