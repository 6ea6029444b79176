"""Measure a saved model on data with labels: accuracy, and how well each class is recognised.

The data is what `colabkit train --data` takes; of an .npz file, of MNIST's files and of a folder with train and test
only the test part is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit evaluate mnist.npz --model runs/digits"
MORE_EXAMPLES = ("colabkit evaluate photos/ --model flowers.zip --json",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the data and the model."""
    parser.add_argument("data", help="a file or folder with samples and labels")
    parser.add_argument("--model", required=True, metavar="BUNDLE", help="a .zip of save_model, or a run's folder")


def run(args: argparse.Namespace) -> Outcome:
    """Predict all of it, and compare."""
    from colabkit.models.datasets import read_labelled
    from colabkit.models.results import evaluation
    from colabkit.models.saving import load_classifier

    classifier = load_classifier(args.model)
    x, y = read_labelled(args.data, shape=classifier.shape, labels=classifier.labels)
    matrix = evaluation.confusion(y, classifier.probabilities(x).argmax(axis=-1), len(classifier.labels))
    classes = evaluation.scores(matrix, classifier.labels)
    accuracy = float(matrix.trace() / max(1, matrix.sum()))
    value = {
        "model": str(args.model),
        "samples": len(y),
        "accuracy": accuracy,
        "classes": [vars(row) for row in classes],
        "confusion": matrix.tolist(),
    }
    width = max(5, *(len(row.label) for row in classes))
    lines = [f"{accuracy:.2%} of {len(y):,} samples are right", ""]
    lines.append(f"{'class':<{width}}  precision  recall     f1  samples")
    lines += [
        f"{row.label:<{width}}  {row.precision:9.4f}  {row.recall:6.4f}  {row.f1:5.3f}  {row.samples:7}"
        for row in classes
    ]
    return Outcome(value, "\n".join(lines))
