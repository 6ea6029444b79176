"""Look at Google Drive's mount on Colab, unmount it, or ask whether files have reached Drive.

status tells how the mount is, and ends with 1 when it is not well. unmount uploads what is pending first. uploaded
proves by Drive's own checksums that a file or folder has arrived, and ends with 1 when it has not or nobody can tell.
mount says whether Drive is mounted and well: a command cannot ask for access to it, only colabkit.drive.mount() in a
cell can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit import drive
from colabkit.cli import Outcome
from colabkit.errors import AddressError

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit drive uploaded /content/drive/MyDrive/runs --timeout 300"
MORE_EXAMPLES = (
    "colabkit drive status",
    "colabkit drive unmount",
)

NOT_WELL = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the action, and what it acts on."""
    parser.add_argument(
        "action", metavar="action", choices=("status", "mount", "unmount", "uploaded"), help="one of: %(choices)s"
    )
    parser.add_argument("path", nargs="?", help="for uploaded: a file or folder on the mounted Drive")
    parser.add_argument(
        "--mountpoint", metavar="FOLDER", default=drive.DEFAULT, help="where Drive is mounted (default: %(default)s)"
    )
    parser.add_argument("--no-write", action="store_true", help="for status: do not try to write")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, help="how long to wait (default: 15, for unmount 3600, uploaded 60)"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it, and say what came of it."""
    if args.action == "uploaded":
        if args.path is None:
            raise AddressError("uploaded needs a path", do=f"write it as: {EXAMPLE}")
        upload = drive.uploaded(args.path, timeout=args.timeout or 60.0)
        return Outcome(upload.to_json(), str(upload), 0 if upload else NOT_WELL)
    if args.path is not None:
        raise AddressError(f"{args.action} takes no path", do="name the mount by --mountpoint FOLDER")
    if args.action == "mount":
        target = drive.mount(args.mountpoint)
        return Outcome({"mountpoint": str(target)}, f"Drive is mounted at {target}, and well.")
    if args.action == "unmount":
        done = drive.unmount(args.mountpoint, timeout_ms=int((args.timeout or 3600.0) * 1000))
        return Outcome(done.to_json(), "" if done.was_mounted else str(done))
    health = drive.health(args.mountpoint, write=not args.no_write, timeout=args.timeout or 15.0)
    return Outcome(health.to_json(), str(health), 0 if health.ok else NOT_WELL)
