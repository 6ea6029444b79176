"""Claims about states of torch and JAX: a training loop of one's own continues as if it had not stopped."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from colabkit import open_run
from colabkit.errors import RunMismatchError


@pytest.fixture
def torch():
    """The package, where it is installed."""
    return pytest.importorskip("torch", reason="torch is missing; pip install torch")


@pytest.fixture
def jax():
    """The package, where it is installed."""
    return pytest.importorskip("jax", reason="jax is missing; pip install jax")


def torch_training(torch, folder, *, steps, stop):
    """Train a small module up to a step, continuing what the folder holds."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    rate = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    state = {"module": module, "optimizer": optimizer, "rate": rate, "random": torch.get_rng_state()}
    with open_run(folder) as run:
        saved = run.restore(into=state)
        if saved:
            torch.set_rng_state(saved.state["random"])
        for step in range(saved.step if saved else 0, min(steps, stop)):
            x = torch.randn(16, 4)
            optimizer.zero_grad()
            (module(x) - x.sum(1, keepdim=True)).square().mean().backward()
            optimizer.step()
            rate.step()
            run.save({**state, "random": torch.get_rng_state()}, step=step + 1)
    return [value.clone() for value in module.state_dict().values()]


def test_a_torch_loop_continues(torch, tmp_path):
    """Module, Adam, schedule and random state come back in place; the weights end the same, bit for bit."""
    whole = torch_training(torch, tmp_path / "whole", steps=10, stop=10)
    torch_training(torch, tmp_path / "cut", steps=10, stop=4)
    cut = torch_training(torch, tmp_path / "cut", steps=10, stop=10)
    assert all(map(torch.equal, whole, cut))


def test_bfloat16_tensors_come_back_by_their_bits(torch, tmp_path):
    """A torch bfloat16 tensor, which NumPy cannot read, is saved and filled in with the same bits."""
    value = torch.randn(5, 3).to(torch.bfloat16)
    with open_run(tmp_path) as run:
        run.save({"value": value.T}, step=1)
        run.flush()
        saved = run.restore(into={"value": torch.zeros(3, 5, dtype=torch.bfloat16)})
    assert torch.equal(saved.state["value"], value.T)


def test_another_torch_module_is_refused_with_its_place(torch, tmp_path):
    """A module of another shape is not loaded; the message says which part of the state does not fit."""
    with open_run(tmp_path) as run:
        run.save({"module": torch.nn.Linear(2, 3)}, step=1)
        run.flush()
        with pytest.raises(RunMismatchError, match="state/module does not fit this Linear"):
            run.restore(into={"module": torch.nn.Linear(2, 4)})


class Moments(NamedTuple):
    """As optax keeps its state."""

    count: Any
    mean: Any


@dataclass
class State:
    """A training state of plain parts."""

    params: Any
    moments: Moments
    key: Any
    name: str


def test_a_jax_tree_comes_back_as_it_was(jax, tmp_path):
    """Dataclass, named tuple, bfloat16, arrays and random keys, typed and raw, have their types and values again."""
    numpy = jax.numpy
    key = jax.random.key(7)
    params = {"w": numpy.arange(6, dtype=numpy.bfloat16).reshape(2, 3), "old_key": jax.random.PRNGKey(3)}
    state = State(params, Moments(numpy.int32(4), [numpy.ones(2)]), key, "one")
    with open_run(tmp_path) as run:
        run.save(state, step=1)
        run.flush()
        empty = State(jax.tree.map(numpy.zeros_like, params), Moments(numpy.int32(0), [numpy.zeros(2)]), key, "")
        found = run.restore(into=empty).state
    assert (type(found), type(found.moments), found.name) == (State, Moments, "one")
    assert found.params["w"].dtype == numpy.bfloat16
    assert isinstance(found.params["w"], jax.Array)
    assert jax.tree.all(jax.tree.map(np.array_equal, found.params, params))
    assert np.array_equal(jax.random.normal(found.key, 3), jax.random.normal(key, 3))
    assert int(found.moments.count) == 4


def test_a_tree_of_another_shape_is_refused_with_its_place(tmp_path):
    """Other keys and other lengths are named; nothing is filled in halfway."""
    with open_run(tmp_path) as run:
        run.save({"a": (1, 2), "b": 3}, step=1)
        run.flush()
        with pytest.raises(RunMismatchError, match="state/a is not as it was saved"):
            run.restore(into={"a": (1,), "b": 3})
        with pytest.raises(RunMismatchError, match="state is not as it was saved"):
            run.restore(into={"a": (1, 2)})


