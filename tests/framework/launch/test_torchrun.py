"""Under torchrun, which starts and restarts, the same script resumes: real torchrun, real kills."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from colabkit.accelerator import cluster
from colabkit.errors import ClusterConfigError

SCRIPT = Path(__file__).parents[2] / "support" / "doubles" / "shared_training.py"
PAIR = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_the_variables_of_torchrun_name_the_workers():
    """On one host each worker has an address; a restart takes other ports, since the old ones may be held."""
    first = cluster.current(PAIR)
    again = cluster.current({**PAIR, "TORCHELASTIC_RESTART_COUNT": "1"})
    assert (first.addresses, first.index) == (("127.0.0.1:29501", "127.0.0.1:29502"), 1)
    assert not {*first.addresses, first.coordinator} & {*again.addresses, again.coordinator}


def test_hosts_that_torchrun_does_not_name_are_known_by_the_coordinator_alone():
    """On several hosts only the first is named: enough for JAX; SkyPilot names all of them."""
    env = {**PAIR, "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "gpu1"}
    assert cluster.current(env).coordinator.startswith("gpu1:")
    assert cluster.current({**env, "SKYPILOT_NODE_IPS": "gpu1\ngpu2"}).addresses == ("gpu1:29501", "gpu2:29501")


@pytest.mark.parametrize("change", [{"RANK": "2"}, {"RANK": "x"}, {"MASTER_PORT": "0"}])
def test_variables_that_do_not_fit_are_refused(change):
    """A rank beyond the world or a port that is none is told before a framework waits for it."""
    with pytest.raises(ClusterConfigError):
        cluster.current({**PAIR, **change})


def test_one_worker_alone_is_no_cluster():
    """Notebook hosts set WORLD_SIZE=1; training there is as always."""
    assert cluster.current({**PAIR, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}) is None


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_worker_killed_under_torchrun_costs_nothing(backend, tmp_path):
    """Torchrun restarts the workers, the run resumes, and the weights are those of a training that nobody killed."""
    for package in (backend, "torch"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install {package}")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC"), "1")
    env = {**os.environ, **threads, "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    ends = []
    for name, kill in (("whole", ""), ("killed", "1,3")):
        run = tmp_path / name / "run"
        run.parent.mkdir()
        words = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=2", "--standalone"]
        words += [str(SCRIPT), backend, "mlp", str(run), *(["--kill", kill] if kill else [])]
        done = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr[-3000:]
        ends.append(np.load(run.parent / "run-0.npz"))
    assert (tmp_path / "killed" / "run.killed").exists()
    np.testing.assert_array_equal(ends[0]["weights"], ends[1]["weights"])
    np.testing.assert_array_equal(ends[0]["loss"], ends[1]["loss"])
