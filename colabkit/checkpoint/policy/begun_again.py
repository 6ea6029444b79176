"""Whether a loop around a training begins it again, and so asks for what is trained already.

`for epoch in range(20): model.fit(x, y, epochs=1, callbacks=[run.resume()])` trains one epoch and then none, as the run
counts them. A cell that is run once more, or a program, begins the same training again as it should: nothing is left.
"""

from __future__ import annotations

import inspect
import sysconfig
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.policy.code_flow import flow_of
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from types import CodeType, FrameType

_INSTALLED = (*{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}, "<frozen")
_TRAINING = "colabkit.checkpoint."
_begun: dict[tuple[Any, ...], tuple[int, list[CodeType]]] = {}
"""The epochs that were asked for; and the code, which is held so that no other one, as the next cell, has its id."""


def note(run: Any, *, epochs: int) -> bool:
    """Note where the user's code begins to train a run.

    Args:
        run: What names the run in this process.
        epochs: How many are asked for.

    Returns:
        Whether the same running code has begun it at the same place before, for as many: a loop goes around it.
    """
    frames = _frames(inspect.currentframe())
    if not any(flow_of(frame.f_code).comes_by_again(frame.f_lasti) for frame in frames):
        return False  # a button's handler, perhaps, which is called once more
    place = (run, id(frames[-1]), *((id(frame.f_code), frame.f_lasti) for frame in frames))
    before, _ = _begun.get(place, (0, []))
    _begun[place] = epochs, [frame.f_code for frame in frames]
    return before >= epochs


def refuse(run: str, trained: str, *, way: str) -> None:
    """Refuse a training that a loop begins again, with nothing left to train.

    Args:
        run: The run's name.
        trained: What it has trained, as "1 epochs".
        way: What to write in place of it.

    Raises:
        RunMismatchError: Always.
    """
    raise RunMismatchError(
        f"the run {run} is begun again by a loop around it, and has trained its {trained} already",
        why="a run counts epochs over all calls and processes, so the further rounds of that loop would train nothing",
        hint=way,
    )


def _frames(frame: FrameType | None) -> list[FrameType]:
    """Give the calls of the user's that lead here, the innermost first; none where another part of colabkit trains."""
    frames = []
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        is_ours = module.startswith("colabkit.")
        if is_ours and not module.startswith(_TRAINING):
            return []
        if not is_ours and not frame.f_code.co_filename.startswith(_INSTALLED):
            frames.append(frame)
        frame = frame.f_back
    return frames
