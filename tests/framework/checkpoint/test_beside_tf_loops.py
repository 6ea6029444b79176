"""Claims about what lies beside a loop of TensorFlow: none of it keeps the rest from being kept or told."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("tensorflow", reason='TensorFlow is missing; pip install "tensorflow>=2.20"')


def test_a_dataset_and_a_tensor_of_one_number_do_not_end_the_look(tmp_path, caplog):
    """Both have no numbers or no length that could be asked for."""
    import tensorflow as tf

    import colabkit as ck

    logging.getLogger("colabkit").propagate = True
    caplog.set_level(logging.INFO, "colabkit")
    rate = tf.constant(0.3)
    held_back = tf.data.Dataset.from_tensor_slices([1.0, 2.0]).batch(1)
    weight = tf.Variable(1.0)
    for number in ck.open_run(tmp_path / "run").loop([1.0, 2.0], weight=weight):
        weight.assign_add(number * rate)
    assert float(weight) == pytest.approx(1.9)
    assert len(list(held_back)) == 2
    assert "cannot be looked at" not in caplog.text
