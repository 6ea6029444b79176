"""Lightning: the callback that makes its trainings resumable."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import prepare
from colabkit._internal.optional import require
from colabkit._internal.process.frameworks import before_torch
from colabkit.checkpoint.policy import parse_best
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from colabkit.checkpoint.run_store import RunStore


def make_callback(run: RunStore, *, check_data: bool, best: Any) -> Any:
    """Make the callback of `Run.resume_lightning`, for whichever of Lightning's two packages is in use.

    Raises:
        MissingDependencyError: Lightning is not installed.
        UnsupportedError: This version has another loop.
    """
    before_torch()
    old = "pytorch_lightning"
    name = old if old in sys.modules and "lightning.pytorch" not in sys.modules else "lightning.pytorch"
    package = require(name, extra="lightning", why="run.resume_lightning() makes a callback for its Trainer")
    if int(package.__version__.split(".")[0]) < 2:
        raise UnsupportedError(
            f"run.resume_lightning() does not know the loops of Lightning {package.__version__}",
            why="they changed in version 2",
            hint='run: pip install -U "lightning>=2.1", then restart the kernel',
        )
    from colabkit.checkpoint.lightning.callback import ResumeLightning

    prepare()
    kind = type("ResumeLightning", (ResumeLightning, package.Callback), {"__module__": ResumeLightning.__module__})
    return kind(run, check_data=check_data, best=None if best is None else parse_best(best))
