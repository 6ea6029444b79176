"""Several workers train as one does, and a killed one costs nothing: real processes, real frameworks."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "support" / "doubles" / "shared_training.py"

TOLERANCE = 2e-5
"""Two workers add up the gradients of half a batch each, so the last bits differ from one worker's; the weights are
between 0.01 and 1, and 8 steps of Adam at 0.01 lie between them and the start."""

LOSS_TOLERANCE = 1e-4
"""Where a worker is lost for good the rest adds up other halves; these last bits grow over 160 steps of Adam."""


@pytest.fixture(autouse=True)
def _few_threads(monkeypatch):
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC"):
        monkeypatch.setenv(name, "1")


def needs(backend):
    """Skip where a backend is missing."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install {backend}")


def start(count, *words):
    """Start the launcher with some workers of this machine."""
    command = [sys.executable, "-m", "colabkit", "launch", "--json", "--local", count, SCRIPT, *words]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def train(count, *words, code=0):
    """Train to the end; return the report and what each worker has printed."""
    running = start(count, *words)
    out, err = running.communicate(timeout=280)
    assert running.returncode == code, err
    return json.loads(out), err


def weights(run, count):
    """Return the weights, which are the same on every worker, and the losses."""
    found = [np.load(run.parent / f"{run.name}-{rank}.npz") for rank in range(count)]
    for other in found[1:]:
        np.testing.assert_array_equal(other["weights"], found[0]["weights"])
        np.testing.assert_array_equal(other["loss"], found[0]["loss"])
    return found[0]["weights"], found[0]["loss"]


def test_two_workers_with_one_killed_end_as_two_undisturbed_ones(tmp_path):
    """The smoke test: the same weights on both workers and, bit for bit, in both runs, after one restart."""
    needs("jax")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    report, err = train(2, "jax", "mlp", whole)
    assert report["attempts"] == 1
    assert "[1] DataParallel 2 16" in err
    report, _ = train(2, "jax", "mlp", broken, "--kill", "1,6")
    assert [(failure["worker"], failure["code"]) for failure in report["failures"]] == [(1, -9)]
    np.testing.assert_array_equal(weights(broken, 2)[0], weights(whole, 2)[0])
    np.testing.assert_array_equal(weights(broken, 2)[1], weights(whole, 2)[1])


