"""How a batch is shared, and the workaround for keras#20585, with the real Keras."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from colabkit._internal.process.ports import free_ports
from colabkit.errors import DataError

pytest.importorskip("keras", reason="Keras is not installed: pip install keras")


@pytest.mark.parametrize(
    ("samples", "batch", "devices", "do"),
    [
        (100, 45, 2, "use batch_size=46 or 44"),
        (100, 3, 4, "use batch_size=4"),
        (101, 50, 2, "leave out the last 1: x[:100]"),
        (107, 40, 4, "leave out the last 3: x[:104]"),
        (3, 32, 4, "give at least 4 samples"),
        (5, 32, 4, "leave out the last 1: x[:4]"),
    ],
)
def test_a_batch_that_leaves_a_rest_is_refused_with_one_that_does_not(samples, batch, devices, do):
    """The mean over an uneven batch would weigh its samples differently, so the weights would not be those of one."""
    from colabkit._patches.keras_batch_sharding import check_divides

    with pytest.raises(DataError) as caught:
        check_divides(samples, batch, devices)
    assert caught.value.do == do


@pytest.mark.parametrize(("samples", "batch", "devices"), [(96, 32, 4), (100, 32, 4), (8, 32, 4), (64, 64, 2)])
def test_a_batch_that_divides_is_taken(samples, batch, devices):
    """A smaller last batch is fine when it divides as well."""
    from colabkit._patches.keras_batch_sharding import check_divides

    check_divides(samples, batch, devices)


PROBE = """
import json, os, sys
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
from colabkit._patches import keras_issue_20585 as keras_20585
first = keras_20585.mend(strategy)
sys.stdout.write(json.dumps([first, keras_20585.mend(strategy)]))
"""


@pytest.mark.slow
def test_keras_still_needs_the_workaround_and_it_mends_what_it_probes():
    """Both functions fail before and work after. When this fails with an empty first list, delete keras_20585.py."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed: pip install tensorflow")
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        env = {"TF_CONFIG": json.dumps(task), "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [sys.executable, "-c", PROBE]
        workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **env}))
    for worker in workers:
        out, _ = worker.communicate(timeout=200)
        assert json.loads(out) == [["_maybe_symbolic_build", "reduce_per_replica"], []]
