"""Claims about `colabkit.train` that need no training."""

from __future__ import annotations

import pytest

import colabkit as ck
from colabkit.checkpoint.policy import save_triggers
from colabkit.errors import DataError, NotFoundError, UnknownNameError, UnsupportedError
from colabkit.models import MODELS, settings


def test_an_unknown_model_is_refused_with_the_list(tmp_path):
    """The message lists the models, and no run is made."""
    with pytest.raises(UnknownNameError, match="mnist-mlp"):
        ck.train("resnet-9000", run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"epochs": 0}, DataError, "epochs=0"),
        ({"epochs": 2.5}, DataError, "epochs=2.5"),
        ({"batch_size": -3}, DataError, "batch_size=-3"),
        ({"patience": 0}, DataError, "patience=0"),
        ({"seed": -1}, DataError, "seed=-1"),
        ({"learning_rate": 0}, DataError, "learning_rate=0"),
        ({"learning_rate": "fast"}, DataError, "learning_rate='fast'"),
        ({"validation": 1.5}, DataError, "validation=1.5"),
        ({"validation": [1, 2, 3]}, DataError, "list"),
        ({"validation": "no-such.csv"}, NotFoundError, "no-such.csv"),
        ({"data": "no-such-folder/"}, NotFoundError, "no-such-folder"),
        ({"time": "soon"}, DataError, "time='soon'"),
        ({"time": "5 steps"}, DataError, "time='5 steps'"),
        ({"callbacks": [7]}, DataError, r"callbacks\[0\] is of type int"),
        ({"callbacks": [dict]}, DataError, r"callbacks\[0\] is the class dict"),
        ({"recipe": "sprnt"}, UnknownNameError, "did you mean 'sprint'"),
        ({"tracker": "mflow"}, UnknownNameError, "did you mean 'mlflow'"),
    ],
)
def test_every_argument_is_checked_before_work_begins(tmp_path, monkeypatch, arguments, error, words):
    """What is not valid is refused by its name: no run is made, nothing is fetched or imported."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        ck.train("mnist-mlp", run=tmp_path / "run", **{"data": "sample", **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_run_or_a_built_model_in_the_wrong_place_is_told(tmp_path):
    """The three things that newcomers pass: a run as a callback, here and to `fit`, and a model for the function."""
    run = ck.open_run(tmp_path / "run")
    with pytest.raises(DataError, match="pass it as run="):
        ck.train("mnist-mlp", data="sample", run=run, callbacks=[run])
    with pytest.raises(UnsupportedError, match=r"callbacks=\[run.resume\(\)\]"):
        run.set_model(object())  # what Keras does first with a callback

    class Model:
        fit = compile = __call__ = len

    with pytest.raises(DataError, match="pass the function"):
        ck.train(Model(), data=([1], [1]))
    with pytest.raises(UnknownNameError):
        ck.train(None)


def test_the_sessions_end_is_a_time(monkeypatch):
    """`time="session"` ends five minutes before the host does; where no limit is known that is said."""
    arguments = dict.fromkeys(("epochs", "batch_size", "learning_rate", "validation", "patience"))
    arguments |= {"callbacks": (), "seed": 0, "tracker": (), "recipe": "same"}
    monkeypatch.setattr(save_triggers, "session_left", lambda: 3600.0)
    assert settings.read(time="session", **arguments).seconds == 3300.0
    assert settings.read(time="50 min", **arguments).seconds == 3000.0
    monkeypatch.setattr(save_triggers, "session_left", lambda: None)
    assert settings.read(time="session", **arguments).seconds == float("inf")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_file_that_fits_the_contract(name):
    """Each row of the table names a module with data, model and defaults."""
    import importlib

    module = importlib.import_module(MODELS[name])
    module = getattr(module, "Reference", lambda: module)()
    assert callable(module.load)
    assert callable(module.build)
    assert module.EPOCHS >= 1
    assert module.BATCH_SIZE >= 1
