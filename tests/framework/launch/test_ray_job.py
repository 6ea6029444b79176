"""A launch handed to a cluster elsewhere, as a job of Ray's: a real head with its dashboard on loopback."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys

import pytest

from colabkit._internal.process.ports import free_ports
from tests.support.waiting import wait_until

TRAIN = """
import pathlib, sys, time
import neighbour
from colabkit.accelerator import cluster
joined = cluster.current()
here = pathlib.Path(sys.argv[1])
print("worker", joined.index, "of", joined.count, neighbour.WORD, flush=True)
try:
    for step in range(int(sys.argv[2])):
        time.sleep(0.2)
        if joined.index == 0:
            print("step", step, flush=True)
except KeyboardInterrupt:
    (here / f"saved-{joined.index}").write_text("")
    sys.exit(130)
"""

KILL = """
import os, pathlib, sys
mark = pathlib.Path(sys.argv[1], "killed")
if os.environ["RANK"] == "1" and not mark.exists():
    mark.touch()
    os.kill(os.getpid(), 9)
"""

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}  # since 2.52 a cluster may ask for one


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """Start the head of a cluster of four cores; give its dashboard's address."""
    for module in ("ray", "aiohttp_cors"):
        if importlib.util.find_spec(module) is None:
            pytest.skip('Ray with its dashboard is not installed: pip install "ray[default,train]"')
    port, dashboard, client, agent = free_ports(4)
    folder = tmp_path_factory.mktemp("ray", numbered=True)
    words = ["start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--dashboard-host", "127.0.0.1"]
    words += ["--dashboard-port", str(dashboard), "--port", str(port), "--num-cpus", "4", "--disable-usage-stats"]
    words += ["--object-store-memory", "100000000", "--min-worker-port", "0", "--max-worker-port", "0"]
    words += ["--ray-client-server-port", str(client), "--dashboard-agent-listen-port", str(agent)]
    log = folder / "head.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "ray.scripts.scripts", *words]
        # Beside other tests: Ray gives its workers what all others leave of the processor, and itself 30 s to start.
        patient = dict.fromkeys(("RAY_agent_register_timeout_ms", "RAY_health_check_timeout_ms"), "120000")
        env = {**os.environ, **TOKEN, **patient, "RAY_raylet_start_wait_time_s": "120", "RAY_worker_niceness": "0"}
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until(lambda: "Ray runtime started" in log.read_text() or process.poll() is not None, 180)
        assert process.poll() is None, log.read_text()[-3000:]
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture
def submit(head, tmp_path):
    """Write a script with a neighbour; return what starts the command for it."""
    (tmp_path / "project").mkdir()
    script = tmp_path / "project" / "train.py"
    script.write_text(TRAIN)
    (tmp_path / "project" / "neighbour.py").write_text("WORD = 'beside it'")

    def start(*words, body=TRAIN, workers=2, token=TOKEN):
        script.write_text(body)
        command = [sys.executable, "-m", "colabkit", "launch", "--json", "--on", "ray", "--address", head]
        command += ["--workers", str(workers), str(script), *map(str, words)]
        env = {**os.environ, **token}
        return subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def end(started, seconds=400):
    """Wait for a command; return its exit code, its object and the lines of the job."""
    try:
        out, err = started.communicate(timeout=seconds)
    finally:
        started.kill()
    return started.returncode, json.loads(out) if out.strip() else {}, err


def lines_until(started, word):
    """Read the job's lines until one has the word."""
    read = []
    for line in started.stderr:
        read.append(line)
        if word in line:
            return read
    raise AssertionError("".join(read)[-3000:])


@pytest.mark.slow
def test_a_job_brings_the_script_and_its_neighbours_and_outlives_a_worker(submit, tmp_path):
    """The folder of the script and colabkit go along; a killed worker is started again; the report is the launch's."""
    code, report, told = end(submit(tmp_path, 3, body=KILL + TRAIN))
    assert code == 0, told
    assert (report["ok"], report["attempts"], report["workers"]) == (True, 2, 2)
    assert report["failures"][0]["code"] == -9
    assert "worker 1 of 2 beside it" in told


@pytest.mark.slow
def test_ctrl_c_lets_the_workers_save_first(submit, tmp_path):
    """The first Ctrl-C reaches the scripts, which save; the command ends with 130."""
    started = submit(tmp_path, 1000)
    lines_until(started, "step 1")
    started.send_signal(signal.SIGINT)
    code, report, told = end(started)
    assert code == 130, told
    assert report["ok"] is False
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]


@pytest.mark.slow
def test_the_same_line_follows_a_job_that_still_runs(submit, tmp_path):
    """A laptop that was closed: the job goes on, and the same line shows all of its output and its end."""
    started = submit(tmp_path, 60, 17)
    lines_until(started, "step 1")
    started.kill()
    started.communicate()
    code, report, told = end(submit(tmp_path, 60, 17))
    assert code == 0, told
    assert "already runs there as job colabkit-train-" in told
    assert [told.count(f" step {step}\n") for step in (0, 1, 59)] == [1, 1, 1]
    assert report["attempts"] == 1


@pytest.mark.slow
def test_what_the_launch_refuses_there_is_refused_here(submit, tmp_path):
    """An error of colabkit's on the cluster ends the command with its exit code and its words."""
    refusing = "from colabkit.errors import RunMismatchError\nraise RunMismatchError('another run', hint='x')\n"
    code, report, _ = end(submit(body=refusing, workers=1))
    assert (code, report["failures"][0]["error"]["type"]) == (32, "RunMismatchError")
    code, told, _ = end(submit("--timeout", 1, workers=1, body="import sys; sys.exit(7)"))
    assert (code, told["failures"][-1]["code"]) == (7, 7)


@pytest.mark.slow
def test_a_cluster_that_asks_for_a_token_says_how_to_give_it(submit):
    """Without the cluster's token nothing is submitted; the variable is named."""
    code, _, told = end(submit(token={}))
    assert code == 80, told
    assert "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in told


def test_no_cluster_is_told_with_what_to_look_at(tmp_path, capsys):
    """A port where nobody listens: 82, and which address is meant."""
    pytest.importorskip("ray", reason='Ray is not installed: pip install "ray[train]"')
    from colabkit.cli import main

    (tmp_path / "train.py").write_text("")
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert main(["launch", "--on", "ray", "--address", address, "--workers", "2", str(tmp_path / "train.py")]) == 82
    told = capsys.readouterr().err
    assert f"no Ray cluster answers at {address}" in told
    assert "http://HEAD:8265" in told