def test_a_node_of_jax_takes_its_functions_from_the_program(jax, tmp_path):
    """As flax's TrainState, which holds `apply_fn` and an optimizer of functions, and modules with activations."""

    @jax.tree_util.register_pytree_with_keys_class
    @dataclass(frozen=True)
    class TrainState:
        params: Any
        layers: Any
        apply_fn: Any
        seen: int

        def tree_flatten_with_keys(self):
            keys = [jax.tree_util.GetAttrKey(name) for name in ("params", "layers")]
            return list(zip(keys, (self.params, self.layers), strict=True)), (self.apply_fn, self.seen)

        @classmethod
        def tree_unflatten(cls, settings, children):
            return cls(*children, *settings)

    def make(value, seen):
        return TrainState({"w": jax.numpy.full(2, value)}, [jax.numpy.full(1, value), abs], max, seen)

    with open_run(tmp_path) as run:
        run.save({"train": make(2.0, 7)}, step=1)
        run.flush()
        assert run.restore().state["train"]["layers"][1] is None
        found = run.restore(into={"train": make(0.0, 0)}).state["train"]
    assert (type(found), found.apply_fn, found.layers[1], found.seen) == (TrainState, max, abs, 7)
    assert isinstance(found.params["w"], jax.Array)
    assert (found.params["w"].tolist(), found.layers[0].tolist()) == ([2.0, 2.0], [2.0])


def test_a_state_is_filled_in_place_for_who_goes_on_with_it(tmp_path):
    """Dicts that count, deques and sets come back as they are; what stands in two places does not get two values."""
    same = [0]

    def make():
        state = {"counts": Counter(), "lists": defaultdict(list), "memory": deque(maxlen=2), "seen": set(), "q": {}}
        return {**state, "order": OrderedDict(a=1, b=2), "one": same, "two": same}

    saved = make() | {"one": [1], "two": [2]}
    saved["counts"]["x"] += 2
    saved["lists"]["y"].append(3)
    saved["memory"].append(4)
    saved["seen"].add(5)
    saved["q"][6, 7] = 8.0
    saved["order"].move_to_end("a")
    with open_run(tmp_path) as run:
        run.save(saved, step=1)
        run.flush()
        state = make()
        assert run.restore(into=state).state is state
    assert state == saved
    assert list(state["order"]) == ["b", "a"]
    state["lists"]["new"].append(1)
    assert same == [0]


def test_variables_of_tensorflow_and_keras_are_assigned_in_place(tmp_path):
    """They came back as arrays, and the variables that train began anew."""
    tf, keras = pytest.importorskip("tensorflow"), pytest.importorskip("keras")

    def make(seed):
        seeds = keras.random.SeedGenerator(seed)
        return {"w": tf.Variable([float(seed)]), "generator": tf.random.Generator.from_seed(seed), "seeds": seeds}

    state, again = make(1), make(2)
    with open_run(tmp_path) as run:
        run.save(state, step=1)
        run.flush()
        run.restore(into=again)
        with pytest.raises(RunMismatchError, match="state/w is not as it was saved"):
            run.restore(into={**make(3), "w": tf.Variable([1.0, 2.0])})
    assert again["w"].numpy() == [1.0]
    assert float(again["generator"].normal([])) == float(state["generator"].normal([]))
    assert float(keras.random.normal((), seed=again["seeds"])) == float(keras.random.normal((), seed=state["seeds"]))


def test_weights_that_averages_and_targets_begin_with_are_parted_again(jax, tmp_path):
    """One dict stands in a tuple, in a node of JAX and beside them; each place goes on with its own values."""

    @jax.tree_util.register_pytree_node_class
    class Trained:
        def __init__(self, *parts):
            self.parts = parts

        def tree_flatten(self):
            return self.parts, None

        @classmethod
        def tree_unflatten(cls, _, parts):
            return cls(*parts)

    def built():
        params = {"w": jax.numpy.ones(3)}
        return {"net": Trained(params, params), "pair": (params, params), "params": params}

    def moved(state):
        leaves, tree = jax.tree.flatten(state)
        return jax.tree.unflatten(tree, [leaf + number for number, leaf in enumerate(leaves)])

    whole = moved(moved(built()))
    for steps in (1, 2):
        state = built()
        with open_run(tmp_path / "run", every="1 steps") as run:
            for _ in run.loop([0], epochs=steps, state=state):
                state.update(moved(state))
    assert jax.tree.all(jax.tree.map(np.array_equal, state, whole))
