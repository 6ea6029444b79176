"""Claims about the trackers by name: what they keep of a killed run is what the local log has, and nothing leaves."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import colabkit as ck
from colabkit.errors import DataError, MissingDependencyError, StorageError, UnknownNameError
from colabkit.models import train
from colabkit.tracking import read_log, read_neptune
from colabkit.tracking.trackers.registry import SINKS, named, translated

ROOT = Path(__file__).parents[3]
MISSING = [name for name in (*SINKS, "sqlalchemy", "keras", "jax") if importlib.util.find_spec(name) is None]

TRAIN = """
import os, signal, sys
import numpy as np, keras, colabkit as ck
keras.utils.set_random_seed(3)
x = np.random.default_rng(0).normal(size=(1000, 8)).astype("float32"); y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(2)])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
run, at, done = ck.open_run(sys.argv[1], every="7 steps"), int(sys.argv[2]), [0]
class Kill(keras.callbacks.Callback):
    stateless = True
    def on_train_batch_end(self, batch, logs=None):
        done[0] += 1
        if done[0] == at:
            run.flush()
            os.kill(os.getpid(), signal.SIGKILL)
sinks = ck.track(run, every=5, more=sys.argv[3:])
model.fit(x, y, epochs=3, batch_size=25, verbose=0, validation_data=(x[:100], y[:100]),
          callbacks=[sinks, Kill(), run.resume()])
print("trained")
"""


def run_train(folder, kill_at, *names, **env):
    """Train in a process of its own; return what ended."""
    env = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **env}
    command = [sys.executable, "-c", TRAIN, str(folder), str(kill_at), *names]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, cwd=folder.parent)


def expected(folder):
    """What a sink should have: of each metric its steps and values."""
    found = {}
    for record in read_log(folder):
        for name, value in named(record).items():
            found.setdefault(name, []).append((record.step, pytest.approx(value, rel=1e-6)))
    return found


def in_mlflow(folder):
    """Read MLflow's own tables."""
    with sqlite3.connect(folder / "tracking" / "mlflow.db") as store:
        ((status, name),) = store.execute("select status, name from runs").fetchall()
        rows = store.execute("select key, step, value from metrics order by key, step").fetchall()
    assert (status, name) == ("FINISHED", "run")
    return _by_name(rows)


def in_trackio(folder):
    """Read trackio's own table."""
    with sqlite3.connect(folder / "tracking" / "trackio" / "colabkit.db") as store:
        rows = store.execute("select run_id, step, metrics from metrics order by step, id").fetchall()
    assert len({run for run, _step, _metrics in rows}) == 1
    return _by_name([(name, step, value) for _, step, metrics in rows for name, value in json.loads(metrics).items()])


def in_wandb(folder):
    """Read the one offline run that is left, by W&B's own message types."""
    from wandb.proto import wandb_internal_pb2

    (path,) = (folder / "tracking" / "wandb").glob("offline-run-*/run-*.wandb")
    rows, ids = [], set()
    for payload in _wandb_records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(payload)
        ids |= {record.run.run_id} - {""}
        values = {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in record.history.item}
        step = values.pop("_step", None)
        rows += [(name, step, value) for name, value in values.items() if not name.startswith("_")]
    assert ids == {json.loads((folder / "tracking" / "wandb.json").read_text())["id"]}
    return _by_name(rows)


def _wandb_records(data):
    """Give the payloads of a file of W&B: LevelDB's log format behind seven bytes."""
    at, parts = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        _crc, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def in_neptune(folder):
    """Read the one offline run that is left, by our own reader."""
    (run,) = read_neptune(folder / "tracking" / "neptune")
    series = {name.removeprefix("metrics/"): points for name, points in run.series.items()}
    return _by_name([(name, step, value) for name, points in series.items() for step, value, _time in points])


def _by_name(rows):
    found = {}
    for name, step, value in rows:
        found.setdefault(name, []).append((step, value))
    return found


class Refuser:
    """A proxy that counts who wants out, and lets nobody."""

    def __enter__(self):
        self.asked = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(200).partition(b"\r\n")[0])

    def __exit__(self, *exception):
        self._server.close()


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed: pip install {' '.join(MISSING)}")
def test_each_tracker_has_what_the_local_log_has(tmp_path):
    """Killed and resumed, each keeps one run with every step once, value for value, and asks nobody outside."""
    folder = tmp_path / "run"
    with Refuser() as proxy:
        env = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), proxy.url)
        killed = run_train(folder, 59, *SINKS, **env)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        done = run_train(folder, 0, *SINKS, **env)
        assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr
        assert proxy.asked == []
    due = expected(folder)
    assert len(due["loss"]) == 3
    assert len(due["batch_loss"]) == 24
    for read in (in_mlflow, in_trackio, in_wandb, in_neptune):
        assert read(folder) == due, read.__name__
    assert "its service ended in March 2026" in done.stderr
    assert "wandb sync" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed: pip install {' '.join(MISSING)}")
