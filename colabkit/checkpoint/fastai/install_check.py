"""fastai: whether what is installed works, and the callback that makes its fits resumable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.optional import require
from colabkit.errors import UnsupportedError

if TYPE_CHECKING:
    from colabkit.checkpoint.run_store import RunStore


def make_callback(run: RunStore, *, check_data: bool) -> Any:
    """Make the callback of `Run.resume_fastai`.

    Raises:
        MissingDependencyError: fastai is not installed.
        UnsupportedError: The installed fastai and fastcore do not work together.
    """
    require_fastai(why="run.resume_fastai() makes a callback for its learners")
    from colabkit.checkpoint.fastai.callback import ResumeLearner

    return ResumeLearner(run, check_data=check_data)


def require_fastai(*, why: str) -> None:
    """Import fastai, and see that it can set a learning rate.

    fastai up to 2.8.7 calls `L.starmap`, which fastcore 2 no longer has, and does not say that it needs an older one:
    https://github.com/fastai/fastai/issues/4154. That is probed here: the pair that Colab ships works.

    Raises:
        MissingDependencyError: It is not installed.
        UnsupportedError: It does not work with this fastcore.
    """
    optimizer = require("fastai.optimizer", extra="fastai", why=why)
    from fastcore.foundation import L

    if "starmap" in optimizer.Optimizer.set_hypers.__code__.co_names and not hasattr(L, "starmap"):
        raise UnsupportedError(
            "this fastai cannot train with this fastcore",
            why="it calls L.starmap, which fastcore 2 no longer has (fastai issue 4154)",
            hint='run: pip install -U "fastai>=2.8.8", then restart the kernel',
        )
