"""Fetch a file: whole and verified, or not at all. Run the same line again to go on after an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit._tools.progress import amount
from colabkit.cli import Outcome
from colabkit.transfer import fetch_details

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit fetch https://example.org/digits.zip --to data/ --checksum sha256:HEX"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "source",
        help="an https, http or gs:// address, a path, a file: address, or a quoted curl, wget or gsutil command",
    )
    parser.add_argument("--to", metavar="PATH", help="a file name, or a folder (ends with /); default: the cache")
    parser.add_argument(
        "--checksum", metavar="ALGORITHM:HEX", help="what the file must have: sha256, sha1, md5 or crc32c"
    )
    parser.add_argument("--no-unpack", action="store_true", help="leave an archive packed")
    parser.add_argument("--overwrite", action="store_true", help="fetch again, and replace what is at PATH")
    parser.add_argument(
        "--no-cache", action="store_true", help="neither use nor note earlier fetches; default place: this folder"
    )
    parser.add_argument("--connections", type=int, metavar="N", help="connections at most; default: up to 16")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> Outcome:
    """Fetch, and print the path alone, so that a shell can use it."""
    done = fetch_details(
        args.source,
        args.to,
        checksum=args.checksum,
        unpack=False if args.no_unpack else "auto",
        overwrite=args.overwrite,
        connections=args.connections,
        progress=False if args.quiet else None,
        use_cache=not args.no_cache,
    )
    value = {
        "path": str(done.path),
        "source": done.source,
        "from_cache": done.from_cache,
        "checksum": done.checksum,
        "size": done.size,
        "size_text": amount(done.size),
    }
    return Outcome(value, str(done.path))
