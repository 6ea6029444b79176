"""Export a saved model for another program: a SavedModel folder, TF Lite, ONNX or a plain .keras file.

The ending of --to says which: .tflite, .onnx, .keras, .weights.h5; anything else is a SavedModel folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit export runs/digits --to served/1"
MORE_EXAMPLES = ("colabkit export digits.zip --to digits.tflite --probabilities",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model and where it goes."""
    parser.add_argument("model", help="a .zip or .keras file of save_model, or a run's folder")
    parser.add_argument("--to", required=True, metavar="PATH", help="the file or folder to write")
    parser.add_argument("--probabilities", action="store_true", help="with a Softmax on top, where it gives logits")


def run(args: argparse.Namespace) -> Outcome:
    """Export it."""
    from colabkit.models.results.classifier import Classifier
    from colabkit.models.saving import load_model, model_file, save_model
    from colabkit.models.saving.export import export_model

    model = load_model(model_file(args.model))
    if args.probabilities and isinstance(model, Classifier):
        model = model.probability_model()
    bare = model.model if isinstance(model, Classifier) else model
    saved = args.to.endswith((".keras", ".weights.h5"))
    path = save_model(bare, args.to) if saved else export_model(bare, args.to)
    return Outcome({"model": str(args.model), "file": str(path)}, f"exported: {path}")
