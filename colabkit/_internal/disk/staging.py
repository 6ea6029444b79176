"""Hidden folders in which something is made before it gets its name; what a kill left of them is swept."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import TEMP_MARKER, lock_folder, map_os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Make a hidden folder beside a target, gone at the end; what earlier processes left there goes too.

    Args:
        target: What is made in it before it gets its name.

    Yields:
        The folder.

    Raises:
        StorageError: It cannot be made.
    """
    prefix = f".{target.name[:100]}{TEMP_MARKER}"
    with contextlib.ExitStack() as stack:
        with map_os_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            # Locked before it has the name by which others look for what a kill left.
            new = Path(tempfile.mkdtemp(prefix=f"{TEMP_MARKER}new-", dir=target.parent))
            place = new.with_name(f"{prefix}{new.name.removeprefix(TEMP_MARKER)}")
            lock = lock_folder(new)
            stack.callback(shutil.rmtree, place, ignore_errors=True)
            os.replace(new, place)
        if lock is not None:
            stack.callback(os.close, lock)
            for left in target.parent.glob(f"{glob.escape(prefix)}new-*"):
                _remove_left(left)
        yield place


def _remove_left(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if (lock := lock_folder(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