@pytest.mark.slow
def test_the_same_holds_on_tensorflow_for_the_chief(tmp_path):
    """The worker that writes the checkpoints may die as well."""
    needs("tensorflow")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(2, "tensorflow", "cnn", whole)
    report, _ = train(2, "tensorflow", "cnn", broken, "--kill", "0,6")
    assert report["failures"][0]["code"] == -9
    np.testing.assert_array_equal(weights(broken, 2)[0], weights(whole, 2)[0])


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "model", "count"), [("tensorflow", "cnn", 2), ("jax", "cnn", 4)])
def test_workers_give_the_weights_of_one_worker(tmp_path, backend, model, count):
    """With the same batch, order and seeds, up to the order in which gradients are added."""
    needs(backend)
    one, several = tmp_path / "one", tmp_path / "several"
    train(1, backend, model, one)
    train(count, backend, model, several)
    np.testing.assert_allclose(weights(several, count)[0], weights(one, 1)[0], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(weights(several, count)[1], weights(one, 1)[1], atol=TOLERANCE, rtol=0)


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_refused_once(tmp_path):
    """The message names sizes that can; nothing is started again, as it would fail again."""
    needs("jax")
    report, _ = train(2, "jax", "mlp", tmp_path / "run", "--batch", 45, code=40)
    assert report["attempts"] == 1
    error = report["failures"][0]["error"]
    assert error["what"] == "a batch of 45 cannot be split evenly among 2 devices"
    assert error["do"] == "use batch_size=46 or 44"


@pytest.mark.slow
def test_ctrl_c_saves_at_one_step_and_the_same_command_goes_on(tmp_path):
    """All workers stop at the same step; run again, they end as if they had not been stopped."""
    needs("jax")
    whole, stopped = tmp_path / "a" / "whole", tmp_path / "b" / "stopped"
    for run in (whole, stopped):
        run.parent.mkdir()
    words = ("--epochs", 60, "--every", "600s")
    train(2, "jax", "mlp", whole, *words)
    running = start(2, "jax", "mlp", stopped, *words)
    deadline = time.monotonic() + 120
    while not ((at := stopped.parent / "step0").exists() and int(at.read_text() or 0) > 3):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    assert "run it again" in err
    _, err = train(2, "jax", "mlp", stopped, *words)
    assert "[1] stopped: continuing" in err
    np.testing.assert_array_equal(weights(stopped, 2)[0], weights(whole, 2)[0])


@pytest.fixture
def hosts(tmp_path):
    """Give two hosts with addresses of their own, on which launch can be started; gives their processes."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("namespaces need root and ip: apt-get install iproute2")
    names = [f"ck{os.getpid()}{letter}" for letter in "ab"]
    running = []

    def begin(run, *words, options=()):
        command = [sys.executable, "-m", "colabkit", "launch", "--workers", "10.77.0.1,10.77.0.2", "--json", *options]
        for rank, name in enumerate(names):
            full = ["ip", "netns", "exec", name, *command, "--rank", str(rank), str(SCRIPT), "jax", "mlp", str(run)]
            running.append(subprocess.Popen([*full, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running

    try:
        made = subprocess.run(["sh", "-c", _NETWORK.format(*names)], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"this machine gives no network namespaces: {made.stderr.strip()[-100:]}")
        yield begin
    finally:
        for host in running:
            if host.poll() is None:
                host.kill()
            host.communicate()
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)


@pytest.mark.slow
def test_two_hosts_with_a_worker_killed_end_as_two_undisturbed_workers(tmp_path, hosts):
    """Each host sees that the other's worker is lost, both start again, and the weights are the same, bit for bit."""
    needs("jax")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(2, "jax", "mlp", whole)
    for host in (pair := hosts(broken, "--kill", "1,6")):
        out, err = host.communicate(timeout=200)
        assert host.returncode == 0, err
    assert json.loads(out)["attempts"] == 2, pair
    np.testing.assert_array_equal(weights(broken, 2)[0], weights(whole, 2)[0])


@pytest.mark.slow
def test_a_host_that_is_lost_leaves_the_training_to_the_other(tmp_path, hosts):
    """One loses its supervisor, the other goes on with what is saved, to the loss of an undisturbed training."""
    needs("jax")
    run, alone = tmp_path / "run", tmp_path / "alone"
    train(1, "jax", "mlp", alone, "--epochs", 40)
    pair = hosts(run, "--epochs", "40", options=("--min-workers", "1", "--timeout", "5"))
    deadline = time.monotonic() + 120
    (tmp_path / "step0").unlink()
    while not (tmp_path / "step0").exists():
        assert all(host.poll() is None for host in pair), [host.communicate() for host in pair]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pair[1].kill()
    out, err = pair[0].communicate(timeout=120)
    assert pair[0].returncode == 0, err
    report = json.loads(out)
    assert (report["workers"], report["failures"][0]["reason"]) == (1, "the host of worker 1 was lost")
    assert "continuing" in err
    np.testing.assert_allclose(weights(run, 1)[1], weights(alone, 1)[1], atol=LOSS_TOLERANCE, rtol=0)


_NETWORK = """set -e
ip netns add {0}
ip netns add {1}
ip -n {0} link add eth0 type veth peer name eth0 netns {1}
ip -n {0} addr add 10.77.0.1/24 dev eth0
ip -n {1} addr add 10.77.0.2/24 dev eth0
# A host's own name must lead to its own address, as it does on real hosts: `ip netns exec` puts this over /etc/hosts.
mkdir -p /etc/netns/{0} /etc/netns/{1}
echo "10.77.0.1 $(hostname)" > /etc/netns/{0}/hosts
echo "10.77.0.2 $(hostname)" > /etc/netns/{1}/hosts
for name in {0} {1}; do ip -n $name link set lo up; ip -n $name link set eth0 up; done
"""
