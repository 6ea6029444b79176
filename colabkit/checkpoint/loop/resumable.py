"""What `run.loop` and the callbacks of Lightning and the Trainer share: when to save, what a checkpoint says, checks.

With several processes all this happens on each of them at the same step (`state/workers.py`); the chief alone writes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from colabkit._internal.log import notify, warn
from colabkit._internal.out_of_memory import is_out_of_memory
from colabkit.accelerator import torch as processes
from colabkit.checkpoint.loop.gradients import PendingGradients
from colabkit.checkpoint.loop.parts import give_generator, take_generator
from colabkit.checkpoint.loop.rows import check_samples
from colabkit.checkpoint.policy.save_triggers import SaveTriggers, session_left
from colabkit.checkpoint.policy.signals import StopSignals
from colabkit.checkpoint.state import pytree, rng
from colabkit.checkpoint.state.pytree import Snapshot
from colabkit.checkpoint.state.workers import WorkerCoordinator
from colabkit.errors import ColabKitError, CorruptCheckpointError, RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import FrameType

    from colabkit.checkpoint.format.file import Checkpoint
    from colabkit.checkpoint.loop.parts import Parts
    from colabkit.checkpoint.policy import BestMetric
    from colabkit.checkpoint.policy.time_limit import TimeLimit
    from colabkit.checkpoint.run_store import RunStore
    from colabkit.checkpoint.state.workers import Watching

_NEEDED = {"step", "epoch", "step_in_epoch", "complete", "seconds", "data", "state"}
_BEGIN = "begin/"
_OF_A_WORKER = {"rank", "world size"}


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

    _kind: ClassVar[str]
    _holds: ClassVar[str]
    _tree_keys: ClassVar[frozenset[str]]

    def __init__(
        self, run: RunStore, *, check_data: bool, best: BestMetric | None = None, limit: TimeLimit | None = None
    ) -> None:
        self.stopped = ""
        self.resumed_from: dict[str, int] | None = None
        self._given_run = run
        self._run: RunStore | Watching = run
        self._workers: WorkerCoordinator | None = None
        self._check_data = check_data
        self._by = best
        self._best: dict[str, Any] | None = None
        self._is_best = False
        self._parts: Parts | None = None
        self._gradients = PendingGradients([])
        self._data: dict[str, Any] = {}
        self._begin: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        self._resume: Checkpoint | None = None
        self._saved_step = -1
        self._spent = 0.0
        self._began = self._saved_at = time.monotonic()
        self._triggers: SaveTriggers | None = None
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

    def _measured(self) -> dict[str, float]:
        """Return the newest metrics, for whoever is told of the end."""
        return {}

    def _versions(self) -> dict[str, str]:
        """Name the versions that the state depends on."""
        return pytree.versions()

    # ---- several processes ----

    @property
    def _is_chief(self) -> bool:
        return self._workers is None or self._workers.is_chief

    @property
    def _alone(self) -> bool:
        return self._workers is None or self._workers.is_single

    def _notify(self, text: str, *values: Any) -> None:
        if self._is_chief:
            notify(text, self._run.name, *values)

    def _warn(self, text: str, *values: Any) -> None:
        if self._is_chief:
            warn(text, self._run.name, *values)

    def _begin_writing(self) -> None:
        """Find the other processes, and become the writer where this is the first of them."""
        self._workers = WorkerCoordinator(self._given_run, processes.joined())
        self._run = self._workers.run
        self._run.begin_writing()

    def _meet(self) -> None:
        """Wait for the other processes, so that none reads what the chief has not written."""
        if self._workers is not None and not self._workers.is_single:
            self._wait()
            self._workers.decide(due=False, signal=0, step=self._steps_done(), ask=True)

    # ---- when to save ----

    def _watch(self) -> None:
        """Begin to look for occasions to save."""
        self._triggers = SaveTriggers(self._run.dir, session_left=session_left())
        self._signals.install()

    def _decide(self, *, at_epoch: int | None = None, ask: bool = False) -> tuple[bool, bool]:
        """Decide whether to save and whether to stop, the same in all processes.

        Args:
            at_epoch: How many epochs are over, where one has just ended and its end is to be saved.
            ask: Ask the other processes now.
        """
        assert self._workers is not None  # noqa: S101 - found at the start
        signal = self._signals.received or 0
        due = False
        if self._is_chief:
            due = self._is_best or (at_epoch is not None and self._run.every.due_at_epoch(at_epoch)) or self._due()
        ask = ask or self._by is not None
        save, signal = self._workers.decide(due=due, signal=signal, step=self._steps_done(), ask=ask)
        if signal:
            self._signals.received = signal
        return save or signal != 0, signal != 0

    def _due(self) -> bool:
        now, step = time.monotonic(), self._steps_done()
        if self._run.every.due(seconds=now - self._saved_at, steps=step - self._saved_step):
            return True
        if self._triggers is None or not (why := self._triggers.now(saved_at=self._saved_at)):
            return False
        self._notify("%s: %s; saving at step %s", why, step)
        return True

    def _judge(self, value: Any, *, epoch: int, step: int) -> None:
        """Note whether this state is the best one; of several processes the first one's value counts."""
        if self._by is None or not self._is_chief:
            return
        note = self._by.judge(float(value), self._best, step=step, epoch=epoch)
        if note is not None:
            self._best, self._is_best = note, True

    def _wait(self) -> None:
        try:
            self._run.written()
        except ColabKitError as error:
            warn("%s", error)

    def _stop(self) -> None:
        self._wait()
        self._meet()
        self._release("stopped")
        step, name = self._run.status().saved_step, self._run.name
        self._run.tell("stopped", f"was stopped at step {step}, which is saved", self._measured())
        self._signals.deliver(f"{name} is saved at step {step}; run it again and it continues there")
        self.stopped = f"its time is over at step {step}"

    # ---- saving ----

    def _save_state(self, *, complete: bool) -> None:
        """Take the state and submit it."""
        raise NotImplementedError

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
        assert self._workers is not None  # noqa: S101 - found at the start
        step = self._steps_done()
        state = pytree.flatten(tree, "state", tensors)
        if ranks := self._workers.collect(tensors, state):
            meta |= {"ranks": ranks, "workers": self._workers.count}
        meta |= {
            "kind": self._kind,
            "step": step,
            "best": self._best,
            "saved_at": time.time(),
            "seconds": self._spent + time.monotonic() - self._began,
            "data": self._data,
            "settings": self._parts.settings(),
            "versions": self._versions(),
            "state": state,
        }
        self._run.submit(Snapshot(step=step, tensors=tensors, meta=meta))
        if self._is_best:
            self._wait()  # a state that waits may be replaced by the next one
        self._note_saved()

    def _note_saved(self) -> None:
        """Count the interval to the next save from now on."""
        self._saved_step, self._is_best = self._steps_done(), False
        self._saved_at = time.monotonic()

    def _random_of_the_epoch(self) -> dict[str, Any]:
        """Return the random states with which the epoch began, under names of their own."""
        return {f"{_BEGIN}{name}": array for name, array in self._begin[0].items()}

    # ---- restoring ----

    def _newest(self) -> Checkpoint | None:
        """Read the newest state, and see that it is one of this kind, of so many processes."""
        assert self._workers is not None  # noqa: S101 - found at the start
        saved = self._workers.newest(self._kind)
        if saved is None:
            return None
        if missing := _NEEDED - saved.meta.keys():
            raise CorruptCheckpointError(f"the checkpoint of {self._run.name} lacks {', '.join(sorted(missing))}")
        self._check(saved.meta)
        if self._resized(saved):
            self._check_resized(saved)
        return saved

    def _resized(self, saved: Checkpoint) -> bool:
        """Say whether the run was saved by another number of processes."""
        assert self._workers is not None  # noqa: S101 - found at the start
        return bool(saved.meta.get("workers", 1) != self._workers.count)

    def _check_resized(self, saved: Checkpoint) -> None:
        """Refuse another number of processes where the state cannot be shared out anew, and say what it changes."""
        assert self._workers is not None  # noqa: S101 - found at the start
        before, now = saved.meta.get("workers", 1), self._workers.count
        words = f"{before} process{'es' if before > 1 else ''}"
        why = ""
        if saved.meta["step_in_epoch"] and not self._can_share_out(saved):
            why = "it stopped within an epoch, and its data is not shared out by a DistributedSampler"
        elif any(grads is not None for grads in self._tree(saved).get("gradients", [])):
            why = "gradients of each process wait there for a step of the optimizer"
        if why and self._check_data:
            raise RunMismatchError(
                f"the run {self._run.name} was trained by {words}, and this training has {now}",
                why=why,
                hint=f"start {words} once more, to the end of the epoch at least; or pass check_data=False to go on "
                "with other samples",
            )
        self._warn(
            "%s: %s instead of %s processes: weights and optimizer go on; random numbers, and the samples of each "
            "process, are others, and so is the batch of all together, unless you change its size",
            now,
            before,
        )

    def _can_share_out(self, saved: Checkpoint) -> bool:  # noqa: ARG002 - others look at it
        """Say whether what is left of the epoch can be shared out among another number of processes."""
        return False

    def _check(self, meta: dict[str, Any], *, ignored: Iterable[str] = ()) -> None:
        """Refuse other data; tell of other settings and versions."""
        assert self._parts is not None  # noqa: S101 - made at the start
        skipped = {*ignored}
        if not self._alone or meta.get("workers", 1) > 1:
            skipped |= _OF_A_WORKER
        if self._workers is not None and meta.get("workers", 1) != self._workers.count:
            skipped |= {"steps"}
        check_samples(self._run.name, meta["data"], self._data, ignored=frozenset(skipped), refuse=self._check_data)
        for text in self._parts.changed_settings(meta.get("settings", {})):
            self._warn(
                "%s keeps its own settings, which are in the optimizer's state; set the new one while it trains: %s",
                text,
            )
        versions = meta.get("versions", {})
        others = [f"{k} {versions[k]} -> {v}" for k, v in self._versions().items() if versions.get(k, v) != v]
        if others:
            self._warn("%s: versions changed, so bit-for-bit equality is not promised: %s", "; ".join(others))

    def _tree(self, saved: Checkpoint) -> dict[str, Any]:
        try:
            tree: dict[str, Any] = pytree.unflatten(saved.meta["state"], saved.tensors)
            missing = self._tree_keys - tree.keys()
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # the hash is right, yet not ours
            raise self._strange(repr(error)) from error
        if missing:
            raise self._strange(f"it lacks {', '.join(sorted(missing))}")
        return tree

    def _strange(self, why: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(f"the checkpoint of {self._run.name} holds no {self._holds}", why=why)

    def _restore_random(self, saved: Checkpoint) -> None:
        """Put back the global random states, where they are of this process."""
        assert self._workers is not None  # noqa: S101 - found at the start
        if self._workers.index < saved.meta.get("workers", 1):
            rng.restore(saved.tensors)


def of_the_epoch(saved: Checkpoint) -> dict[str, Any]:
    """Return the random states with which the epoch of a checkpoint began."""
    return {name[len(_BEGIN) :]: array for name, array in saved.tensors.items() if name.startswith(_BEGIN)}


def take_generators(generators: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states of random generators, by their names."""
    return {place: take_generator(each, place) for place, each in generators.items()}


def give_generators(generators: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Put back what `take_generators` returned."""
    for place, each in generators.items():
        if place in saved:
            give_generator(each, saved[place])
