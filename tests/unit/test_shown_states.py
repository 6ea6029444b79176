"""Claims about what a cell's last line shows of states, checkpoints and loops: a few words, whatever they hold."""

from __future__ import annotations

import inspect

import numpy as np

import colabkit as ck


def test_a_restored_state_does_not_fill_the_screen(tmp_path):
    """A small state is shown whole; of a large one its names, kinds and sizes."""
    run = ck.open_run(tmp_path)
    run.save({"total": [1.0, 2.0]}, step=1)
    run.flush()
    assert repr(run.restore()) == "Saved(step=1, state={'total': [1.0, 2.0]})"
    state = {"weights": np.zeros((500, 40), "float32"), "moments": [np.zeros(900), np.zeros(900)], "words": "x" * 500}
    run.save(state, step=2)
    run.flush()
    shown = repr(run.restore())
    assert "weights float32 (500, 40)" in shown
    assert "moments 2 values" in shown
    assert len(shown) < 250
    assert "500, 40" in run.restore()._repr_html_()
    assert all(len(repr(one)) < 60 for one in run.checkpoints())
    run.close()


def test_a_loop_has_a_short_text_and_a_table(tmp_path):
    """As the last line of a cell it says where it stands."""
    loop = ck.open_run(tmp_path / "digits").loop([1, 2], epochs=3, state={"n": 0})
    assert repr(loop) == "<loop of digits: epoch 1 of 3, step 0>"
    assert "1 of 3" in loop._repr_html_()


def test_a_signature_shows_no_address_of_an_object():
    """`help(ck.secret)` and its like name what stands for a missing default."""
    for name in ck.__all__:
        member = getattr(ck, name)
        if inspect.isfunction(member):
            assert " object at 0x" not in str(inspect.signature(member)), name
