"""Claims about `colabkit.train` that need no training."""

from __future__ import annotations

import pytest

import colabkit as ck
from colabkit.errors import DataError, UnknownNameError
from colabkit.models import MODELS


def test_an_unknown_model_is_refused_with_the_list(tmp_path):
    """The message lists the models, and no run is made."""
    with pytest.raises(UnknownNameError, match="mnist-mlp"):
        ck.train("resnet-9000", run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [0, -3])
@pytest.mark.parametrize("name", ["epochs", "batch_size"])
def test_numbers_that_make_no_sense_are_refused_by_name(tmp_path, name, number):
    """Zero epochs would save an untrained model as if it were done."""
    with pytest.raises(DataError, match=name):
        ck.train("mnist-mlp", run=tmp_path / "run", **{name: number})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_file_that_fits_the_contract(name):
    """Each row of the table names a module with data, model and defaults."""
    import importlib

    module = importlib.import_module(MODELS[name])
    assert callable(module.load)
    assert callable(module.build)
    assert module.EPOCHS >= 1
    assert module.BATCH_SIZE >= 1
