"""The states of a `fit` as the callback that resumes it sees them, and what may follow what.

| state | before epoch | epoch begins | end owed | step | last step | epoch ends | train ends |
|---|---|---|---|---|---|---|---|
| idle | - | - | - | - | - | - | - |
| restored between | between | stepping | - | - | - | - | idle |
| restored within | restored within | stepping | end owed | - | - | - | idle |
| between | between | stepping | - | - | - | - | idle |
| stepping | - | - | - | stepping | epoch end | between | idle |
| epoch end | - | - | - | - | - | between | idle |
| end owed | - | - | - | - | - | between | idle |

From idle, "begin new" leads to between, "begin between" to restored between, "begin within" to restored within; they
lead nowhere from another state, as each `fit` has states of its own.

In the restored states the model has its variables back, and what `fit` and the other callbacks reset at their own
beginning is still owed to them. It is given when the epoch begins: before any callback sees the epoch where the state
lies between two epochs, after all callbacks have seen it where the epoch was begun by an earlier process. In "epoch
end" the steps are done, and the validation and the callbacks of the end of the epoch are owed: what they change was
copied at the last step. In "end owed" an earlier process has trained and saved all steps of the epoch that begins.
"""

from __future__ import annotations

from enum import Enum

from colabkit.errors import UnsupportedError


class FitState(Enum):
    """Where a `fit` stands."""

    IDLE = "idle"
    RESTORED_BETWEEN = "restored between"
    RESTORED_WITHIN = "restored within"
    BETWEEN = "between"
    STEPPING = "stepping"
    EPOCH_END = "epoch end"
    END_OWED = "end owed"


class FitEvent(Enum):
    """What happens to a `fit`."""

    BEGIN_NEW = "begin new"
    BEGIN_BETWEEN = "begin between"
    BEGIN_WITHIN = "begin within"
    BEFORE_EPOCH = "before epoch"
    EPOCH_BEGINS = "epoch begins"
    END_OWED = "end owed"
    STEP = "step"
    LAST_STEP = "last step"
    EPOCH_ENDS = "epoch ends"
    TRAIN_ENDS = "train ends"


_S, _E = FitState, FitEvent
TRANSITIONS: dict[tuple[FitState, FitEvent], FitState] = {
    (_S.IDLE, _E.BEGIN_NEW): _S.BETWEEN,
    (_S.IDLE, _E.BEGIN_BETWEEN): _S.RESTORED_BETWEEN,
    (_S.IDLE, _E.BEGIN_WITHIN): _S.RESTORED_WITHIN,
    **{(state, _E.TRAIN_ENDS): _S.IDLE for state in _S if state is not _S.IDLE},
    (_S.RESTORED_BETWEEN, _E.BEFORE_EPOCH): _S.BETWEEN,
    (_S.RESTORED_BETWEEN, _E.EPOCH_BEGINS): _S.STEPPING,  # nobody calls before the epoch in a fit that was not found
    (_S.RESTORED_WITHIN, _E.BEFORE_EPOCH): _S.RESTORED_WITHIN,
    (_S.RESTORED_WITHIN, _E.EPOCH_BEGINS): _S.STEPPING,
    (_S.RESTORED_WITHIN, _E.END_OWED): _S.END_OWED,
    (_S.BETWEEN, _E.BEFORE_EPOCH): _S.BETWEEN,
    (_S.BETWEEN, _E.EPOCH_BEGINS): _S.STEPPING,
    (_S.STEPPING, _E.STEP): _S.STEPPING,
    (_S.STEPPING, _E.LAST_STEP): _S.EPOCH_END,
    (_S.STEPPING, _E.EPOCH_ENDS): _S.BETWEEN,  # nobody knows how many steps there are, or a callback stops the training
    (_S.EPOCH_END, _E.EPOCH_ENDS): _S.BETWEEN,
    (_S.END_OWED, _E.EPOCH_ENDS): _S.BETWEEN,
}


class FitStates:
    """The state of one `fit`.

    Example:
        >>> states = FitStates()
        >>> states.move(FitEvent.BEGIN_NEW)
        <FitState.BETWEEN: 'between'>
    """

    def __init__(self) -> None:
        self.now = FitState.IDLE

    def move(self, event: FitEvent) -> FitState:
        """Go to the state that an event leads to, and return it.

        Raises:
            UnsupportedError: Nothing leads there; the state stays.
        """
        after = TRANSITIONS.get((self.now, event))
        if after is None:
            raise UnsupportedError(
                f"run.resume() was called out of turn: {event.value!r} in the state {self.now.value!r}",
                why="no fit of Keras calls its callbacks in this order",
                hint="give it to model.fit(..., callbacks=[run.resume()])",
            )
        self.now = after
        return after
