"""One training of the suite: a user's script, run in a fork of this process, and what came of it.

A fork saves every state and keeps it; or it saves as users do, and ends itself by SIGKILL at one of its moments: the
begin and the end of an epoch, of a step, of a step of the validation, of the training, and each `run.save`.
"""

# ruff: noqa: ARG005, BLE001, D102, PLW2901, S102, S307
from __future__ import annotations

import faulthandler
import hashlib
import json
import linecache
import logging
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

PREAMBLE = """
import os, random
import numpy as np, keras
from keras import layers, ops
import colabkit as ck
"""


def result_of(space):
    """Tell everything that must not differ, as hashes and numbers."""
    import keras
    import numpy as np

    def digest(arrays):
        whole = hashlib.sha256()
        for array in arrays:
            array = np.asarray(array)
            whole.update(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
        return whole.hexdigest()[:16]

    model = space["model"]
    read = keras.ops.convert_to_numpy
    found = {
        "weights": digest(read(variable) for variable in model.variables),
        "python": hashlib.sha256(repr(random.getstate()).encode()).hexdigest()[:16],
        "numpy": digest([np.random.get_state()[1], np.random.get_state()[2]]),
    }
    if (history := space.get("history")) is not None:
        found["history"] = json.dumps(history.history, default=lambda value: np.asarray(value).tolist())
    if model.optimizer is not None:
        found["optimizer"] = digest(read(variable) for variable in model.optimizer.variables)
    if "torch" in sys.modules:
        found["torch"] = digest([sys.modules["torch"].get_rng_state().numpy()])
    for name in space.get("COMPARE", ()):
        found[name] = repr(eval(name, space))
    return found


class Words(logging.Handler):
    """Keeps what colabkit says."""

    def __init__(self):
        super().__init__()
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


class Moments:
    """Counts the moments of a training; at one of them the process dies.

    Args:
        kill_at: The number of the moment, from 1; 0 for none.
    """

    def __init__(self, kill_at=0):
        self.count = 0
        self._kill_at = kill_at

    def pass_by(self, *_, **__):
        self.count += 1
        if self.count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def _between(first, callbacks, last, *, model):
    """Put callbacks around the user's, who may give a list or one of Keras' own."""
    if isinstance(callbacks, list | tuple):
        return [first, *callbacks, last]
    for each in (first, last):
        each.set_model(model)
        callbacks.callbacks.append(each)
    return callbacks


def _instrument(moments, *, wait):
    """Let runs save each step and keep all states where `wait` says so, and let every training count its moments."""
    import keras

    import colabkit as ck
    from colabkit.checkpoint.run import Run

    runs = []
    opened, save, fit = ck.open_run, Run.save, keras.Model.fit

    def open_run(where, **options):
        options |= {"every": "1 steps", "keep": 100_000} if wait else {"every": "3 steps", "keep": 3}
        run = opened(where, **options)
        runs.append(run)
        return run

    def written():
        for run in runs:
            for each in (run, *run._phases.values()):
                each.written()

    def saving(self, *arguments, **options):
        save(self, *arguments, **options)
        if wait:
            self.written()
        moments.pass_by()

    class Wait(keras.callbacks.Callback):
        stateless = True

        def on_train_batch_end(self, batch, logs=None):
            if wait:
                written()
            moments.pass_by()

        on_epoch_end = on_train_batch_end

    class Pass(keras.callbacks.Callback):
        stateless = True

    for name in ("train_begin", "train_end", "epoch_begin", "epoch_end", "train_batch_begin", "test_batch_end"):
        setattr(Pass, f"on_{name}", lambda self, *arguments, **options: moments.pass_by())

    def waiting(self, *arguments, **options):
        callbacks = _between(Wait(), options.pop("callbacks", None) or [], Pass(), model=self)
        return fit(self, *arguments, callbacks=callbacks, **{"verbose": 0, **options})

    Run.save, keras.Model.fit = saving, waiting
    ck.__dict__["open_run"] = open_run


def _draw_anew():
    """Seed what a fork has from its parent as a new process finds it: by the system, another in each."""
    import numpy as np

    random.seed()
    np.random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


def train(script, folder, out, *, wait=True, kill_at=0):
    """Run a script in this process; writes what came of it."""
    from colabkit.errors import ColabKitError

    _draw_anew()
    words, moments = Words(), Moments(kill_at)
    log = logging.getLogger("colabkit")
    log.addHandler(words)
    log.setLevel(logging.INFO)
    log.propagate = False
    _instrument(moments, wait=wait)
    os.chdir(Path(folder).parent)
    space = {"__name__": "__main__", "RUN": str(folder)}
    source = PREAMBLE + script
    linecache.cache["<cell>"] = (len(source), None, source.splitlines(keepends=True), "<cell>")  # as of a notebook
    try:
        exec(compile(source, "<cell>", "exec"), space)
        found = {"result": result_of(space)}
    except ColabKitError as error:
        found = {"refused": f"{type(error).__name__}: {error}"}
    except BaseException as error:
        found = {"error": f"{type(error).__name__}: {error}"[:400], "trace": traceback.format_exc()[-1500:]}
    Path(out).write_text(json.dumps({**found, "said": words.said, "moments": moments.count}))


def in_a_fork(script, folder, out, *, limit=240.0, wait=True, kill_at=0, kill_after=None):
    """Train in a fork of this process, and read what came of it.

    Args:
        script: What the user wrote.
        folder: The run's folder, as `RUN` in the script.
        out: A file for what came of it.
        limit: Seconds after which it has failed.
        wait: Save every step, and wait for it.
        kill_at: The moment at which it kills itself.
        kill_after: Seconds after which it is killed.

    Returns:
        Its result, refusal or error with what was said; `{"killed": True}` for one that was killed as asked.
    """
    out = Path(out)
    out.unlink(missing_ok=True)
    stacks = out.with_suffix(".stacks")
    pid = os.fork()
    if pid == 0:
        try:
            with open(os.devnull, "w") as sink:
                os.dup2(sink.fileno(), 1)
                os.dup2(sink.fileno(), 2)
            hangs = open(stacks, "w")  # noqa: SIM115 - the process ends with it
            faulthandler.dump_traceback_later(limit * 0.9, file=hangs)
            train(script, folder, out, wait=wait, kill_at=kill_at)
        finally:
            os._exit(0)
    began = time.monotonic()
    while time.monotonic() < began + limit:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL and kill_at:
                return {"killed": True}
            return json.loads(out.read_text()) if out.exists() else {"error": f"the process died, status {status}"}
        if kill_after is not None and time.monotonic() > began + kill_after:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return {"killed": True}
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"error": f"no end after {limit:g} s", "trace": stacks.read_text()[-3000:]}
