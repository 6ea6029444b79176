"""Claims about delta checkpoints: only what changed travels, and nothing is lost by it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest

from colabkit.checkpoint import open_run
from colabkit.checkpoint.format import delta, naming
from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.mirror import remote_store
from colabkit.checkpoint.run_lock import LOCKS
from colabkit.errors import CorruptCheckpointError
from colabkit.testing.faulty_storage import FaultyStorage

FROZEN = 95_000
TRAINED = 5_000


def state(step, frozen=FROZEN):
    """Make a state of which 95 % never change."""
    rng = np.random.default_rng(0)
    return {"frozen": rng.random(frozen), "trained": np.full(TRAINED, step, np.float64)}


@pytest.fixture
def storage():
    """Give a storage that counts."""
    return FaultyStorage()


@pytest.fixture
def run(tmp_path, storage):
    """Give a mirrored run."""
    opened = open_run(tmp_path / "run", mirror=storage)
    yield opened
    opened.close()


def save(run, *at, **options):
    """Save states and carry each."""
    for step in at:
        run.save(state(step, **options), step=step)
        run.flush(timeout=30)


def sent(storage):
    """List the bytes of the checkpoints that travelled."""
    return [size for name, size in storage.puts if name.startswith("checkpoints/")]


def fresh(run, tmp_path, storage):
    """Open the run on a new machine."""
    run.close()
    LOCKS.pop(run.dir, None)
    shutil.rmtree(run.dir)
    return open_run(tmp_path / "run", mirror=storage)


def test_frozen_tensors_travel_once(run, storage):
    """With 95 % frozen each copy after the first has at most 10 % of its bytes."""
    save(run, 1, 2, 3)
    first, *rest = sent(storage)
    assert len(rest) == 2
    assert max(rest) < 0.1 * first
    assert run.status().confirmed_step == 3


def test_a_delta_copy_comes_back_complete(tmp_path, run, storage):
    """On a fresh machine the newest, a delta, is put together to the very bytes that were saved."""
    save(run, 1, 2)
    before = run.checkpoints()[0].path.read_bytes()
    again = fresh(run, tmp_path, storage)
    assert again.restore().state["frozen"].tolist() == state(2)["frozen"].tolist()
    assert again.checkpoints()[0].path.read_bytes() == before


def test_long_metadata_travels_once(tmp_path, run, storage):
    """What is not an array and stays the same, as settings of a model, is borrowed like one and comes back with it."""
    words = [f"word {number}" for number in range(10_000)]
    for step in (1, 2):
        run.save({"words": words, "x": np.zeros(1000), "trained": np.full(100, step)}, step=step)
        run.flush(timeout=30)
    before = run.checkpoints()[0].path.read_bytes()
    assert sent(storage)[1] < 4000 < 100_000 < sent(storage)[0]
    again = fresh(run, tmp_path, storage)
    assert again.restore().state["words"] == words
    assert again.checkpoints()[0].path.read_bytes() == before


def test_metadata_of_another_base_is_not_believed(tmp_path, run, storage):
    """A file under the name of the base with the same tensors and other words is not put together with a delta."""
    for step in (1, 2):
        run.save({"words": ["one"] * 1000, "x": np.zeros(1000), "trained": np.full(100, step)}, step=step)
        run.flush(timeout=30)
    found = {}
    for name, stored in remote_store.listed(storage):
        (tmp_path / str(name)).write_bytes(storage.read(stored.name))
        found[name.is_delta] = container.read(tmp_path / str(name))
    (key,) = found[True].meta["base"]["meta"]
    assert delta.complete("it", found[True], found[False]).meta[key] == found[False].meta[key]
    forged = dataclasses.replace(found[False], meta={**found[False].meta, key: ["two"]})
    with pytest.raises(CorruptCheckpointError, match=f"holds another '{key}'"):
        delta.complete("it", found[True], forged)


def test_a_delta_copy_of_before_is_still_put_together(tmp_path, run, storage):
    """The first ones borrowed tensors only, and their base says nothing of metadata."""
    save(run, 1, 2)
    found = {}
    for name, stored in remote_store.listed(storage):
        (tmp_path / str(name)).write_bytes(storage.read(stored.name))
        found[name.is_delta] = container.read(tmp_path / str(name))
    borrowed = {key: value for key, value in found[True].meta["base"].items() if key != "meta"}
    old = dataclasses.replace(found[True], meta={**found[True].meta, "base": borrowed})
    assert delta.complete("it", old, found[False]).tensors["state/frozen"].tolist() == state(2)["frozen"].tolist()


def test_a_later_process_goes_on_borrowing(tmp_path, run, storage):
    """A fresh machine learns from the storage what already exists, and sends the frozen part to it no more."""
    save(run, 1, 2)
    again = fresh(run, tmp_path, storage)
    again.restore()
    storage.puts.clear()
    save(again, 3)
    assert max(sent(storage)) < 0.1 * 8 * FROZEN
    again.close()


def test_a_base_outlives_its_turn(tmp_path, run, storage):
    """The file that others borrow from stays while they do, however many came after it."""
    save(run, *range(1, 9))
    assert [name.step for name, _ in remote_store.listed(storage)] == [8, 7, 6, 1]
    assert fresh(run, tmp_path, storage).restore().step == 8


def test_a_base_that_nobody_needs_goes(run, storage):
    """When everything has changed, a complete file travels, and the old base goes in its turn."""
    save(run, 1, 2)
    for step in range(3, 7):
        run.save({"all": np.random.default_rng(step).random(FROZEN)}, step=step)
        run.flush(timeout=30)
    assert [(name.step, name.is_delta) for name, _ in remote_store.listed(storage)] == [
        (6, False),
        (5, False),
        (4, False),
    ]


def test_little_in_common_travels_complete(run, storage):
    """To save less than a tenth, no file is made to depend on another."""
    save(run, 1, 2, frozen=300)
    assert [name.is_delta for name, _ in remote_store.listed(storage)] == [False, False]


@pytest.mark.parametrize("loss", ["missing", "cut", "another"])
def test_a_delta_copy_without_its_base_is_passed_over(tmp_path, storage, loss):
    """Without the base that it names, whole and unchanged, a delta is not believed; an older whole one is."""
    run = open_run(tmp_path / "run", mirror=storage, keep=5)
    save(run, 1, frozen=7)
    save(run, 2, 3)
    base = next(name for name, _ in remote_store.listed(storage) if name.step == 2)
    place = f"checkpoints/{base}"
    if loss == "missing":
        storage.delete(place)
    elif loss == "cut":
        storage.damage(place, storage.read(place)[:-1])
    else:
        other = naming.publish(tmp_path, {"state/frozen": np.zeros(FROZEN)}, {"kind": "state"}, step=2)
        storage.damage(place, other.read_bytes())
    assert fresh(run, tmp_path, storage).restore().step == 1


def test_a_delta_copy_waits_for_its_base(run, storage):
    """A delta whose base has not arrived is not confirmed: on a lost machine it would be worth nothing."""
    storage.arrives = "cannot tell"
    save(run, 1, 2)
    names = [name for name, _ in remote_store.listed(storage)]
    assert [name.is_delta for name in names] == [True, False]
    storage.arrive(f"checkpoints/{names[0]}")
    run.save(state(3), step=3)
    run.flush(timeout=30)
    assert run.status().confirmed_step is None
    storage.arrive()
    run.flush(timeout=30)
    save(run, 4)
    assert run.status().confirmed_step == 3


@pytest.mark.parametrize(
    "base",
    [
        None,
        {},
        {"file": "../../etc/passwd", "sha256": "", "tensors": {}, "meta": {}},
        {"file": "step-000000001-0123456789ab.thin.safetensors", "sha256": "", "tensors": {}, "meta": {}},
        {"file": ["x"], "sha256": "", "tensors": {}, "meta": {}},
        {"file": "step-000000001-0123456789ab.safetensors", "sha256": "", "tensors": [1], "meta": {}},
        {"file": "step-000000001-0123456789ab.safetensors", "sha256": "", "tensors": {"x": 3}, "meta": {}},
        {"file": "step-000000001-0123456789ab.safetensors", "sha256": "", "tensors": {}, "meta": [1]},
    ],
    ids=repr,
)
def test_a_forged_base_is_refused(tmp_path, storage, base):
    """A delta file that names a path, another delta file or nonsense as its base is passed over; no file is touched."""
    run = open_run(tmp_path / "run", mirror=storage)
    save(run, 1)
    meta = {"kind": "state", "step": 9, "base": {**base, "whole": "0" * 64} if isinstance(base, dict) else base}
    path = naming.publish(tmp_path, {"x": np.zeros(3)}, meta, step=9)
    storage.put(f"checkpoints/{naming.CheckpointName(step=9, state='0' * 12, is_delta=True)}", path)
    assert run.restore().step == 1
    run.close()


def test_it_can_be_read_without_colabkit(tmp_path, run, storage):
    """With safetensors, json and hashlib alone the two files give the state, each tensor proven."""
    from safetensors import safe_open
    from safetensors.numpy import load_file

    save(run, 1, 2)
    for stored in storage.list("checkpoints/"):
        (tmp_path / stored.name.partition("/")[2]).write_bytes(storage.read(stored.name))
    (path,) = tmp_path.glob("*.thin.safetensors")
    with safe_open(path, "numpy") as file:
        meta = json.loads(file.metadata()["colabkit"])
    tensors, base = load_file(path), load_file(tmp_path / meta["base"]["file"])
    for name, digest in meta["base"]["tensors"].items():
        assert hashlib.sha256(base[name].tobytes()).hexdigest() == digest
        tensors[name] = base[name]
    assert tensors["state/frozen"].tolist() == state(2)["frozen"].tolist()
    assert tensors["state/trained"].tolist() == state(2)["trained"].tolist()
