"""Ray Train runs and restarts the workers of an unchanged script: a real cluster on this machine, a real kill."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from colabkit.errors import ClusterConfigError, ClusterError, NotFoundError
from colabkit.launch.engines import ray as ray_engine
from colabkit.launch.engines.ray_plan import plan_ray

SCRIPT = Path(__file__).parents[2] / "support" / "doubles" / "shared_training.py"


def launch(*words, code=0):
    """Run the command with a cluster of its own; return the report."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip('Ray is not installed: pip install "ray[train]"')
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC"), "1")
    command = [sys.executable, "-m", "colabkit", "launch", "--json", "--on", "ray", *map(str, words)]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, timeout=540)
    assert done.returncode == code, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_numbers_that_do_not_fit_are_refused_before_ray_starts():
    """More at least than at most, none at all, or a missing script."""
    for numbers in ({"workers": 0}, {"workers": 2, "min_workers": 3}, {"workers": 2, "restarts": -1}):
        with pytest.raises(ClusterConfigError):
            plan_ray(SCRIPT, **numbers)
    with pytest.raises(NotFoundError):
        plan_ray("no-such-script.py", workers=2)


def test_hosts_and_ranks_are_rays_own(tmp_path, capsys):
    """--workers is a number there; a list of hosts is told what to write."""
    from colabkit.cli import main

    (tmp_path / "train.py").write_text("")
    assert main(["launch", "--on", "ray", "--workers", "gpu1,gpu2", str(tmp_path / "train.py")]) != 0
    assert "--on ray --workers 4" in capsys.readouterr().err


def test_without_ray_the_install_line_is_told(tmp_path):
    """No Ray: 4, and what to install; the script is not run."""
    script = tmp_path / "train.py"
    script.write_text("open('ran', 'w')\n")
    code = "import sys; sys.modules['ray'] = None\nfrom colabkit.cli import main\nsys.exit(main(sys.argv[1:]))"
    words = ["launch", "--on", "ray", "--workers", "2", str(script)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 4
    assert 'pip install "ray[train]' in done.stderr
    assert not (tmp_path / "ran").exists()


def test_another_python_on_the_cluster_is_told_with_both_versions():
    """Ray's own refusal has five lines; all of them are told, and the way out."""
    ray_utils = pytest.importorskip("ray._private.utils", reason='Ray is not installed: pip install "ray[train]"')
    with pytest.raises(RuntimeError) as caught:
        ray_utils.check_version_info({"ray_version": "2.9.0", "python_version": "3.9.1"}, "this node")
    told = ray_engine._refusal("ray://gpu1:10001", caught.value)
    assert (type(told), told.exit_code) == (ClusterError, 80)
    assert "3.9.1" in told.why
    assert "2.9.0" in told.why
    assert "cluster's own versions" in told.hint


@pytest.mark.slow
def test_no_room_is_told_instead_of_waited_for(tmp_path):
    """Ray waits for ever for GPUs that no node has; the launch ends with 82 after its timeout, and says what lacks."""
    script = tmp_path / "train.py"
    script.write_text("open('ran', 'w')\n")
    told = launch("--workers", 2, "--gpus", 1, "--timeout", 2, script, code=82)
    assert told["error"]["type"] == "WorkerUnreachableError"
    assert "2 GPUs" in told["error"]["why"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_worker_killed_under_ray_costs_nothing(tmp_path):
    """Ray restarts the workers, the run resumes, and the weights are those of our own launcher undisturbed."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC"), "1")
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    own = [sys.executable, "-m", "colabkit", "launch", "--json", "--local", "2"]
    own += [str(SCRIPT), "tensorflow", "mlp", str(tmp_path / "whole" / "run")]
    subprocess.run(own, env={**os.environ, **threads}, capture_output=True, check=True, timeout=280)
    report = launch("--workers", 2, SCRIPT, "tensorflow", "mlp", tmp_path / "killed" / "run", "--kill", "1,3")
    assert (report["attempts"], report["failures"][0]["code"]) == (2, -9)
    ends = [np.load(tmp_path / name / "run-0.npz") for name in ("whole", "killed")]
    np.testing.assert_array_equal(ends[0]["weights"], ends[1]["weights"])


@pytest.mark.slow
def test_a_refusal_of_colabkit_is_not_tried_again(tmp_path):
    """What would fail again ends the launch at once, with the exit code of its class."""
    script = tmp_path / "train.py"
    script.write_text("from colabkit.errors import RunMismatchError\nraise RunMismatchError('another run', hint='x')\n")
    from colabkit.errors import RunMismatchError

    report = launch("--workers", 1, script, code=RunMismatchError.exit_code)
    assert report["attempts"] == 1
    assert report["failures"][0]["error"]["type"] == "RunMismatchError"


@pytest.mark.slow
def test_ctrl_c_lets_the_workers_of_a_cluster_of_its_own_save(tmp_path):
    """Each script hears it, saves and ends; another cluster, which a variable names, is none of its business."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip('Ray is not installed: pip install "ray[train]"')
    script = tmp_path / "train.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "print('at work', flush=True)\n"
        "try:\n    time.sleep(300)\n"
        "except KeyboardInterrupt:\n"
        "    time.sleep(1)\n"
        "    pathlib.Path(sys.argv[1], 'saved-' + os.environ['RANK']).touch()\n"
    )
    command = [sys.executable, "-m", "colabkit", "launch", "--on", "ray", "--workers", "2", str(script), str(tmp_path)]
    env = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}
    started = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        lines = []
        for line in started.stdout:
            lines.append(line)
            if sum("at work" in each for each in lines) == 2:
                break
        started.send_signal(signal.SIGINT)
        rest, _ = started.communicate(timeout=300)
    finally:
        started.kill()
    assert started.returncode == 130, "".join(lines) + rest
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]
