"""Hide what native libraries write to the process' stderr while they start."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def native_stderr_hidden() -> Iterator[None]:
    """Swallow what is written to file descriptor 2; when the block fails, it is shown after all.

    TensorFlow greets with a dozen lines about CUDA and oneDNN, written by C++ before any setting is read. Setting
    `TF_ENABLE_ONEDNN_OPTS=0` would silence them too, but costs a third of the speed of convolutions.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as kept:
            os.dup2(kept.fileno(), 2)
            try:
                yield
            except BaseException:
                os.dup2(saved, 2)
                kept.seek(0)
                with contextlib.suppress(OSError):
                    os.write(2, kept.read())
                raise
            finally:
                os.dup2(saved, 2)
    finally:
        os.close(saved)
