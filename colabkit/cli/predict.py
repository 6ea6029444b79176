"""Say what pictures show, by a model that colabkit has saved.

The model is a bundle (.zip), or the folder of a run that `colabkit train` has ended. Files are pictures, or a test.csv
of pixels; with --to what is said of each image is written as a CSV.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import write_text
from colabkit.cli import Outcome
from colabkit.errors import NotFoundError

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit predict seven.png --model runs/digits"
MORE_EXAMPLES = ("colabkit predict photos/*.jpg --model digits.zip --top 3 --json",)

_LINES_AT_MOST = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files and the model."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="pictures, or one CSV of pixels")
    parser.add_argument("--model", required=True, metavar="BUNDLE", help="a .zip of save_model, or a run's folder")
    parser.add_argument("--top", type=int, default=1, metavar="N", help="how many classes to name (default: 1)")
    parser.add_argument("--to", metavar="CSV", help="write file, label and probability of each image there")


def run(args: argparse.Namespace) -> Outcome:
    """Predict, and report each image."""
    from colabkit.models.saving import load_classifier

    for name in args.files:
        if not Path(name).is_file():
            raise NotFoundError(f"there is no file at {name}", hint="check the path")
    classifier = load_classifier(args.model)
    table = len(args.files) == 1 and args.files[0].lower().endswith(".csv")
    predicted = classifier.predict(args.files[0] if table else args.files)
    names = [f"row {number}" for number in range(1, len(predicted) + 1)] if table else args.files
    predictions = []
    for name, prediction in zip(names, predicted, strict=True):
        best = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])[: max(1, args.top)]
        predictions.append(
            {"file": name, "label": prediction.label, "probability": prediction.probability, "best": dict(best)}
        )
    value: dict[str, object] = {"model": str(args.model), "predictions": predictions}
    width = max(map(len, names))
    lines = [
        f"{name:<{width}}  " + ", ".join(f"{label} {share:.1%}" for label, share in row["best"].items())
        for name, row in zip(names, predictions, strict=True)
    ]
    if len(lines) > _LINES_AT_MOST:
        lines = [*lines[:_LINES_AT_MOST], f"and {len(lines) - _LINES_AT_MOST} more"]
    if args.to:
        rows = [f"{_quoted(row['file'])},{_quoted(row['label'])},{row['probability']:.6f}\n" for row in predictions]
        write_text(args.to, "file,label,probability\n" + "".join(rows))
        value["file"] = args.to
        lines.append(f"written: {args.to}")
    return Outcome(value, "\n".join(lines))


def _quoted(text: object) -> str:
    words = str(text)
    return '"' + words.replace('"', '""') + '"' if any(sign in words for sign in ',"\n') else words
