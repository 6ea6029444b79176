"""Write every installed package with its version into a requirements file.

The file is one that pip reads; its header names the Python, the platform and the image, so that
`colabkit install FILE` can say what differs where it is restored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit lock requirements.lock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("path", nargs="?", default="requirements.lock", help="where to write (default: %(default)s)")
    parser.add_argument("--wheels", metavar="WHERE", help="keep the wheels too: a folder, drive:FOLDER, gs://…")


def run(args: argparse.Namespace) -> Outcome:
    """Write the lock."""
    from colabkit.packages import lock

    path = lock(args.path, wheels=args.wheels)
    return Outcome({"path": str(path)}, f"wrote {path}")
