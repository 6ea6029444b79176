"""Claims about what a loop is given beside torch: it ends the same after a break and a new process' own objects."""

from __future__ import annotations

import enum
import random
import types
from collections import deque
from typing import NamedTuple

import numpy as np
import pytest

import colabkit as ck
from colabkit.errors import CheckpointError, RunMismatchError

STEPS = 8


class Phase(enum.Enum):
    """A closed set of words, as users keep in their state."""

    WARM_UP = 1
    TRAIN = 2


def loop_to(folder, make, step, *, stop):
    """Make the objects anew, train them up to a step as the run has them, and give back what they are then."""
    with ck.open_run(folder, every="1 steps") as run:
        given = make()
        loop = run.loop(range(STEPS), **vars(given))
        for number in loop:
            step(given, number)
            if loop.step + 1 == stop:
                break
        run.flush()
    return given


def ends_the_same(tmp_path, make, step, read):
    """Compare a training that is left at its third step, with one that is not."""
    whole = loop_to(tmp_path / "whole", make, step, stop=STEPS)
    loop_to(tmp_path / "cut", make, step, stop=3)
    cut = loop_to(tmp_path / "cut", make, step, stop=STEPS)
    assert repr(read(cut)) == repr(read(whole))
    return cut


def test_a_dict_that_stands_in_two_places_at_first_is_parted_and_joined_as_it_was(tmp_path):
    """The weights of a target network begin as those of the other; filled in place, both got those of the last."""

    def make():
        weights, log = {"w": [0.0]}, []
        return types.SimpleNamespace(state={"online": weights, "target": weights, "log": log, "report": {"log": log}})

    def step(given, number):
        state = given.state
        state["online"] = {"w": [state["online"]["w"][0] + 1 + state["target"]["w"][0] / 8]}
        if number == 4:
            state["target"] = state["online"]
        state["log"].append(len(state["report"]["log"]))

    cut = ends_the_same(tmp_path, make, step, lambda given: given.state)
    assert cut.state["log"] is cut.state["report"]["log"]


def test_frames_estimators_dates_and_members_are_taken_as_by_save(tmp_path):
    """Tables of results, an estimator in place, spans of time, members of an Enum."""
    pandas, linear = pytest.importorskip("pandas"), pytest.importorskip("sklearn.linear_model")
    x = np.random.default_rng(0).random((STEPS, 6, 3))

    def make():
        state = {"table": pandas.DataFrame(columns=["step", "score"]), "phase": Phase.WARM_UP, "power": 1j}
        return types.SimpleNamespace(model=linear.SGDClassifier(random_state=0), state=state)

    def step(given, number):
        given.model.partial_fit(x[number], [0, 1] * 3, classes=[0, 1])
        given.state["table"].loc[number] = [number, given.model.coef_[0, 0]]
        given.state["phase"], given.state["power"] = Phase.TRAIN, given.state["power"] * 1j

    cut = ends_the_same(tmp_path, make, step, lambda given: [given.model.coef_.tolist(), given.state])
    assert cut.state["phase"] is Phase.TRAIN


class Moments(NamedTuple):
    """As optax keeps its state, in a tuple of several."""

    mean: object


def test_jax_numbers_without_a_type_of_their_own_and_arrays_in_a_replay_memory_go_on(tmp_path):
    """`jax.numpy.array(1.0)` takes the type of what it is multiplied with: with another type, all weights change."""
    jax = pytest.importorskip("jax", reason="jax is missing; pip install jax")
    numpy = jax.numpy

    def make():
        state = {"w": numpy.ones(2, numpy.bfloat16), "scale": numpy.array(1.0), "memory": deque(maxlen=2)}
        state["opt"] = (Moments(numpy.zeros(2)), ())
        return types.SimpleNamespace(state=state)

    def step(given, number):
        state = given.state
        state["scale"] = state["scale"] * 1.01
        state["w"] = state["w"] * state["scale"]
        state["memory"].append((state["w"], number))
        state["opt"] = (Moments(state["opt"][0].mean + state["w"]), ())

    cut = ends_the_same(tmp_path, make, step, lambda given: given.state)
    assert all(isinstance(array, jax.Array) for array, _ in cut.state["memory"])


