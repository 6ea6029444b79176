"""The mirror: one background thread of low priority that carries checkpoints to a storage and sees them arrive."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from colabkit._tools.files import unpublished, write_json
from colabkit._tools.log import say, warn
from colabkit._tools.progress import amount, progress
from colabkit._tools.retry import Backoff
from colabkit.checkpoint import container, copies, manifest, policy, thin
from colabkit.checkpoint.belongings import Belongings
from colabkit.checkpoint.claim import Claim
from colabkit.errors import CheckpointError, ColabKitError, CorruptCheckpointError, RunBusyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colabkit.storage import Confirmed, Storage

AT_EXIT = 120.0
"""Seconds that the end of a program, or `close`, waits for what is still to be carried."""

_SESSION = ".colabkit-session"
_IDLE = 5.0  # seconds after which a thread without work ends
_ONE_BY_ONE = 120.0  # seconds to wait for one to arrive before the next is sent behind it
_FILES_EVERY = 600.0  # seconds between two looks at the run's other files
_RATE = 2e6  # bytes a second that an upload nobody can watch is assumed to make
_SETTLED = 300.0  # seconds, beyond three times the upload at that rate, after which such a copy counts for pruning
_ASKED = 8  # copies whose arrival is asked for; where a storage cannot tell they would grow without end
_NICE = 10


class Mirror:
    """Carries the newest checkpoint of a run, then the next newest; what became stale meanwhile is skipped.

    Nothing that fails here reaches the training: it is told once, kept in `error`, and tried again, ever more seldom.

    Args:
        folder: The local folder of checkpoints.
        storage: Where they go.
        run: The run's name.
        keep: How many confirmed ones stay in the storage.
        claim: The right to write there.
        belongings: The run's other files.

    Attributes:
        mirrored_step: The furthest step that was copied, as far as is known.
        confirmed_step: The furthest that would survive the loss of this machine, as the storage says.
        error: What failed last; None when the last try went well.
        busy_with: The local file that is being carried; it must not be deleted.
        sent: Bytes copied so far.
    """

    def __init__(
        self, folder: Path, storage: Storage, *, run: str, keep: int, claim: Claim, belongings: Belongings
    ) -> None:
        self.storage = storage
        self.claim = claim
        self.belongings = belongings
        self.mirrored_step: int | None = None
        self.confirmed_step: int | None = None
        self.error: ColabKitError | None = None
        self.busy_with: Path | None = None
        self.sent = 0
        self._folder = folder
        self._run = run
        self._keep = keep
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._offered: manifest.Entry | None = None
        self._best: int | None = None  # the step of the best one, which is never pruned
        self._best_due: manifest.Entry | None = None
        self._files_due = False
        self._files_at = time.monotonic()
        self._failures = 0
        self._backoff = Backoff(tries=sys.maxsize, first=1.0, longest=60.0)
        self._not_before = 0.0
        self._unconfirmed: dict[manifest.Name, float] = {}  # name -> when it was copied
        self._on_its_way = False  # the storage said "no" to one of them
        self._poll_every = 0.5
        self._poll_at = 0.0
        self._confirmed: set[manifest.Name] = set()
        self._told_cannot_tell = False
        self._copied: dict[
            manifest.Name, float
        ] = {}  # of which nobody can tell whether they have arrived -> since when
        self._next_copy = 0.0
        self._base: thin.Base | None = None
        self._looked = False
        self._borrows: dict[manifest.Name, manifest.Name] = {}  # a thin one -> its base, where that is known
        self._then: Callable[[], None] | None = None
        self._ending = False  # it is being called just now
        self._now: tuple[int, int] = (0, 0)

    # ---- for the training's side ----

    def begin(self) -> None:
        """Become the one writer of the storage, and catch up on what an earlier process left to carry.

        A storage that does not answer is no reason not to train: it is claimed as soon as it does.

        Raises:
            RunBusyError: Another machine writes there.
        """
        if self.claim.held:
            return
        try:
            self.claim.acquire()
        except RunBusyError:
            raise
        except ColabKitError as error:
            self._fail(error)
        with self._changed:
            if found := manifest.entries(self._folder):
                with contextlib.suppress(ColabKitError, OSError), container.Tensors(found[0].path) as newest:
                    self._best = manifest.best_step(newest.meta)
                self._best_due = next((entry for entry in found if entry.step == self._best), None)
                self.offer(found[0], best=self._best)

    def offer(self, entry: manifest.Entry, *, best: int | None = None) -> None:
        """Hand over a checkpoint that is whole on the local disk; a newer one replaces one that still waits.

        Args:
            entry: The checkpoint.
            best: The step of the best one so far, which is carried in any case, and stays.
        """
        with self._changed:
            self._best = best
            if entry.step == best:
                self._best_due = entry
            if self._offered is None or entry.step >= self._offered.step:
                self._offered = entry
            self._wake()

    def known(self, name: manifest.Name) -> None:
        """Count a checkpoint in the storage as good: it has just been restored from there, or was seen there."""
        with self._changed:
            self.mirrored_step = max(name.step, self.mirrored_step or 0)
            self._unconfirmed.setdefault(name, time.monotonic())
            self._on_its_way, self._poll_at = True, 0.0

    @property
    def pending(self) -> str:
        """What is not carried or not confirmed yet, in words; empty when there is nothing."""
        with self._changed:
            if (due := self._offered or self._best_due) is not None:
                return f"step {due.step} ({amount(due.size)})"
            if self._busy:
                return "a copy"
            if self._on_its_way:
                return f"step {max(name.step for name in self._unconfirmed)} (copied, not seen to have arrived)"
            return "files of the run" if self._files_due else ""

    @property
    def has_work(self) -> bool:
        """Whether anything is to be carried, the run's other files included."""
        return bool(self.pending or self.belongings.changed())

    def flush(self, timeout: float | None = None, *, raising: bool = True) -> bool:
        """Carry everything now, the run's other files too, and wait until it is there, with a progress bar.

        Args:
            timeout: Seconds to wait at most; without limit when None.
            raising: Raise what fails; else return False.

        Returns:
            Whether all of it is there, as far as the storage can tell.

        Raises:
            CheckpointError: The time ran out.
            ColabKitError: What failed since the call.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            failures, self._not_before = self._failures, 0.0
            self._poll_at, self._poll_every, self._next_copy = 0.0, 0.5, 0.0
            self._files_due = True
            self._wake()
        with progress(f"{self._run} to {self.storage.address}") as bar:
            while self.pending and self._failures == failures:
                if until is not None and time.monotonic() > until:
                    break
                if self._now[1]:
                    bar.update(*self._now)
                if self._thread is not None and self._thread.is_alive():
                    with self._changed:
                        self._changed.wait(0.1)
                elif (job := self._choose(time.monotonic())) is not None:
                    self._do(job)  # the interpreter is ending, when no thread can be started
                else:
                    time.sleep(0.1)
        if not (left := self.pending):
            return True
        if raising and self._failures != failures and self.error is not None:
            raise self.error
        if raising:
            raise CheckpointError(
                f"not yet in {self.storage.address} after {timeout:g} s: {left}",
                do="wait longer, or see run.status(); it is carried on in the background",
            )
        return False

    def finish(self, timeout: float = AT_EXIT) -> None:
        """Carry what waits, as far as it can be done in the time, and name the rest."""
        if not self.flush(timeout, raising=False):
            why = f" {self.error}" if self.error is not None else ""
            text = "%s: not in %s: %s. It is whole in %s; open the run there again and it is carried.%s"
            warn(text, self._run, self.storage.address, self.pending, self._folder, why)

    def then(self, done: Callable[[], None]) -> None:
        """Call a function once everything is carried, from the background thread; at once when there is nothing."""
        with self._changed:
            self._then = done
            self._wake()

    def stay(self) -> None:
        """Forget what was to be called once everything is carried; a call that has begun is waited for."""
        with self._changed:
            self._then = None
            self._changed.wait_for(lambda: not self._ending)

    # ---- the thread ----

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="colabkit-mirror", daemon=True)
            with contextlib.suppress(RuntimeError):  # while the interpreter ends no thread can be started
                self._thread.start()
        self._changed.notify_all()

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # on Linux a thread has a priority of its own
            if sys.platform == "linux":
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (job := self._next()) is not None:
            self._do(job)

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except ColabKitError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not vanish with the thread
            self._fail(CheckpointError(f"{self._run} could not be copied", why=repr(error)))
        else:
            self._succeed()
        finally:
            with self._changed:
                self._busy, self.busy_with, self._now, self._ending = False, None, (0, 0), False
                self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            idle_since = time.monotonic()
            while True:
                now = time.monotonic()
                job = self._choose(now)
                if job is not None:
                    self._busy = True
                    return job
                waiting = bool(self._offered or self._best_due or self._on_its_way or self._files_due)
                if not waiting and self._then is not None:
                    job, self._then, self._busy, self._ending = self._then, None, True, True
                    return job
                if not waiting and now - idle_since > _IDLE:
                    self._thread = None
                    return None
                self._changed.wait(max(0.05, min(1.0, max(self._not_before, self._poll_at) - now)))

    def _choose(self, now: float) -> Callable[[], None] | None:
        if now < self._not_before:
            return None
        arriving = self._on_its_way and now - max(self._unconfirmed.values(), default=0.0) < _ONE_BY_ONE
        if (self._offered or self._best_due) is not None and not arriving and now >= self._next_copy:
            return self._carry
        if self._on_its_way and now >= self._poll_at:
            return self._confirm
        if self._files_due and not arriving:
            return self._carry_files
        return None

    def _fail(self, error: ColabKitError) -> None:
        first = self.error is None
        with self._changed:
            self.error = error
            self._failures += 1
            self._not_before = time.monotonic() + (self._backoff.wait() or 60.0)
        if first:  # once an outage, not at every try; status() always shows it
            text = "%s: not copied to %s; training goes on, and it is tried again. %s"
            warn(text, self._run, self.storage.address, error)

    def _succeed(self) -> None:
        if self.error is not None:
            say("%s: %s answers again", self._run, self.storage.address)
        with self._changed:
            self.error = None
            self._not_before = 0.0
            self._backoff.renew()

    # ---- the jobs ----

    def _carry(self) -> None:
        entry = self._offered or self._best_due
        if entry is None:
            return
        self.busy_with = entry.path
        self.claim.check()
        there = self._look()
        try:
            _, digest = container.verify_details(entry.path)
            name = manifest.Name(step=entry.step, state=digest[:12])
            same = [other for other in there if (other.step, other.state) == (name.step, name.state)]
            whole = None if same else thin.table(entry.path, digest, name)
        except (FileNotFoundError, CorruptCheckpointError) as error:  # trying again would not help
            self._withdraw(entry)
            raise CheckpointError(f"step {entry.step} cannot be copied", why=str(error)) from error
        carried = same[0] if whole is None else self._copy(entry.path, whole)
        self._withdraw(entry)
        self.known(carried)
        self._confirm()
        self._prune()
        if time.monotonic() - self._files_at > _FILES_EVERY:
            self._carry_files()

    def _withdraw(self, entry: manifest.Entry) -> None:
        with self._changed:
            if self._offered is entry:
                self._offered = None
            if self._best_due is not None and self._best_due.path == entry.path:
                self._best_due = None

    def _copy(self, path: Path, whole: thin.Base) -> manifest.Name:
        if (base := self._usable_base()) is not None:
            with unpublished(self._folder, "thin") as (file, _):
                if thin.write(file, path, whole, base):
                    file.flush()
                    short = manifest.Name(step=whole.name.step, state=whole.name.state, thin=True)
                    self._put(file.name, short)
                    self._borrows[short] = base.name
                    return short
        self._put(path, whole.name)
        self._base = whole
        return whole.name

    def _put(self, path: Path | str, name: manifest.Name) -> None:
        self.claim.check()
        stored = self.storage.put(f"{copies.PREFIX}{name}", path, progress=self._progress)
        self.sent += stored.size
        # A line that nobody can watch is given the time that the copy may take, so that no queue builds up in it.
        if self.storage.confirmed(stored.name) == "cannot tell":
            self._next_copy = time.monotonic() + stored.size / _RATE

    def _progress(self, done: int, total: int) -> None:
        self._now = (done, total)

    def _usable_base(self) -> thin.Base | None:
        """Return the complete checkpoint to borrow from, if it is still there and not known to be on its way."""
        base = self._base
        if base is None or self.storage.entry(f"{copies.PREFIX}{base.name}") is None:
            return None
        return base if self._ask(base.name) != "no" else None

    def _look(self) -> list[manifest.Name]:
        """List what is there; the first time also learn who borrows from whom, and from what we could borrow."""
        there = [name for name, _ in copies.listed(self.storage)]
        if not self._looked:
            for name in there:
                with contextlib.suppress(ColabKitError):
                    if name.thin:
                        base = thin.base_of(copies.meta(self.storage, name), str(name))
                        self._borrows[name] = base.name
                        if self._base is None and base.name in there:
                            self._base = base
                            self._ask(base.name)
            self._looked = True
        return there

    def _ask(self, name: manifest.Name) -> Confirmed:
        """Ask the storage whether a checkpoint has arrived, with the base that it borrows from."""
        for part in (name, self._borrows.get(name)):
            if part is not None and part not in self._confirmed:
                if (answer := self.storage.confirmed(f"{copies.PREFIX}{part}")) != "yes":
                    return answer
                with self._changed:
                    if not part.thin:
                        self._confirmed.add(part)
        return "yes"

    def _confirm(self) -> None:
        if not self._looked:
            self._look()
        answers = set()
        for name in sorted(self._unconfirmed, key=lambda name: -name.step):
            answer = self._ask(name)
            answers.add(answer)
            if answer == "cannot tell":
                self._copied.setdefault(name, time.monotonic())
            else:
                self._copied.pop(name, None)
            if answer == "yes":
                with self._changed:
                    self._confirmed.add(name)
                    self._unconfirmed.pop(name, None)
                    self.confirmed_step = max(name.step, self.confirmed_step or 0)
            elif self.storage.entry(f"{copies.PREFIX}{name}") is None or len(self._unconfirmed) > _ASKED:
                self._unconfirmed.pop(name, None)  # deleted by somebody else, or too old to matter
        if "cannot tell" in answers and not self._told_cannot_tell:
            self._told_cannot_tell = True
            text = "%s: %s cannot tell whether copies have arrived; old ones stay until newer ones had time to"
            say(text, self._run, self.storage.address)
        with self._changed:
            self._on_its_way = "no" in answers and bool(self._unconfirmed)
            self._poll_every = min(15.0, self._poll_every * 2) if self._on_its_way else 0.5
            self._poll_at = time.monotonic() + self._poll_every

    def _prune(self) -> None:
        found = copies.listed(self.storage)
        there = [name for name, _ in found]
        now = time.monotonic()
        good = {name.step for name in self._confirmed if name in there}
        waited = {name: now - since for name, since in self._copied.items()}
        good |= {name.step for name, stored in found if name in waited and waited[name] > _settling(stored.size)}
        old = policy.superseded({name.step for name in there}, good=good, keep=self._keep, best=self._best)
        borrowers = [name for name in there if name.thin and name.step not in old]
        bases = {self._borrows.get(name) for name in borrowers}
        for name in there:
            if name.step not in old or name in bases or (None in bases and not name.thin):
                continue
            self.claim.check()
            self.storage.delete(f"{copies.PREFIX}{name}")
            self._confirmed.discard(name)
            self._copied.pop(name, None)
            self._borrows.pop(name, None)

    def _carry_files(self) -> None:
        self._files_at = time.monotonic()
        self.belongings.carry(self.claim.check)
        with self._changed:
            self._files_due = False


def _settling(size: int) -> float:
    """Return the seconds after which a copy that nobody can confirm has had time to arrive."""
    return _SETTLED + 3 * size / _RATE


def open_mirror(folder: Path, storage: Storage, *, run: str, keep: int) -> Mirror:
    """Make the mirror of a run.

    Args:
        folder: The run's folder.
        storage: Where its copies go.
        run: Its name.
        keep: How many confirmed checkpoints stay there.
    """
    claim = Claim(storage, run=run, session=_session(folder))
    belongings = Belongings(folder, storage, name=run)
    return Mirror(folder / manifest.FOLDER, storage, run=run, keep=keep, claim=claim, belongings=belongings)


def _session(folder: Path) -> str:
    """Name this working folder for good; a copy of the folder, on this machine or another, gets a name of its own."""
    path = folder / _SESSION
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        note = json.loads(path.read_bytes())
        if (note["host"], note["inode"]) == (socket.gethostname(), path.parent.stat().st_ino):
            return str(note["session"])
    session = secrets.token_hex(16)
    with contextlib.suppress(ColabKitError):  # without it, an own lock is waited for like anybody else's
        write_json(path, {"session": session, "host": socket.gethostname(), "inode": folder.stat().st_ino})
    return session
