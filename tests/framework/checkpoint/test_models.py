"""Claims about the folder of checkpoints and the mirror, against models of them, in any order of events."""

from __future__ import annotations

import atexit
import hashlib
import logging
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from colabkit.checkpoint import open_run
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.mirror.replicator import Replicator
from colabkit.checkpoint.run_lock import LOCKS
from colabkit.checkpoint.state import pytree
from colabkit.checkpoint.writer import Writer
from colabkit.testing.faulty_storage import FaultyStorage

KEEP = 2


def taken(step, best=None):
    """Make a state whose large part never changes, so that delta files travel too."""
    made = pytree.of_state({"x": np.full(100, step), "frozen": np.zeros(9000)}, step=step)
    return pytree.Snapshot(
        step=step, tensors=made.tensors, meta={**made.meta, "best": None if best is None else {"step": best}}
    )


def is_whole(content, name):
    """Tell by the bytes alone whether they are what their name says; of a delta file, whether they prove themselves."""
    digest = hashlib.sha256(content[:-32])
    return digest.digest() == content[-32:] and (name.is_delta or digest.hexdigest()[:12] == name.state)


class FolderMachine(RuleBasedStateMachine):
    """A writer and its folder, to which anything may happen between two saves."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.writer = Writer(self.folder, keep=KEEP)
        self.step = 0
        self.best = None
        self.foreign = set()

    def files(self):
        """List the checkpoint files, the furthest trained first."""
        return [entry.path for entry in naming.entries(self.folder)]

    def whole(self):
        """List the steps whose file is whole, as the model knows it."""
        return [
            naming.parse(path.name).step
            for path in self.files()
            if is_whole(path.read_bytes(), naming.parse(path.name))
        ]

    @rule(better=st.booleans(), ahead=st.integers(1, 3))
    def save(self, better, ahead):
        """Save a state; it is there, with the best one and as many as shall be kept, unless they were damaged."""
        before = self.whole()
        self.step += ahead
        self.best = self.step if better else self.best
        self.writer.submit(taken(self.step, self.best))
        self.writer.flush()
        after = self.whole()
        assert after[0] == self.step
        assert len(after) >= min(KEEP, len(before) + 1)
        assert self.best not in before or self.best in after

    @rule()
    def restart(self):
        """A new process reads the newest whole one, and counts it."""
        found, candidate, _ = naming.latest_valid(naming.candidates(self.folder))
        self.writer = Writer(self.folder, keep=KEEP)
        if found is not None:
            self.writer.accept(candidate.step)

    @precondition(lambda self: self.files())
    @rule(which=st.integers(0, 9), place=st.integers(0, 99), how=st.sampled_from(["cut", "flip", "empty", "delete"]))
    def damage(self, which, place, how):
        """Damage one file; `restart` follows, as nobody changes files under a living writer."""
        path = self.files()[which % len(self.files())]
        content = bytearray(path.read_bytes())
        if how == "delete":
            path.unlink()
        elif content:
            at = place * len(content) // 100
            content[at] ^= 1
            path.write_bytes({"cut": content[:at], "flip": content, "empty": b""}[how])
        self.restart()

    @precondition(lambda self: len(self.files()) > 1)
    @rule()
    def swap(self):
        """Two files change their names."""
        one, other, *_ = self.files()
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)
        self.restart()

    @rule(name=st.sampled_from(["notes.txt", ".checkpoint.part-1", "step-1.safetensors", "step-000000001-xyz"]))
    def leave(self, name):
        """Foreign files lie about."""
        (self.folder / name).write_bytes(b"x")
        self.foreign.add(name)

    @invariant()
    def the_newest_whole_one_is_found(self):
        """Whatever happened, the furthest trained whole file is what is read."""
        found, candidate, passed_over = naming.latest_valid(naming.candidates(self.folder))
        whole = self.whole()
        assert (candidate.step if candidate else None) == (whole[0] if whole else None)
        assert found is None or found.meta["step"] == candidate.step
        assert len(passed_over) == len([path for path in self.files() if whole and _step(path) > whole[0]]) or not whole
        assert all((self.folder / name).exists() for name in self.foreign)

    def teardown(self):
        """Remove the folder."""
        shutil.rmtree(self.folder)


def _step(path):
    return naming.parse(path.name).step


class MirrorMachine(RuleBasedStateMachine):
    """A mirrored run whose storage fails, whose copies arrive late, and whose machine dies."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.storage = FaultyStorage()
        self.number = self.step = 0
        self.best = None
        self.promised = self.promised_best = None
        self.open()

    def open(self):
        """Begin a process."""
        self.run = open_run(self.folder / str(self.number), keep=KEEP, mirror=self.storage)
        atexit.unregister(self.run.close)  # it dies without a word

    def die(self):
        """End the process without a word; only the lock's time is not waited for."""
        self.storage.offline = False
        self.run.written()
        self.run._mirror.lease.release()
        LOCKS.pop(self.run.dir).release() if self.run.dir in LOCKS else None

    @rule(better=st.lists(st.booleans(), min_size=1, max_size=4), works=st.booleans())
    def save(self, better, works):
        """Save states, and let the mirror work after each or not; no fault of the storage reaches the training."""
        for is_best in better:
            self.step += 1
            self.best = self.step if is_best else self.best
            self.run.begin_writing()
            self.run.submit(taken(self.step, self.best))
            self.run.written()
            if works:
                self.work()

    @rule()
    def work(self):
        """Let the mirror do what it would do in its thread, however long it would wait before."""
        mirror = self.run._mirror
        self.run.begin_writing()
        for _ in range(12):
            if (job := mirror._choose(time.monotonic() + 1e6)) is None:
                break
            mirror._do(job)
        if job is None and self.best in {entry.step for entry in self.run.checkpoints()}:
            assert f"step-{self.best:09d}" in {stored.rpartition("/")[2][:14] for stored in self.storage._objects}
        confirmed = self.run.status().confirmed_step
        if confirmed is not None:
            self.promised = max(confirmed, self.promised or 0)
        if self.best is not None and self.has_arrived(self.best):
            self.promised_best = self.best

    @rule(arrives=st.sampled_from(["yes", "no"]), offline=st.booleans(), fail=st.integers(0, 2))
    def change(self, arrives, offline, fail):
        """Change how the storage behaves."""
        self.storage.arrives, self.storage.offline, self.storage.fail = arrives, offline, fail

    @rule()
    def arrive(self):
        """All that is on its way arrives."""
        self.storage.arrive()

    @rule()
    def restart(self):
        """The process dies and the same machine goes on: with the newest state."""
        self.die()
        self.open()
        found = self.run.restore()
        assert (found.step if found else 0) == self.step

    @precondition(lambda self: self.step > 3)
    @rule()
    def lose_machine(self):
        """The machine is lost with what has not arrived; a fresh one has at least what was confirmed."""
        self.die()
        self.storage.lose_machine()
        self.storage.arrives, self.storage.fail, self.number = "yes", 0, self.number + 1
        self.open()
        found = self.run.restore()
        step = found.step if found else 0
        assert found is None or (found.state["x"] == step).all()
        assert step >= (self.promised or 0)
        self.step = step
        self.promised = step or None
        self.best = self.best if self.best is not None and self.best <= step else None
        self.promised_best = self.promised_best if self.best is not None else None

    def has_arrived(self, step):
        """Tell whether a state of this step would survive."""
        return any(
            name.step == step and self.storage._arrival.get(f"checkpoints/{name}", "yes") == "yes"
            for stored in self.storage._objects
            if (name := naming.parse(stored.removeprefix("checkpoints/")))
        )

    @invariant()
    def what_is_confirmed_is_there(self):
        """Something at least as far as what was called confirmed has arrived, and so has the best."""
        steps = [
            name.step for each in self.storage._objects if (name := naming.parse(each.removeprefix("checkpoints/")))
        ]
        assert self.promised is None or any(step >= self.promised and self.has_arrived(step) for step in steps)
        assert self.promised_best is None or self.has_arrived(self.promised_best) or self.promised_best != self.best

    def teardown(self):
        """End the process and remove its folder."""
        self.die()
        shutil.rmtree(self.folder)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Let no thread of the mirror work: the model calls it; and keep thousands of warnings out of the report."""
    monkeypatch.setattr(Replicator, "_wake", lambda self: self._changed.notify_all())
    monkeypatch.setattr(logging.getLogger("colabkit"), "disabled", True)


def run_machine(machine, **options):
    """Run a machine against its model."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(deadline=None, suppress_health_check=list(HealthCheck), **options),
    )


def test_the_folder_against_its_model():
    """Saves, kills, damage, swaps and foreign files in any order: the furthest whole state is what is found."""
    run_machine(FolderMachine, max_examples=60, stateful_step_count=15)


def test_the_mirror_against_its_model():
    """Faults, late arrivals, deaths and lost machines in any order: what was confirmed is there, the best too."""
    run_machine(MirrorMachine, max_examples=60, stateful_step_count=25)
