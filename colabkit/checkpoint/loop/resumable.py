"""What `run.loop` and the callbacks of Lightning and the Trainer share: when to save, what a checkpoint says, checks.

With several processes all this happens on each of them at the same step (`state/workers.py`); the chief alone writes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from colabkit._internal.log import notify, warn
from colabkit._internal.out_of_memory import is_out_of_memory
from colabkit.accelerator import torch as processes
from colabkit.checkpoint.loop.carried import places_in
from colabkit.checkpoint.loop.data.rows import check_samples
from colabkit.checkpoint.loop.data.trained_on import TrainedOn
from colabkit.checkpoint.loop.drawn import DrawnBefore
from colabkit.checkpoint.loop.parts.gradients import PendingGradients
from colabkit.checkpoint.loop.restoring import SavedState, StateKind
from colabkit.checkpoint.loop.structure import BuiltStructure
from colabkit.checkpoint.policy import BestSoFar, set_order
from colabkit.checkpoint.policy.save_clock import SaveClock
from colabkit.checkpoint.policy.save_triggers import SaveTriggers, session_left
from colabkit.checkpoint.policy.signals import StopSignals
from colabkit.checkpoint.policy.stopping import act_on_signal, wait_until_written
from colabkit.checkpoint.state import hardware, pytree
from colabkit.checkpoint.state.checks import changed_versions
from colabkit.checkpoint.state.pytree import Snapshot
from colabkit.checkpoint.state.workers import WorkerCoordinator
from colabkit.checkpoint.time_use import TrainingTime

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from colabkit.checkpoint.loop.parts import Parts
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.policy.time_limit import TimeLimit
    from colabkit.checkpoint.run_store import RunStore
    from colabkit.checkpoint.state.workers import Watching


class Resumable:
    """A training whose state is saved as it goes, and that continues from the newest one.

    Args:
        run: The run that keeps the checkpoints.
        check_data: Refuse data other than what the run was trained on.
        best: By which metric the best state is kept.
        limit: When to save and end before the last epoch; None for never.

    Attributes:
        resumed_from: After the start: the `epoch` (from 0) and the `step` in it where the run was continued, or None in
            a new run.
        stopped: Why it ended before its last epoch, in words; empty where it did not.
    """

    kind: ClassVar[StateKind]
    _or_give_it: ClassVar[str] = ""  # instead of a seed before something is drawn

    def __init__(
        self, run: RunStore, *, check_data: bool, best: BestMetric | None = None, limit: TimeLimit | None = None
    ) -> None:
        self.stopped = ""
        self.resumed_from: dict[str, int] | None = None
        self._given_run = run
        self._coordinator: WorkerCoordinator | None = None  # found when the training begins
        self._check_data = check_data
        self._best = BestSoFar(best)
        self._parts: Parts | None = None
        self._gradients = PendingGradients([])
        self._data = TrainedOn(self._identity, self._loaders_read)
        self._resume: SavedState | None = None
        self._structure = BuiltStructure()
        self._drawn = DrawnBefore(run.dir, notify=self._notify, warn=self._warn)
        self._save_clock = SaveClock(run.name, run.every)
        self._time = TrainingTime()
        self._signals = StopSignals(self._is_running, limit=limit)

    # ---- what each training says of itself ----

    def _steps_done(self) -> int:
        """Return the steps of all epochs and processes."""
        raise NotImplementedError

    def _is_running(self, frame: FrameType | None) -> bool:
        """Say whether the training is among the callers of a frame."""
        raise NotImplementedError

    def _release(self, words: str = "") -> None:
        """Let go of the training; what was saved stays. The words say how it ended, where that was early."""
        raise NotImplementedError

    def _save_state(self, *, complete: bool) -> None:
        """Take the state and submit it."""
        raise NotImplementedError

    def _identity(self) -> dict[str, Any]:
        """Describe the data, so that other data is noticed."""
        raise NotImplementedError

    def _loaders_read(self) -> list[Any]:
        """List what gives the batches."""
        raise NotImplementedError

    def _measured(self) -> dict[str, float]:
        """Return the newest metrics, for whoever is told of the end."""
        return {}

    def _versions(self) -> dict[str, str]:
        """Name the versions that the state depends on."""
        return pytree.versions()

    def _rebuilds_itself(self) -> bool:
        """Say whether groups of parameters that were added while it trained are there again when it goes on."""
        return False

    def _shares_out(self, saved: SavedState) -> bool:  # noqa: ARG002 - others look at it
        """Say whether what is left of the epoch can be shared out among another number of processes."""
        return False

    # ---- several processes ----

    @property
    def _workers(self) -> WorkerCoordinator:
        assert self._coordinator is not None  # noqa: S101 - found when the training begins
        return self._coordinator

    @property
    def _run(self) -> RunStore | Watching:
        return self._given_run if self._coordinator is None else self._coordinator.run

    @property
    def _is_chief(self) -> bool:
        return self._coordinator is None or self._coordinator.is_chief

    @property
    def _alone(self) -> bool:
        return self._coordinator is None or self._coordinator.is_single

    def _notify(self, text: str, *values: Any) -> None:
        if self._is_chief:
            notify(text, self._run.name, *values)

    def _warn(self, text: str, *values: Any) -> None:
        if self._is_chief:
            warn(text, self._run.name, *values)

    def _begin_writing(self) -> None:
        """Find the other processes, and become the writer where this is the first of them."""
        self._coordinator = WorkerCoordinator(self._given_run, processes.joined())
        self._run.begin_writing()

    def _meet(self) -> None:
        """Wait for the other processes, so that none reads what the chief has not written."""
        if not self._alone:
            wait_until_written(self._run)
            self._workers.decide(due=False, signal=0, step=self._steps_done(), ask=True)

    # ---- when to save, and when to stop ----

    def _watch(self) -> None:
        """Begin to look for occasions to save."""
        self._save_clock.start(SaveTriggers(self._run.dir, session_left=session_left()))
        self._signals.install()

    def _decide(self, *, at_epoch: int | None = None, ask: bool = False) -> tuple[bool, bool]:
        """Decide whether to save and whether to stop, the same in all processes.

        Args:
            at_epoch: How many epochs are over, where one has just ended and its end is to be saved.
            ask: Ask the other processes now.
        """
        signal, step = self._signals.received or 0, self._steps_done()
        due = False
        if self._is_chief:
            at_end = at_epoch is not None and self._run.every.due_at_epoch(at_epoch)
            due = self._best.is_new or at_end or self._save_clock.due(step)
        ask = ask or self._best.metric is not None
        save, signal = self._workers.decide(due=due, signal=signal, step=step, ask=ask)
        if signal:
            self._signals.received = signal
        return save or signal != 0, signal != 0

    def _judge(self, value: Any, *, epoch: int, step: int) -> None:
        """Note whether this state is the best one; of several processes the first one's value counts."""
        if self._best.metric is not None and self._is_chief:
            self._best.judge(float(value), step=step, epoch=epoch)

    def _stop(self) -> None:
        wait_until_written(self._run)
        self._meet()
        self._release("stopped")
        step = act_on_signal(self._run, self._signals, self._measured())
        self.stopped = f"its time is over at step {step}"

    # ---- saving ----

    def _save(self, *, complete: bool = False) -> None:
        """Save the state; where there is no memory to take it that is told, and the training goes on."""
        try:
            self._save_state(complete=complete)
        except Exception as error:
            if not (self._alone and is_out_of_memory(error)):  # other processes wait for what this one has not sent
                raise
            self._given_run.not_taken(error, step=self._steps_done())
            self._note_saved()

    def _submit(self, tree: dict[str, Any], tensors: dict[str, Any], **meta: Any) -> None:
        """Hand a state to the run.

        Args:
            tree: What stands under `state`.
            tensors: Random states and other arrays.
            meta: What this kind of training says beside what all say.
        """
        assert self._parts is not None  # noqa: S101 - made at the start
        step = self._steps_done()
        self._structure.tell_changes(self._parts, self._warn, is_rebuilt_later=self._rebuilds_itself())
        carried = places_in(tree.get("names", {}))
        tree = tree | {"drawn": self._drawn.take(is_cut=not meta["complete"], besides=carried)}
        state = pytree.flatten(tree, "state", tensors)
        if ranks := self._workers.collect(tensors, state):
            meta |= {"ranks": ranks, "workers": self._workers.count}
        meta |= {
            "kind": self.kind.name,
            "step": step,
            "best": self._best.note,
            "saved_at": time.time(),
            "seconds": self._time.seconds,
            "data": self._data.identity,
            "splits": self._data.splits.describe(tensors),
            "settings": self._parts.settings(),
            "versions": self._versions(),
            "state": state,
        }
        self._run.submit(Snapshot(step=step, tensors=tensors, meta=meta))
        if self._best.is_new:
            wait_until_written(self._run)  # a state that waits may be replaced by the next one
        self._note_saved()

    def _note_saved(self) -> None:
        """Count the interval to the next save from now on."""
        self._save_clock.saved_step, self._best.is_new = self._steps_done(), False
        self._save_clock.saved()

    # ---- restoring ----

    def _newest(self) -> SavedState | None:
        """Read the newest state, see that it fits this training, and give back what the script draws before it."""
        checkpoint = self._workers.newest(self.kind.name)
        self._data.look()
        if checkpoint is None:
            self._data.splits.tell_of_those_drawn_again(self._run.name)
            return None
        saved = SavedState(checkpoint, self.kind, run=self._run.name, workers=self._workers)
        splits = saved.meta.get("splits", {}) if self._alone and self._check_data else {}
        if self._data.give(self._run.name, splits, saved.tensors):
            self._drawn.mark_again()
        self._check(saved)
        if saved.is_resized:
            saved.check_resized(refuse=self._check_data, shares_out=self._shares_out(saved), warn=self._warn)
        self._drawn.give(saved.tree().get("drawn"), or_else=self._or_give_it)
        return saved

    def _go_on(self, saved: SavedState, *, batches_per_step: int = 1) -> None:
        """Count the steps, the seconds and the best state on from where an earlier process was."""
        meta = saved.meta
        self._save_clock.saved_step = meta["step"]
        self._time.go_on(meta["seconds"])
        self._best.note = meta.get("best")
        self.resumed_from = {"epoch": meta["epoch"], "step": meta["step_in_epoch"] // batches_per_step}

    def _check(self, saved: SavedState, *, ignored: Iterable[str] = ()) -> None:
        """Refuse other data; tell of other settings and versions."""
        assert self._parts is not None  # noqa: S101 - made at the start
        set_order.check(self._run.name, saved.meta, refuse=self._check_data)
        before, may_differ = saved.meta["data"], saved.may_differ(besides=ignored)
        check_samples(self._run.name, before, self._data.identity, ignored=may_differ, refuse=self._check_data)
        for text in self._parts.changed_settings(saved.meta.get("settings", {})):
            self._warn(
                "%s keeps its own settings, which are in the optimizer's state; set the new one while it trains: %s",
                text,
            )
        if changed := changed_versions(saved.meta.get("versions", {}), self._versions()):
            self._warn("%s: versions changed, so bit-for-bit equality is not promised: %s", changed)
        if self._is_chief:
            hardware.tell(self._run.name, saved.meta, frameworks=self._parts.frameworks)
