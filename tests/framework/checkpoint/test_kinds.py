"""Claims about what `run.save` takes beside arrays and plain values: it comes back as what it was, without pickle."""

# ruff: noqa: D103
from __future__ import annotations

import collections
import datetime as dt
import pathlib

import numpy as np
import pytest

import colabkit as ck
from colabkit.errors import CheckpointError

NOW = dt.datetime(2026, 11, 30, 20, 15, tzinfo=dt.UTC)
COLLECTIONS = {
    "OrderedDict": collections.OrderedDict(b=1, a=np.arange(3)),
    "Counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2, 3], maxlen=2),
    "set": {3, 1},
    "frozenset": frozenset({"a"}),
    "Path": pathlib.Path("a/b"),
    "datetime": NOW,
    "complex": 1 + 2j,
    "range": range(2, 9, 3),
    "large": 1 << 100,
}


def there_and_back(tmp_path, state, into=None):
    run = ck.open_run(tmp_path / "run")
    run.save(state, step=1)
    run.flush()
    run.close()
    return ck.open_run(tmp_path / "run").restore(into=into).state


def test_collections_come_back_as_they_were(tmp_path):
    """Their types, their order and their values."""
    found = there_and_back(tmp_path, COLLECTIONS)
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in COLLECTIONS.items()
    }
    assert list(found.pop("OrderedDict")) == ["b", "a"]
    assert found == {name: value for name, value in COLLECTIONS.items() if name != "OrderedDict"}


def test_arrays_of_text_dates_and_complex_numbers_come_back(tmp_path):
    """The file's format has no such types; names of files and labels are often kept so."""
    state = {
        "text": np.array(["ab", "\u00fc", ""]),
        "big endian": np.array(["a"], ">U2"),
        "bytes": np.array([b"x", b"yy"]),
        "days": np.array(["2020-01-01", "2021-02-03"], "M8[D]"),
        "spans": np.array([1, 2], "m8[s]"),
        "complex": np.array([[1 + 2j, 3]], np.complex64),
        "empty": np.array([], "U3"),
    }
    found = there_and_back(tmp_path, state)
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert np.array_equal(found[name], array), name
        assert found[name].dtype.kind == array.dtype.kind


def test_frames_and_sparse_arrays_come_back_as_such(tmp_path):
    """A frame with numbers, texts and an index; a sparse matrix in its own format."""
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    frame = pandas.DataFrame({"loss": [0.5, 0.25], "note": ["a", "b"]}, index=[3, 5])
    found = there_and_back(tmp_path, {"frame": frame, "eye": sparse.eye_array(3).tocsr()})
    assert found["frame"].to_dict() == frame.to_dict()
    assert found["eye"].format == "csr"
    assert np.array_equal(found["eye"].toarray(), np.eye(3))
    with pytest.raises(CheckpointError, match="state/frame cannot be saved"):
        there_and_back(tmp_path, {"frame": pandas.DataFrame({"a": ["x", object()]})})


def test_names_types_and_gaps_of_a_table_come_back(tmp_path):
    """An index with a name or several levels, dates with a zone, categories, whole numbers and texts with gaps."""
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {
            "lr": [0.1, 0.2],
            "trial": pandas.array([1, None], dtype="Int64"),
            "kind": pandas.Categorical(["b", "a"], categories=["b", "a"], ordered=True),
            "note": ["x", None],
            "at": pandas.to_datetime(["2026-01-01", "2026-01-02"], utc=True),
        },
        index=pandas.Index([3, 5], name="epoch"),
    )
    state = {
        "table": table,
        "levels": table.set_index(["kind", "note"]),
        "days": pandas.Series([1.0], name="loss", index=pandas.date_range("2026-01-01", periods=1, freq="D")),
        "empty": pandas.DataFrame(columns=["epoch", "loss"]),
    }
    found = there_and_back(tmp_path, state)
    for name in ("table", "levels", "empty"):
        pandas.testing.assert_frame_equal(found[name], state[name])
    pandas.testing.assert_series_equal(found["days"], state["days"])


@pytest.mark.parametrize(
    "value",
    [np.ma.masked_array([1.0, 2.0], [0, 1]), np.eye(2).view(np.matrix), np.zeros(2, [("a", "f4")])],
    ids=["masked", "matrix", "records"],
)
def test_arrays_that_would_come_back_as_others_are_refused(tmp_path, value):
    """A mask was lost, and a matrix multiplied by its elements; records failed when the file was written."""
    with pytest.raises(CheckpointError, match="state/value cannot be saved"):
        there_and_back(tmp_path, {"value": value})


