"""Make everything ready that a set-up file asks for: packages, secrets, Drive, data, the run's folder.

FILE is a colabkit.toml, or a script or notebook with a `# /// script` block (PEP 723). What already exists is left
alone, so it may run as often as you like. Ends with 1 when something is still missing that only you can give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome
from colabkit.cli.install import NO_RESTART

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit setup colabkit.toml --dry-run"
MORE_EXAMPLES = (
    "colabkit setup train.ipynb",
    "colabkit setup --write",
)

INCOMPLETE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="the set-up (default: colabkit.toml)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and touch nothing")
    parser.add_argument("--trusted", action="store_true", help="let FILE name addresses of code and files elsewhere")
    parser.add_argument("--write", action="store_true", help="write FILE from what this session has")
    parser.add_argument("--overwrite", action="store_true", help="with --write: replace FILE")


def run(args: argparse.Namespace) -> Outcome:
    """Set up, or write the file."""
    from colabkit.setup_file import setup

    file = args.file or "colabkit.toml"
    if args.write:
        return _write(args)
    done = setup(file, restart="never", trusted=args.trusted, dry_run=args.dry_run)
    text = f"{done}\n{NO_RESTART}" if done.packages and done.packages.changed and not args.dry_run else str(done)
    return Outcome(done.to_json(), text, 0 if done.complete or args.dry_run else INCOMPLETE)


def run_in_kernel(args: argparse.Namespace) -> Outcome:
    """Set up, by the block of the cell where no file is named; the kernel restarts in place if it must."""
    from colabkit.setup_file import setup

    if args.write:
        return _write(args)
    done = setup(args.file, trusted=args.trusted, dry_run=args.dry_run)
    return Outcome(done.to_json(), str(done), 0 if done.complete or args.dry_run else INCOMPLETE)


def _write(args: argparse.Namespace) -> Outcome:
    from colabkit.setup_file.write import write

    path = write(args.file or "colabkit.toml", overwrite=args.overwrite)
    return Outcome({"path": str(path)}, f"wrote {path}")
