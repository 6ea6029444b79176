"""One writer across machines: a lock in the storage that its holder renews, and that goes to others once it is silent.

Nothing compares two machines' clocks. Who wants the lock watches it for as long as a live holder can be silent, by its
own clock that never goes back; a lock that has changed meanwhile is alive.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from colabkit._tools.log import say, warn
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
_FRESH = 2.0  # seconds for which a sign of life needs no other one: object stores take one write a second for a name


def steady() -> float:
    """Return seconds of a clock that never goes back, and that goes on while a laptop sleeps where that can be had."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Claim:
    """The right to write to a run's mirror.

    Args:
        storage: Where the lock lies.
        run: The run's name, for messages.
        session: Names this working folder. A lock of the same session is our own, left by an earlier process: whoever
            makes a Claim holds the working folder's own lock, so that process is gone.
        beat: Seconds between two signs of life.
        clock: Seconds of a clock that never goes back.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        run: str,
        session: str,
        beat: float = BEAT,
        clock: Callable[[], float] = steady,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._storage = storage
        self._run = run
        self._session = session
        self._beat_every = beat
        self._silent_after = SILENT * beat / BEAT + 2 * storage.lag
        self._clock = clock
        self._sleep = sleep
        self._guard = threading.RLock()
        self._mine: Stored | None = None
        self._lost: RunBusyError | None = None
        self._beaten = 0.0
        self._beats = 0
        self._stop = threading.Event()

    @property
    def held(self) -> bool:
        """Whether we may write, as far as we know."""
        return self._mine is not None and self._lost is None

    def acquire(self) -> None:
        """Become the one writer.

        Raises:
            RunBusyError: Another session is alive, or has taken over.
            StorageError: The storage does not answer.
        """
        with self._guard:
            if self._lost is not None:
                raise self._lost
            if self._mine is not None:
                return
            there, owner = self._look()
            if there is not None and owner and owner.get("session") != self._session:
                there = self._watch(there, owner)
            self._write("absent" if there is None else there)
            self._stop = threading.Event()
            threading.Thread(target=self._live, args=(self._stop,), name="colabkit-heartbeat", daemon=True).start()

    def check(self) -> None:
        """Prove that the lock is still ours; call it before each write.

        Raises:
            RunBusyError: Another session has taken over.
            StorageError: The storage does not answer.
        """
        self.acquire()
        if self._clock() - self._beaten > _FRESH:
            self._beat()

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        self._stop.set()
        with self._guard:
            mine, self._mine = self._mine, None
            if mine is not None and self._lost is None:
                # Failing here costs the next session its patience, no more.
                with contextlib.suppress(ColabKitError):
                    if self._look()[1].get("session") == self._session:
                        self._storage.delete(NAME)
            self._lost = None

    # ---- parts ----

    def _look(self) -> tuple[Stored | None, dict[str, Any]]:
        there = self._storage.entry(NAME)
        if there is None:
            return None, {}
        try:
            owner = json.loads(self._storage.read(NAME, size=10_000))
        except NotStoredError:
            return None, {}
        except ValueError:
            owner = {}
        return there, owner if isinstance(owner, dict) and owner else {"host": "an unknown host"}

    def _watch(self, there: Stored, owner: dict[str, Any]) -> Stored | None:
        asked = owner.get("silent_after")
        patience = max(self._silent_after, min(asked, _LONGEST) if isinstance(asked, int | float) else 0.0)
        who = f"process {owner.get('pid', 'unknown')} on {owner.get('host', 'another machine')}"
        say("%s: locked by %s; waiting up to %.0f s for a sign of life", self._run, who, patience)
        began = self._clock()
        while self._clock() - began < patience:
            self._sleep(self._beat_every / 2)
            now = self._storage.entry(NAME)
            if now is None:
                return None
            if now.version != there.version:
                # A version alone is no sign of life: a mount may give another one to a file that nobody has touched.
                now, again = self._look()
                if now is None:
                    return None
                if any(again.get(key) != owner.get(key) for key in ("session", "beats")):
                    raise self._busy(owner)
                there = now
        warn("%s: taking over from %s, silent for %.0f s", self._run, who, patience)
        return there

    def _busy(self, owner: dict[str, Any]) -> RunBusyError:
        who = f"process {owner.get('pid', 'unknown')} on {owner.get('host', 'another machine')}"
        return RunBusyError(
            f"the run {self._run} is being written by {who}, by way of {self._storage.address}",
            why=f"two writers would mix their states; that process runs: {owner.get('command', 'an unknown command')}",
            do="wait for it, end it, or open a run under another name",
        )

    def _write(self, only_if: Any) -> None:
        self._beats += 1
        owner = {
            "session": self._session,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "command": " ".join(sys.argv)[:200],
            "beats": self._beats,
            "silent_after": self._silent_after,
        }
        try:
            self._mine = self._storage.put(NAME, json.dumps(owner).encode(), only_if=only_if)
        except ChangedError:
            there, now = self._look()
            # It may be ours after all: an answer was lost on its way, or the storage has renamed its version.
            if there is None or now.get("session") != self._session or now.get("pid") != os.getpid():
                raise self._busy(now) from None
            self._mine = there
        self._beaten = self._clock()

    def _beat(self) -> None:
        with self._guard:
            if self._lost is not None:
                raise self._lost
            if self._mine is not None:
                try:
                    self._write(self._mine)
                except RunBusyError as error:
                    self._lost = error
                    raise

    def _live(self, stop: threading.Event) -> None:
        while not stop.wait(self._beat_every):
            try:
                self._beat()
            except RunBusyError as error:
                warn("%s: another session has taken over; nothing more is copied from here. %s", self._run, error)
                return
            except ColabKitError:  # the next beat tries again; the mirror tells what is wrong with the storage
                continue
