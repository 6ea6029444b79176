"""What is said where the memory of a training that the user drives has run out."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

from colabkit._internal.log import warn
from colabkit._internal.out_of_memory import is_out_of_memory
from colabkit.errors import ColabKitError, OutOfMemoryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from colabkit.checkpoint.run_store import RunStore
    from colabkit.checkpoint.state.workers import Watching


def out_of_memory(run: RunStore, error: BaseException, *, batch_size: int | None = None) -> OutOfMemoryError:
    """Make the error for a `fit` or a loop of a run whose memory is out.

    Args:
        run: The run.
        error: What the framework raised.
        batch_size: Samples a step, where that is known.
    """
    with contextlib.suppress(ColabKitError):
        run.written()  # the newest state may be on its way to the disk
    step = run.status().saved_step
    saved = "no state is saved yet" if step is None else f"the state of step {step} is saved"
    half = f"batch_size={batch_size // 2}" if batch_size and batch_size > 1 else "half the batch size"
    return OutOfMemoryError(
        f"{run.name}: a step does not fit the memory; {saved}",
        why=(str(error).strip().partition("\n")[0] or type(error).__name__)[:200],
        hint=f"restart the kernel to free what is held, then run the same lines with {half}; for the same mathematics "
        "add up the gradients of two batches before each update. ck.train does both by itself; smaller samples and "
        "16-bit numbers (mixed precision) need less, too",
    )


def tell_if_out_of_memory(run: RunStore, frame: FrameType | None) -> None:
    """Say what to do where memory has run out in the body of a loop, and note it on the error that is on its way.

    A generator that is closed by an error is not told which; so the error is found among all objects, by the frame
    that it leaves.

    Args:
        run: The run.
        frame: That of the loop's body.
    """
    if frame is None:
        return
    # By the type itself: a deprecated object that stands in for another warns when it is asked for its class.
    for error in [each for each in gc.get_objects() if issubclass(type(each), Exception)]:
        if _leaves(error, frame) and is_out_of_memory(error):
            words = out_of_memory(run, error)
            error.add_note(str(words))
            warn("%s", words)
            return


def _leaves(error: Exception, frame: FrameType) -> bool:
    trace = error.__traceback__
    if trace is None:  # Python 3.11 gives an error its traceback only where it is caught
        return True
    while trace is not None and trace.tb_frame is not frame:
        trace = trace.tb_next
    return trace is not None


@contextlib.contextmanager
def telling_lack_of_memory(run: RunStore | Watching, *, step: int) -> Iterator[None]:
    """Go on where a state cannot be taken for lack of memory, and tell it: training may have what a copy has not.

    Args:
        run: The run that would keep the state.
        step: Steps trained so far.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        run.not_taken(error, step=step)
