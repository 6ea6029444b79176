"""Fetch a file: whole and verified, or not at all. Run the same line again to go on after an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit._engine.cache import folder
from colabkit._internal.display.progress import amount
from colabkit.cli import Outcome
from colabkit.errors import AddressError
from colabkit.transfer import fetch_details, listing

if TYPE_CHECKING:
    import argparse

    from colabkit._engine.cache import CacheEntry

EXAMPLE = "colabkit fetch https://example.org/digits.zip --to data/ --checksum sha256:HEX"
MORE_EXAMPLES = (
    "colabkit fetch kaggle:competitions/digit-recognizer",
    "colabkit fetch gs://my-bucket/digits.npz --to data/",
    "colabkit fetch --list",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "source",
        nargs="?",
        help="an https, http or gs:// address, kaggle:OWNER/DATASET, a Google Drive link, drive:PATH, a path, or a "
        "quoted curl, wget, kaggle, gsutil or gcloud command",
    )
    parser.add_argument("--to", metavar="PATH", help="a file name, or a folder (ends with /); default: the cache")
    parser.add_argument(
        "--keep", metavar="PLACE", help="keep it for later sessions in drive:FOLDER, gs://BUCKET/FOLDER or a folder"
    )
    parser.add_argument(
        "--checksum", metavar="ALGORITHM:HEX", help="what the file must have: sha256, sha512, sha1, md5 or crc32c"
    )
    packed = parser.add_mutually_exclusive_group()
    packed.add_argument("--unpack", action="store_true", help="unpack single files and nameless links as well")
    packed.add_argument("--no-unpack", action="store_true", help="leave an archive packed")
    parser.add_argument("--overwrite", action="store_true", help="fetch again, and replace what is at PATH")
    parser.add_argument(
        "--no-cache", action="store_true", help="neither use nor note earlier fetches; default place: this folder"
    )
    parser.add_argument("--connections", type=int, metavar="N", help="connections at most; default: up to 24")
    parser.add_argument("--list", action="store_true", help="list what the cache holds instead, newest first")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(args: argparse.Namespace) -> Outcome:
    """Fetch, and print the path alone, so that a shell can use it."""
    if args.list:
        if args.source is not None:
            raise AddressError("--list takes no source", hint="run: colabkit fetch --list")
        return _listed(listing())
    if args.source is None:
        raise AddressError("no source to fetch was named", hint=f"run: {EXAMPLE}")
    done = fetch_details(
        args.source,
        args.to,
        keep=args.keep,
        checksum=args.checksum,
        unpack=True if args.unpack else False if args.no_unpack else "auto",
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


def _listed(entries: list[CacheEntry]) -> Outcome:
    value = [{**vars(receipt), "path": str(receipt.path)} for receipt in entries]
    lines = [f"{entry.fetched[:16]}  {amount(entry.size):>9}  {entry.source}  {entry.path}" for entry in entries]
    return Outcome({"files": value, "folder": str(folder())}, "\n".join(lines) or "nothing was fetched yet")
