"""The files of `tf.data.Dataset.cache("FILE")`, which TensorFlow writes in the first pass over the data.

While they are written, the place of an iterator must not be saved: TensorFlow (2.20 and 2.21) loses a part of the cache
then, and every later pass ends with "No such file". And what a killed process leaves half-written stops the next one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from colabkit._internal.log import notify
from colabkit.errors import UnsupportedError


def is_whole(prefix: str) -> bool:
    """Tell whether the cache was written to its end."""
    return Path(f"{prefix}.index").exists()


def clear_half_written(prefix: str) -> None:
    """Delete what a process that has died has left of a cache.

    Args:
        prefix: The name that was given to `cache()`.

    Raises:
        UnsupportedError: A process writes it, or nobody can tell whether one does.
    """
    if is_whole(prefix):
        return
    folder, name = Path(prefix).parent, Path(prefix).name
    there = [path for path in folder.iterdir() if path.name.startswith(f"{name}_")] if folder.is_dir() else []
    locks = [path for path in there if path.suffix == ".lockfile"]
    if not locks:
        return
    if not sys.platform.startswith("linux") or _are_open(prefix):
        raise UnsupportedError(
            f"the cache {prefix} is half-written",
            why="another process writes it, or one that writes it was killed",
            hint=f"when no other training uses it, delete {locks[0]} and run again",
        )
    for path in there:
        path.unlink(missing_ok=True)
    notify("deleted the half-written cache %s of a process that was killed; it is written again", prefix)


def _are_open(prefix: str) -> bool:
    """Tell whether a process of this machine has files of the cache open."""
    beginning = os.path.realpath(prefix)
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()).startswith(beginning):
                return True
        except OSError:  # it has ended, or is another user's
            continue
    return False
