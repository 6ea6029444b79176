"""One writer across machines: a lock in the storage that its holder renews, and that goes to others once it is silent.

Nothing compares two machines' clocks. Who wants the lock watches it for as long as a live holder can be silent, by its
own clock that never goes back; a lock that has changed meanwhile is alive.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.holder import described, holder
from colabkit._internal.log import notify, warn
from colabkit._internal.process.threads import start_thread
from colabkit.errors import ChangedError, ColabKitError, NotStoredError, RunBusyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.storage import Storage, Stored

NAME = "lock.json"
BEAT = 10.0
"""Seconds between two signs of life."""
SILENT = 60.0
"""Seconds of silence after which a holder counts as dead, on top of twice the storage's own lag."""

_LONGEST = 3600.0  # seconds; a lock that asks for more patience is forged
_ALONE = 900.0  # seconds for which a holder asks that can give signs of life between two copies only
_FRESH = 2.0  # seconds for which a sign of life needs no other one: object stores take one write a second for a name


def monotonic_through_sleep() -> float:
    """Return seconds of a clock that never goes back, and that goes on while a laptop sleeps where that can be had."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Lease:
    """The right to write to a run's mirror.

    Args:
        storage: Where the lock lies.
        run: The run's name, for messages.
        session: Names this working folder. A lock of the same session is our own, left by an earlier process: whoever
            makes a Lease holds the working folder's own lock, so that process is gone.
        beat: Seconds between two signs of life; None takes the storage's own, or 10.
        clock: Seconds of a clock that never goes back.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        run: str,
        session: str,
        beat: float | None = None,
        clock: Callable[[], float] = monotonic_through_sleep,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._storage = storage
        self._run = run
        self._session = session
        self._heartbeat_every = beat = getattr(storage, "beat", BEAT) if beat is None else beat
        self._ttl = SILENT * beat / BEAT + 2 * storage.lag
        self._clock = clock
        self._sleep = sleep
        self._guard = threading.RLock()
        self._stored_lock: Stored | None = None
        self._lost: RunBusyError | None = None
        self._last_heartbeat = 0.0
        self._beats = 0
        self._stop = threading.Event()
        self._heartbeat_thread: threading.Thread | None = None
        self._threadless = False  # without a thread

    def for_child(self) -> Lease:
        """Make the lease of a forked process, which holds nothing."""
        return Lease(self._storage, run=self._run, session=self._session, beat=self._heartbeat_every)

    @property
    def held(self) -> bool:
        """Whether we may write, as far as we know."""
        return self._stored_lock is not None and self._lost is None

    @property
    def lost(self) -> RunBusyError | None:
        """Who has taken over from us; None where nobody has."""
        return self._lost

    def acquire(self) -> None:
        """Become the one writer.

        Raises:
            RunBusyError: Another session is alive, or has taken over.
            StorageError: The storage does not answer.
        """
        with self._guard:
            if self._lost is not None:
                raise self._lost
            if self._stored_lock is not None:
                return
            lock, owner = self._read_lock()
            if lock is not None and owner and owner.get("session") != self._session:
                lock = self._watch(lock, owner)
            self._write("absent" if lock is None else lock)
            self._stop = threading.Event()
            self._start_heartbeat()

    def _start_heartbeat(self) -> None:
        """Give signs of life from now on; where no thread can be started, ask the others for more patience instead."""
        stop = self._stop
        self._heartbeat_thread = start_thread(lambda: self._heartbeat_loop(stop), name="colabkit-heartbeat")
        if self._heartbeat_thread is None and not self._threadless:
            self._threadless = True
            self._write(self._stored_lock)
        self._threadless = self._heartbeat_thread is None

    def check(self) -> None:
        """Prove that the lock is still ours; call it before each write.

        Raises:
            RunBusyError: Another session has taken over.
            StorageError: The storage does not answer.
        """
        self.acquire()
        with self._guard:
            if self.held and (self._heartbeat_thread is None or not self._heartbeat_thread.is_alive()):
                self._start_heartbeat()
        if self._clock() - self._last_heartbeat > _FRESH * max(1.0, self._heartbeat_every / BEAT):
            self._heartbeat()

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        self._stop.set()
        with self._guard:
            lock, self._stored_lock = self._stored_lock, None
            if lock is not None and self._lost is None:
                # Failing here costs the next session its patience, no more.
                with contextlib.suppress(ColabKitError):
                    if self._read_lock()[1].get("session") == self._session:
                        self._storage.delete(NAME)
            self._lost, self._heartbeat_thread, self._threadless = None, None, False

    # ---- parts ----

    def _read_lock(self) -> tuple[Stored | None, dict[str, Any]]:
        lock = self._storage.entry(NAME)
        if lock is None:
            return None, {}
        try:
            owner = json.loads(self._storage.read(NAME, size=10_000))
        except NotStoredError:
            return None, {}
        except (ValueError, RecursionError):
            owner = {}
        return lock, owner if isinstance(owner, dict) and owner else {"host": "an unknown host"}

    def _watch(self, lock: Stored, owner: dict[str, Any]) -> Stored | None:
        requested = owner.get("silent_after")
        patience = max(self._ttl, min(requested, _LONGEST) if isinstance(requested, int | float) else 0.0)
        who, _ = described(owner)
        notify("%s: locked by %s; waiting up to %.0f s for a sign of life", self._run, who, patience)
        started = self._clock()
        while self._clock() - started < patience:
            self._sleep(self._heartbeat_every / 2)
            current = self._storage.entry(NAME)
            if current is None:
                return None
            if current.version != lock.version:
                # A version alone is no sign of life: a mount may give another one to a file that nobody has touched.
                current, current_owner = self._read_lock()
                if current is None:
                    return None
                if any(current_owner.get(key) != owner.get(key) for key in ("session", "beats")):
                    raise self._busy(owner)
                lock = current
        warn("%s: taking over from %s, silent for %.0f s", self._run, who, patience)
        return lock

    def _busy(self, owner: dict[str, Any]) -> RunBusyError:
        who, program = described(owner)
        return RunBusyError(
            f"the run {self._run} is being written by {who}, through {self._storage.address}",
            why=f"two writers would mix their states; that process runs: {program or 'an unknown program'}",
            hint="wait for it, end it, or open a run under another name",
        )

    def _write(self, only_if: Any) -> None:
        self._beats += 1
        owner = {
            "session": self._session,
            **holder(),
            "beats": self._beats,
            "silent_after": max(self._ttl, _ALONE) if self._threadless else self._ttl,
        }
        try:
            self._stored_lock = self._storage.put(NAME, json.dumps(owner).encode(), only_if=only_if)
        except ChangedError:
            lock, current_owner = self._read_lock()
            if lock is None and self._stored_lock is None:  # its holder has just given it back
                self._write("absent")
                return
            if lock is None or current_owner.get("session") != self._session:
                raise self._busy(current_owner) from None
            # It may be ours after all: an answer was lost on its way, or the storage has renamed its version.
            if current_owner.get("pid") != os.getpid():
                if self._stored_lock is not None:
                    raise self._busy(current_owner) from None
                # The last sign of life of an earlier process arrived when it was dead already.
                lock = self._storage.put(NAME, json.dumps(owner).encode(), only_if=lock)
            self._stored_lock = lock
        self._last_heartbeat = self._clock()

    def _heartbeat(self) -> None:
        with self._guard:
            if self._lost is not None:
                raise self._lost
            if self._stored_lock is not None:
                try:
                    self._write(self._stored_lock)
                except RunBusyError as error:
                    self._lost = error
                    raise

    def _heartbeat_loop(self, stop: threading.Event) -> None:
        while not stop.wait(self._heartbeat_every):
            try:
                self._heartbeat()
            except RunBusyError as error:
                warn("%s: another session has taken over; nothing more is copied from here. %s", self._run, error)
                return
            except ColabKitError:  # the next beat tries again; the mirror tells what is wrong with the storage
                continue
