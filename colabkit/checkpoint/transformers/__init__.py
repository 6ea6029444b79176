"""The Trainer of Hugging Face's transformers: the callback that makes its trainings resumable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.log import prepare
from colabkit._internal.optional import require
from colabkit._internal.process.frameworks import before_torch
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from colabkit.checkpoint.run_store import RunStore


def make_callback(run: RunStore, *, check_data: bool, best: Any) -> Any:
    """Make the callback of `Run.resume_transformers`.

    Raises:
        MissingDependencyError: transformers is not installed.
        UnsupportedError: This version has another loop.
    """
    why = "run.resume_transformers() makes a callback for its Trainer"
    before_torch()
    require("transformers", extra="transformers", why=why)
    require("accelerate", extra="transformers", why=why)
    import transformers

    if not hasattr(transformers.Trainer, "_run_epoch"):
        raise UnsupportedError(
            f"run.resume_transformers() does not know the loop of transformers {transformers.__version__}",
            why="it builds on Trainer._run_epoch, which is new in version 5",
            hint='run: pip install -U "transformers>=5", then restart the kernel',
        )
    from colabkit.checkpoint.policy import parse_best
    from colabkit.checkpoint.transformers.callback import make

    prepare()
    return make(run, check_data=check_data, best=None if best is None else parse_best(best))
