"""The supervision, with real processes on loopback that need no framework."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from colabkit._internal.process.ports import free_ports
from colabkit.launch import launch
from tests.support.waiting import wait_until

HEAD = """
import json, os, pathlib, signal, sys, time
task = json.loads(os.environ["TF_CONFIG"])
index, count = task["task"]["index"], len(task["cluster"]["worker"])
here = pathlib.Path(__file__).parent
def first_time(name):
    try:
        (here / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
"""


@pytest.fixture
def script(tmp_path):
    """Write a script for the workers."""

    def write(body):
        path = tmp_path / "work.py"
        path.write_text(HEAD + body)
        return path

    return write


started = []


@pytest.fixture(autouse=True)
def _nothing_left():
    """End what a failing test has left running."""
    yield
    while started:
        with started.pop() as one:
            one.kill()


def command(*words, **options):
    """Start the command line in a process of its own."""
    one = subprocess.Popen(
        [sys.executable, "-m", "colabkit", "launch", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    started.append(one)
    return one


def ports(count):
    """Return base ports, each with the three above it free."""
    return free_ports(count, span=4)


def test_workers_learn_of_each_other_and_their_output_is_told_apart(script):
    """Each has its own index, the same addresses, the script's arguments and a label before its lines."""
    path = script(
        "print(index, count, sys.argv[1:], os.environ['KERAS_DISTRIBUTION_PROCESS_ID'])\nsys.stderr.write('x')"
    )
    running = command("--local", 2, path, "--epochs", "3")
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    lines = sorted(out.splitlines())
    assert lines[1:] == ["[0] 0 2 ['--epochs', '3'] 0", "[1] 1 2 ['--epochs', '3'] 1"] or lines[:2] == [
        "[0] 0 2 ['--epochs', '3'] 0",
        "[1] 1 2 ['--epochs', '3'] 1",
    ]
    assert {"[0] x", "[1] x"} <= set(err.splitlines())


def test_a_worker_that_is_killed_makes_all_start_again(script):
    """One SIGKILL costs one attempt; the others are ended, and the report says who failed first and how."""
    path = script(
        "if index == 0 and first_time('waits'): time.sleep(600)\n"
        "while index == 1 and not (here / 'waits').exists(): time.sleep(0.01)\n"
        "if index == 1 and first_time('died'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    report = launch(path, local=2)
    assert (report.code, report.attempts) == (0, 2)
    assert [(failure.worker, failure.code) for failure in report.failures] == [(1, -9)]


def test_it_gives_up_with_the_code_of_the_worker(script):
    """After the restarts that were allowed the command ends as the worker did, and --json tells all."""
    running = command("--local", 2, "--restarts", 1, "--json", script("sys.exit(3 if index else 0)"))
    out, _ = running.communicate(timeout=60)
    value = json.loads(out)
    assert running.returncode == value["code"] == 3
    assert (value["ok"], value["attempts"], [one["worker"] for one in value["failures"]]) == (False, 2, [1, 1])


def test_what_would_fail_again_is_not_tried_again(script):
    """A ColabKitError about what was given ends it at once, with its own exit code and its words."""
    path = script("from colabkit.errors import DataError\nraise DataError('a batch of 5', do='use 4')")
    report = launch(path, local=2)
    assert (report.code, report.attempts) == (40, 1)
    assert report.failures[0].error["what"] == "a batch of 5"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_workers_end_cleanly(script, number, code):
    """Workers see Ctrl-C, may save, and are gone before the command is; its exit code is that of the signal."""
    path = script(
        "try:\n    (here / f'up{index}').write_text(str(os.getpid())); time.sleep(600)\n"
        "except KeyboardInterrupt:\n    (here / f'saved{index}').touch()"
    )
    running = command("--local", 2, path)
    wait_until(lambda: all((path.parent / f"up{index}").exists() for index in range(2)))
    running.send_signal(number)
    running.communicate(timeout=60)
    assert running.returncode == code
    assert all((path.parent / f"saved{index}").exists() for index in range(2))


def test_no_worker_outlives_a_supervisor_that_is_killed(script):
    """SIGKILL of the command leaves nothing behind that would train on and hold the ports."""
    path = script("(here / f'up{index}').write_text(str(os.getpid())); time.sleep(600)")
    running = command("--local", 2, path)
    marks = [path.parent / f"up{index}" for index in range(2)]
    wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    running.kill()
    running.communicate(timeout=60)
    for mark in marks:
        wait_until(lambda at=mark: not is_alive(int(at.read_text())))


IN_A_NOTEBOOK = """
import asyncio, sys
from colabkit.launch import launch
async def cell():  # as a kernel runs it
    report = launch(sys.argv[1], local=2)
    print("code", report.code, report.attempts)
asyncio.new_event_loop().run_until_complete(cell())
"""


@pytest.mark.parametrize(("interrupted", "code"), [(False, 0), (True, 130)])
def test_in_a_notebook_it_runs_beside_the_kernels_loop(script, interrupted, code):
    """The thread of a cell has a loop already; an interrupt of the kernel lets the workers end cleanly there too."""
    path = script(
        "try:\n    (here / f'up{index}').touch(); time.sleep(600)\n"
        "except KeyboardInterrupt:\n    (here / f'saved{index}').touch()"
        if interrupted
        else "pass"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", IN_A_NOTEBOOK, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if interrupted:
        wait_until(lambda: all((path.parent / f"up{index}").exists() for index in range(2)))
        running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert f"code {code} 1" in out, err
    assert all((path.parent / f"saved{index}").exists() is interrupted for index in range(2))


def is_alive(pid):
    """Say whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def hosts(path, *words, count=2, **options):
    """Start one command a host, each at its own ports of the loopback interface."""
    names = ",".join(f"127.0.0.1:{port}" for port in ports(count))
    return [command("--workers", names, "--rank", rank, *words, path, **options) for rank in range(count)]


def test_hosts_find_each_other_and_end_alike(script):
    """Commands that were started apart run one attempt together, and all tell the same end."""
    running = hosts(script("print(index, count)"), "--json")
    reports = [json.loads(one.communicate(timeout=60)[0]) for one in running]
    assert [one.returncode for one in running] == [0, 0]
    assert reports[0] == reports[1]


def test_a_host_that_is_lost_leaves_the_others_to_go_on(script):
    """Its supervisor is killed, its worker dies with it, and the rest start again with one less."""
    path = script("(here / f'{count}-{index}').touch()\nif count == 3: time.sleep(600)")
    running = hosts(path, "--json", "--min-workers", 2, "--timeout", 3, count=3)
    wait_until(lambda: all((path.parent / f"3-{index}").exists() for index in range(3)))
    running[2].kill()
    value = json.loads(running[0].communicate(timeout=60)[0])
    for one in running[1:]:
        one.communicate(timeout=60)
    assert (value["code"], value["workers"], value["attempts"]) == (0, 2, 2)
    assert value["failures"][0]["reason"] == "the host of worker 2 was lost"
    assert (path.parent / "2-1").exists()


def test_a_host_that_comes_back_takes_part_again(script):
    """It is waited for, and the next attempt has all workers again."""
    path = script("(here / f'{count}-{index}').touch()\nif first_time(f'first{index}'): time.sleep(600)")
    names = ",".join(f"127.0.0.1:{port}" for port in ports(2))
    words = ("--workers", names, "--json", "--timeout", 30)
    first, lost = (command(*words, "--rank", rank, path) for rank in range(2))
    wait_until(lambda: (path.parent / "first1").exists() and (path.parent / "first0").exists())
    lost.kill()
    lost.communicate(timeout=60)
    back = command(*words, "--rank", 1, path)
    value = json.loads(first.communicate(timeout=60)[0])
    back.communicate(timeout=60)
    assert (value["code"], value["workers"], value["attempts"]) == (0, 2, 2)


def test_hosts_with_different_scripts_are_refused_before_training(script, tmp_path):
    """Both hosts hear what differs, and no worker was started."""
    path = script("(here / 'started').touch()")
    other = tmp_path / "other.py"
    other.write_text(path.read_text() + "\n# an older version")
    names = ",".join(f"127.0.0.1:{port}" for port in ports(2))
    running = [command("--workers", names, "--rank", rank, at) for rank, at in enumerate((path, other))]
    words = [one.communicate(timeout=60)[1] for one in running]
    assert [one.returncode for one in running] == [83, 83]
    assert all("the script's content" in text for text in words)
    assert not (tmp_path / "started").exists()


def test_workers_that_do_not_come_are_named(script):
    """Both sides stop waiting after the timeout, with the address that was silent."""
    path = script("")
    first, second = ports(2)
    names = f"127.0.0.1:{first},127.0.0.1:{second}"
    for rank, silent in ((0, second), (1, first + 2)):
        one = command("--workers", names, "--rank", rank, "--timeout", 1, path)
        assert f"127.0.0.1:{silent}" in one.communicate(timeout=60)[1]
        assert one.returncode == 82


def test_a_port_that_is_taken_is_said_before_training(script):
    """TensorFlow would only say that it could not start its server."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))  # noqa: S104 - as TensorFlow's own server
        taken.listen()
        port = taken.getsockname()[1]
        one = command("--workers", f"127.0.0.1:{port},b", "--rank", 0, script(""))
        assert f"the port {port}" in one.communicate(timeout=60)[1]
    assert one.returncode == 81


def test_two_hosts_with_one_rank_are_refused(script):
    """The second is told, instead of both taking the same share of the data."""
    path = script("")
    names = ",".join(f"127.0.0.1:{port}" for port in ports(3))
    running = [command("--workers", names, "--rank", rank, path) for rank in (0, 1, 1)]
    words = [one.communicate(timeout=60)[1] for one in running]
    assert [one.returncode for one in running] == [81, 81, 81]
    assert "two workers 1" in words[0]


def test_strangers_at_the_port_of_the_supervisor_change_nothing(script):
    """Noise, endless lines, wrong types and early hang-ups do not keep the workers from training."""
    base, other = ports(2)
    names = f"127.0.0.1:{base},127.0.0.1:{other}"
    first = command("--workers", names, "--rank", 0, script(""), "--timeout", 60)

    def connect():
        try:
            return socket.create_connection(("127.0.0.1", base + 2))
        except ConnectionRefusedError:
            return None

    wait_until(lambda: (probe := connect()) is not None and probe.close() is None)
    noise = [
        b"GET / HTTP/1.0\r\n\r\n",
        b"x" * 200_000,
        b'{"hello": true, "fingerprint": {}}\n',
        b"[" * 9000 + b"\n",
        b"",
    ]
    strangers = [connect() for _ in noise]
    for stranger, data in zip(strangers, noise, strict=True):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stranger.sendall(data)
        stranger.close()
    second = command("--workers", names, "--rank", 1, script(""), "--timeout", 60)
    for one in (first, second):
        assert (one.communicate(timeout=60)[1], one.returncode) == ("", 0)


def test_what_the_user_has_set_stays():
    """Thread counts are a proposal; a variable of the user's wins."""
    from colabkit.accelerator.cluster import Cluster
    from colabkit.launch.process import environment

    pair = Cluster(addresses=("a:1", "b:1"), index=0, coordinator="a:2")
    assert "OMP_NUM_THREADS" not in environment(pair, cores=4, env={"OMP_NUM_THREADS": "1"})
    assert environment(pair, cores=0.5, env=os.environ)["KERAS_DISTRIBUTION_NUM_PROCESSES"] == "2"