def test_generators_and_lists_that_grow_go_on(tmp_path):
    """A generator is set to its state in place, and a list that was empty when it was made gets what it held."""
    rng = np.random.default_rng(0)
    state = {"rng": rng, "losses": [0.5, 0.25]}
    run = ck.open_run(tmp_path / "run")
    run.save(state, step=1)
    run.close()
    drawn = rng.random()
    again = {"rng": np.random.default_rng(7), "losses": []}
    found = ck.open_run(tmp_path / "run").restore(into=again).state
    assert again["rng"].random() == drawn
    assert found["losses"] == [0.5, 0.25]


def test_an_estimator_comes_back_fitted(tmp_path):
    """What scikit-learn has learned in arrays is kept; what only pickle could hold is refused with what to do."""
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = np.random.default_rng(0).random((40, 3)), np.arange(40) % 2
    model = linear.SGDClassifier(random_state=0).partial_fit(x, y, classes=[0, 1])
    found = there_and_back(tmp_path, {"model": model})["model"]
    assert np.array_equal(found.predict(x), model.predict(x))
    assert np.array_equal(found.partial_fit(x, y).coef_, model.partial_fit(x, y).coef_)
    network = pytest.importorskip("sklearn.neural_network")
    clusters = pytest.importorskip("sklearn.cluster")
    for learner in (
        network.MLPRegressor(hidden_layer_sizes=(4,), random_state=0),
        clusters.MiniBatchKMeans(2, n_init=1, random_state=0),
    ):
        for _ in range(2):
            learner.partial_fit(x, y)  # Adam's moments, and a random generator, are kept too
        again = there_and_back(tmp_path / type(learner).__name__, {"model": learner})["model"]
        assert np.array_equal(again.partial_fit(x, y).predict(x), learner.partial_fit(x, y).predict(x))
    forest = pytest.importorskip("sklearn.ensemble").RandomForestClassifier(2).fit(x, y)
    with pytest.raises(CheckpointError, match="state/forest cannot be saved") as caught:
        there_and_back(tmp_path, {"forest": forest})
    assert "skops" in caught.value.hint


def test_a_keras_model_and_its_optimizer_are_filled_in_place(tmp_path):
    """The weights and the moments go into a model and an optimizer made anew."""
    keras = pytest.importorskip("keras")

    def build():
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
        optimizer = keras.optimizers.Adam(0.01)
        optimizer.build(model.trainable_variables)
        return {"model": model, "optimizer": optimizer}

    state = build()
    state["optimizer"].variables[2].assign(np.ones((3, 2), "float32"))
    again = build()
    there_and_back(tmp_path, state, into=again)
    for name in state:
        for one, other in zip(state[name].variables, again[name].variables, strict=True):
            assert np.array_equal(one.numpy(), other.numpy())


def test_what_train_on_batch_reports_goes_on_with_the_model(tmp_path, caplog):
    """Keras reports means since the last reset: the loss is exact, and a metric that it makes later is named."""
    keras = pytest.importorskip("keras")
    x, y = np.random.default_rng(1).random((8, 3), "float32"), np.arange(8) % 2

    def build():
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        return model

    model = build()
    for at in (0, 4):
        model.train_on_batch(x[at : at + 4], y[at : at + 4])
    with ck.open_run(tmp_path / "run") as run:
        run.save({"model": model}, step=2)
    again = build()
    with ck.open_run(tmp_path / "run") as run:
        run.restore(into={"model": again})
    assert "what accuracy has measured begins anew" in caplog.text
    both = [each.train_on_batch(x[2:6], y[2:6], return_dict=True)["loss"] for each in (model, again)]
    assert both[0] == both[1]
    assert all(map(np.array_equal, model.get_weights(), again.get_weights()))  # of the same moments of Adam


def test_a_step_of_numpy_is_a_number_and_what_is_none_is_refused_at_once(tmp_path):
    """`step=state.step` of flax is an array of JAX; the background thread failed on it, and nothing was saved."""
    with ck.open_run(tmp_path / "run") as run:
        run.save({"a": 1}, step=np.int64(3))
        run.flush()
        assert run.restore().step == 3
        with pytest.raises(CheckpointError, match=r"step=1\.5 is no whole number"):
            run.save({"a": 1}, step=1.5)
        state = {}
        state["all"] = state
        with pytest.raises(CheckpointError, match="the state cannot be saved"):
            run.save(state, step=4)
        with pytest.raises(CheckpointError, match="what the loop is given cannot be saved"):
            run.loop([1], state=state)
