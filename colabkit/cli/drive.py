"""Look at Google Drive's mount on Colab, unmount it, or ask whether files have reached Drive.

status tells how the mount is, and ends with 1 when it is not well. unmount uploads what is pending first. uploaded
proves by Drive's own checksums that a file or folder has arrived, and ends with 1 when it has not or nobody can tell.
mount says whether Drive is mounted and well: a command cannot ask for access to it, only colabkit.drive.mount() in a
cell can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit import drive
from colabkit.cli import Action, Outcome, add_actions

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit drive uploaded /content/drive/MyDrive/runs --timeout 300"
MORE_EXAMPLES = (
    "colabkit drive status",
    "colabkit drive unmount",
)

NOT_WELL = 1


def _point(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mountpoint", metavar="FOLDER", default=drive.DEFAULT, help="where Drive is mounted (default: %(default)s)"
    )


def _wait(parser: argparse.ArgumentParser, seconds: float) -> None:
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=seconds, help="how long to wait (default: %(default)g)"
    )


def _status(parser: argparse.ArgumentParser) -> None:
    _point(parser)
    _wait(parser, 15.0)
    parser.add_argument("--no-write", action="store_true", help="do not try to write")


def _unmount(parser: argparse.ArgumentParser) -> None:
    _point(parser)
    _wait(parser, 3600.0)


def _uploaded(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="a file or folder on the mounted Drive")
    _wait(parser, 60.0)


ACTIONS = {
    "status": Action("tell how the mount is, and end with 1 when it is not well", MORE_EXAMPLES[:1], _status),
    "mount": Action("say whether Drive is mounted and well", ["colabkit drive mount"], _point),
    "unmount": Action("upload what is pending, and unmount", MORE_EXAMPLES[1:], _unmount),
    "uploaded": Action("prove that a file or folder has reached Drive", [EXAMPLE], _uploaded),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the action, and what it acts on."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> Outcome:
    """Do it, and say what came of it."""
    if args.action == "uploaded":
        upload = drive.uploaded(args.path, timeout=args.timeout)
        return Outcome(upload.to_json(), str(upload), 0 if upload else NOT_WELL)
    if args.action == "mount":
        target = drive.mount(args.mountpoint)
        return Outcome({"mountpoint": str(target)}, f"Drive is mounted at {target}, and well.")
    if args.action == "unmount":
        done = drive.unmount(args.mountpoint, timeout_ms=int(args.timeout * 1000))
        return Outcome(done.to_json(), "" if done.was_mounted else str(done))
    health = drive.health(args.mountpoint, write=not args.no_write, timeout=args.timeout)
    return Outcome(health.to_json(), str(health), 0 if health.ok else NOT_WELL)
