"""Claims about what is passed to `fit` beside a model and data: a slip is told with the line that is right."""

from __future__ import annotations

import pytest

pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')

SLIPS = """
import sys
import numpy as np, keras, colabkit as ck
x, y = np.zeros((8, 2), "float32"), np.zeros(8, "float32")
run, other = ck.open_run(sys.argv[1] + "/run"), ck.open_run(sys.argv[1] + "/other")
for epochs, callbacks in [
    (1, [run.resume(), run.resume()]),
    (1, [run.resume(), other.resume()]),
    ("5", [run.resume()]),
    (2.0, [run.resume()]),
    (1, [run.resume]),
    (np.int64(1), [run.resume()]),
]:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    try:
        model.fit(x, y, epochs=epochs, verbose=0, callbacks=callbacks)
        print("trained")
    except Exception as error:
        print(type(error).__name__, str(error).replace("\\n", " "))
"""


def test_a_slip_in_fit_is_told_with_the_line_that_is_right(python, tmp_path):
    """Two callbacks that resume, `epochs="5"` and `run.resume` without its brackets end in our words, before a step."""
    code, out, err = python(SLIPS, tmp_path, KERAS_BACKEND="jax")
    twice, two_runs, text, half, brackets, right = out.splitlines()
    assert code == 0
    assert twice.startswith("UnsupportedError one fit continues one run")
    assert "of run and other" in two_runs
    assert text.startswith("AddressError epochs='5' is not a number of epochs")
    assert half.startswith("AddressError epochs=2.0 is not")
    assert "UnsupportedError run.resume is no callback" in brackets
    assert "callbacks=[run.resume()]" in brackets
    assert right == "trained"
    assert "Exact" not in err
