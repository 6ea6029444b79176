"""Push a file or a folder to a place that lasts. Run the same line again to go on; what is there is not sent again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from colabkit._internal.display.progress import amount
from colabkit.cli import Outcome
from colabkit.transfer import push_details

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit push runs/digits gs://my-bucket/runs/"
MORE_EXAMPLES = (
    "tar c logs | colabkit push - gs://my-bucket/logs.tar",
    "colabkit push model.keras drive:models/",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", help="a file or a folder; - reads a stream from stdin")
    parser.add_argument(
        "target",
        help="gs://BUCKET/OBJECT, drive:FOLDER/NAME, or a path; one that ends with / takes it under its own name; "
        "kaggle:OWNER/DATASET, kaggle:models/OWNER/MODEL/FRAMEWORK/VARIATION or kaggle:competitions/NAME",
    )
    parser.add_argument("--message", default="", metavar="TEXT", help="notes of a Kaggle version or submission")
    parser.add_argument("--wait", action="store_true", help="wait for the score of a submission to Kaggle")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what exists and differs; push it to Kaggle again"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> Outcome:
    """Push, and print the address alone, so that a shell can use it."""
    done = push_details(
        sys.stdin.buffer if args.path == "-" else args.path,
        args.target,
        overwrite=args.overwrite,
        message=args.message,
        wait=args.wait,
        progress=False if args.quiet else None,
    )
    value = {
        "target": done.target,
        "files": done.files,
        "sent": done.sent,
        "size": done.size,
        "size_text": amount(done.size),
        **({"score": done.score} if args.wait else {}),
        **({"version": done.version, "created": list(done.created)} if done.version else {}),
    }
    return Outcome(value, done.target)