def test_a_generator_of_another_kind_is_refused_and_one_without_a_state_too(tmp_path):
    """Both ended in an error of NumPy or Python."""
    kinds = iter([np.random.PCG64, np.random.MT19937])

    def make():
        return types.SimpleNamespace(state={"total": 0.0}, rng=np.random.Generator(next(kinds)(0)))

    def step(given, _):
        given.state["total"] += given.rng.random()

    loop_to(tmp_path, make, step, stop=3)
    with pytest.raises(RunMismatchError, match="rng does not take the state"):
        loop_to(tmp_path, make, step, stop=STEPS)
    run = ck.open_run(tmp_path / "other")
    with pytest.raises(CheckpointError, match="SystemRandom, which cannot be put back"):
        run.loop([1], rng=random.SystemRandom())
    with pytest.raises(CheckpointError, match="RandomState of another generator"):
        next(iter(run.loop([1], rng=np.random.RandomState(np.random.PCG64(0)))))


def test_what_a_keras_model_and_a_module_count_goes_on_with_their_layers_and_optimizer(tmp_path, caplog):
    """Attributes of a class of the user's, layers that are frozen, an optimizer of `train_on_batch`, generators."""
    keras, tf = pytest.importorskip("keras"), pytest.importorskip("tensorflow")
    x = np.random.default_rng(0).random((STEPS, 4, 3)).astype("float32")

    class Weighted(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = keras.layers.Dense(2), keras.layers.Dense(1)
            self.beta, self.seen = 0.0, []

        def call(self, inputs):
            return self.last(self.first(inputs))

    class Counting(tf.Module):
        def __init__(self):
            super().__init__()
            self.total, self.count = tf.Variable(0.0), 0

    def make():
        keras.utils.set_random_seed(1)
        model = Weighted()
        model(x[0])
        model.compile("adam", "mse", run_eagerly=True)
        generator = tf.random.Generator.from_seed(1)
        return types.SimpleNamespace(model=model, module=Counting(), generator=generator, losses=[])

    def step(given, number):
        model, module = given.model, given.module
        if number == 2:
            model.first.trainable = False
        model.beta += 0.1
        module.count += 1
        module.total.assign_add(module.count * given.generator.normal([]) + tf.random.get_global_generator().normal([]))
        given.losses.append(tf.reduce_mean(model(x[number])) * model.beta)
        model.train_on_batch(x[number], x[number, :, :1])
        model.seen.append(number)

    def read(given):
        model = given.model
        values = [*model.variables, given.module.total, *given.losses]
        return [each.numpy().tolist() for each in values], model.beta, list(model.seen), given.module.count

    tf.random.set_global_generator(tf.random.Generator.from_seed(5))
    whole = loop_to(tmp_path / "whole", make, step, stop=STEPS)
    tf.random.set_global_generator(tf.random.Generator.from_seed(5))
    loop_to(tmp_path / "cut", make, step, stop=4)
    tf.random.set_global_generator(tf.random.Generator.from_non_deterministic_state())
    cut = loop_to(tmp_path / "cut", make, step, stop=STEPS)
    assert read(cut) == read(whole)
    assert "is not given" not in caplog.text


def test_a_model_that_was_never_called_is_refused_with_what_to_do(tmp_path):
    """A class of the user's has no weights before its first batch."""
    keras = pytest.importorskip("keras")

    def make():
        return types.SimpleNamespace(model=keras.Sequential([keras.layers.Dense(2)]))

    def step(given, _):
        given.model(np.ones((1, 3)))

    loop_to(tmp_path, make, step, stop=3)
    with pytest.raises(RunMismatchError, match="call it on one batch before the loop"):
        loop_to(tmp_path, make, step, stop=STEPS)


def test_a_generator_and_an_iterator_of_tensorflow_that_are_not_given_are_told(tmp_path, caplog):
    """Both are used over several steps; one that is made in a step is not meant."""
    tf = pytest.importorskip("tensorflow")
    generator = tf.random.Generator.from_seed(1)
    numbers = iter(tf.data.Dataset.range(99))

    def make():
        return types.SimpleNamespace(state={"total": 0.0})

    def alone(given, _):
        given.state["total"] += float(tf.random.Generator.from_seed(1).normal([])) + len(list(tf.data.Dataset.range(3)))

    def shared(given, _):
        given.state["total"] += float(generator.normal([])) + int(next(numbers))

    loop_to(tmp_path / "alone", make, alone, stop=STEPS)
    assert "not given" not in caplog.text
    loop_to(tmp_path / "shared", make, shared, stop=STEPS)
    assert caplog.text.count("tf.random.Generator draws in the steps and is not given") == 1
    assert caplog.text.count("an iterator of tf.data is read in the steps") == 1