def test_a_server_that_is_not_there_is_told_once(tmp_path):
    """MLflow on a server that does not answer: one line, and fit goes on to its end with the local log."""
    uri = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = run_train(tmp_path / "run", 0, "mlflow", **uri)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("tracking continues without this one: MLflow does not take the metrics") == 1
    assert len([record for record in read_log(tmp_path / "run") if record.epoch]) == 3


class Broken:
    """A tracker that fails from the second record on."""

    def __init__(self):
        self.logged, self.closed = 0, False

    def resume(self, kept, *, epoch):
        """Begin."""

    def log(self, record):
        """Fail as a foreign package does."""
        self.logged += 1
        if self.logged > 1:
            with translated("it"):
                raise RuntimeError("first line\nsecond line")

    def close(self):
        """Fail here too."""
        self.closed = True
        raise StorageError("cannot be closed")


def test_one_that_fails_stops_alone(tmp_path, caplog):
    """It is told once and closed; the others and the training go on."""
    keras = pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
    broken = Broken()
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 2)), np.ones(8), epochs=4, verbose=0, callbacks=[ck.track(tmp_path, more=broken)])
    assert len(read_log(tmp_path)) == 4
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("tracking continues without this one: it does not take the metrics")
    assert "first line" in told
    assert "second" not in told
    assert (broken.logged, broken.closed) == (2, True)


def test_a_tracker_that_does_not_exist_is_refused_first(tmp_path):
    """The message lists those that do, and no run is made."""
    for begin in (lambda: ck.track(tmp_path / "run", more=["nirvana"]), lambda: train("mnist-mlp", tracker="nirvana")):
        with pytest.raises(UnknownNameError, match="mlflow, neptune, trackio, wandb"):
            begin()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", SINKS)
def test_without_its_package_the_install_line_is_told(tmp_path, monkeypatch, name):
    """What was asked for and cannot be had is said before the training begins."""
    pytest.importorskip("keras", reason='Keras is missing; pip install "keras>=3.11"')
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=f"pip install .*{name}"):
        ck.track(tmp_path, more=name)


def offline_log(folder, *operations, tail=""):
    """Write a log as Neptune's client does."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"obj": one, "version": at, "at": 1.7e9}) for at, one in enumerate(operations, start=1)]
    (folder / "data-1.log").write_text("\n".join(lines) + "\n" + tail)


def floats(*values, first=1):
    """Make the operation that appends to a series."""
    points = [{"value": value, "step": step, "ts": 1.7e9 + step} for step, value in enumerate(values, start=first)]
    return {"type": "LogFloats", "path": ["train", "loss"], "values": points}


def test_old_logs_of_neptune_are_read(tmp_path):
    """Values and series of every run, over several files, with files named and a cut-off end passed over."""
    one = tmp_path / ".neptune" / "offline" / "run__a__1__x"
    assign = {"type": "AssignFloat", "path": ["params", "lr"], "value": 0.1}
    gone = {"type": "AssignString", "path": ["note"], "value": "x"}
    upload = {"type": "UploadFileSet", "path": ["source_code", "files"], "file_globs": [], "reset": "False"}
    delete = {"type": "DeleteAttribute", "path": ["note"]}
    offline_log(one, assign, gone, floats(0.5, 0.25), upload, delete)
    for version, step in ((10, 4), (6, 3)):
        line = json.dumps({"obj": floats(1 / step, first=step), "version": version})
        (one / f"data-{version}.log").write_text(line + ('{"obj": {"ty' if version == 10 else ""))
    clear = {"type": "ClearFloatLog", "path": ["train", "loss"]}
    offline_log(tmp_path / ".neptune" / "async" / "run__b" / "exec-1-2023", floats(7.0), clear, floats(8.0))
    second, first = read_neptune(tmp_path)
    assert first.values == {"params/lr": 0.1}
    assert [(step, value) for step, value, _ in first.series["train/loss"]] == [
        (1, 0.5),
        (2, 0.25),
        (3, 1 / 3),
        (4, 0.25),
    ]
    assert first.left_out == ["source_code/files"]
    assert second.series["train/loss"] == [(1, 8.0, 1.7e9 + 1)]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "no offline log"),
        ("no json\n{}\n", "line 1 .*not JSON"),
        ("[" * 100000 + "\n{}\n", "line 1 .*not JSON"),
        ('{"obj": 7}\n', "operation 1"),
        ('{"obj": {"type": "LogFloats", "path": ["a"], "values": [{"value": 1}]}}\n', "operation 1"),
    ],
)
def test_what_is_no_log_of_neptune_is_named(tmp_path, content, named):
    """An empty folder, text, deep nesting and objects of another form say where they are."""
    if content is not None:
        (tmp_path / "data-1.log").write_text(content)
    with pytest.raises(DataError, match=named):
        read_neptune(tmp_path)


def test_an_error_of_a_tracker_tells_no_password():
    """Foreign errors name the address of their server; the name and the password in it are left out."""
    with pytest.raises(StorageError) as caught, translated("it"):
        raise RuntimeError("no answer of https://ada:word@mlflow.example/api; see me@example.org")
    assert "no answer of https://***@mlflow.example/api; see me@example.org" in str(caught.value)
