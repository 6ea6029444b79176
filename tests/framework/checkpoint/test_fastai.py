"""Claims about fits of fastai learners that are killed: they end as one that never was, bit for bit.

fastai takes seconds to import, so one process trains all cases, each in a fork of its own, which is really killed.
"""

from __future__ import annotations

import importlib.util
import json
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from colabkit.checkpoint.fastai.fits import FitKind, RunFits
from colabkit.checkpoint.fastai.install_check import require_fastai
from colabkit.checkpoint.fastai.state import fit_identity
from colabkit.errors import UnsupportedError

DOUBLE = Path(__file__).parents[2] / "support" / "doubles" / "fastai_training.py"
WHOLE = (
    *("plain", "torch", "accumulation", "stopped", "fine_tune", "workers", "mixed", "notebook", "two fits"),
    *("cycles", "mixup", "saves", "finder", "fine_tune augmented", "defaults", "texts"),
)
KILLED = (
    "plain:after_batch/4,after_batch/10",  # in an epoch, and again in the epoch that was resumed
    "plain:t0.2,t0.4,t0.7,t1.0",  # at any moment
    "plain:after_epoch/2",
    "notebook:after_epoch/1,after_batch/4",  # with the bars of a notebook
    "two fits:after_batch/4,after_epoch/1,after_batch/5,after_batch/14",  # freeze, fit, unfreeze, fit: in both
    "torch:after_batch/18",
    "accumulation:after_batch/18",  # with gradients that wait
    "stopped:after_epoch/1",  # EarlyStoppingCallback remembers
    "fine_tune:after_batch/5,after_batch/15",  # in the first of its two fits, and in the second
    "fine_tune augmented:after_batch/5,after_batch/15",
    "workers:after_batch/15",
    "defaults:after_batch/4,after_batch/15",  # a split without a seed, figures of the first batch
    "texts:after_batch/25,after_batch/30",  # an order that each epoch shuffles on from that of the one before
    "mixed:after_batch/18",  # the scaler has grown by then, and counts
    "cycles:after_batch/6,after_batch/14",  # a phase each
    "mixup:after_batch/14",  # pictures are mixed by torch's numbers
    "finder:after_batch/5,after_batch/14",  # rates are looked for in each process
    "saves:after_batch/32",  # on another machine, without the file of SaveModelCallback that is loaded at the end
)
TIMED = ("plain:over,over", "fine_tune:over,after_batch/5,over")  # the second fit of fine_tune is not begun
SIGNALS = (f"plain:after_batch/17/{int(signal.SIGTERM)}", f"plain:after_batch/11/{int(signal.SIGINT)}")

needs_fastai = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("fastai", "torch", "torchvision")),
    reason='fastai is missing; pip install torch==2.13.0 "fastai>=2.7"',
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train all cases; what each printed."""
    cases = [*WHOLE, *KILLED, *TIMED, *SIGNALS, "refused"]
    command = [sys.executable, str(DOUBLE), str(tmp_path_factory.mktemp("runs")), *cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("{", "["))]  # fastai prints too
    return dict(zip(cases, map(json.loads, lines), strict=True))


@needs_fastai
@pytest.mark.slow
@pytest.mark.parametrize("case", KILLED)
def test_a_killed_fit_ends_as_one_that_never_was(trained, case):
    """Weights, optimizer, learning rates, losses, metrics and the random numbers after it are the same, bit for bit."""
    whole, killed = trained[case.partition(":")[0]]["result"], trained[case]["result"]
    assert -signal.SIGKILL in trained[case]["ends"]
    assert killed["resumed_from"] is not None or ":t" in case
    assert killed | {"resumed_from": None} == whole


@needs_fastai
@pytest.mark.slow
@pytest.mark.parametrize("case", TIMED)
def test_a_fit_whose_time_is_over_goes_on_in_the_next_call(trained, case):
    """It saves after a step and ends without an error."""
    whole, timed = trained[case.partition(":")[0]]["result"], trained[case]["result"]
    assert set(trained[case]["ends"]) <= {3, -signal.SIGKILL}
    assert timed["resumed_from"] is not None
    assert timed | {"resumed_from": None} == whole


@needs_fastai
@pytest.mark.slow
@pytest.mark.parametrize("case", SIGNALS)
def test_a_signal_saves_the_step_that_runs(trained, case):
    """SIGTERM in an epoch and Ctrl-C in a validation lose nothing: not one step is trained twice."""
    whole, stopped = trained["plain"]["result"], trained[case]["result"]
    assert trained[case]["ends"] == ([-signal.SIGTERM] if "17" in case else [3])
    assert stopped["resumed_from"] == ({"epoch": 1, "step": 6} if "17" in case else {"epoch": 0, "step": 10})
    assert stopped | {"resumed_from": None} == whole


@needs_fastai
@pytest.mark.slow
def test_a_run_goes_on_only_with_what_it_is_of(trained):
    """Another model and other data are refused by name; the same again is done already, with the same weights."""
    model, data, frozen, again = trained["refused"]
    assert re.match(r"RunMismatchError: the run \d+ belongs to another model", model)
    assert "0.bias" in model
    assert re.match(r"RunMismatchError: the run \d+ was trained on other data", data)
    assert "samples: 100 -> 90" in data
    assert re.match(r"RunMismatchError: the run \d+ belongs to a fit that trains other parameters", frozen)
    assert "phase" in frozen
    assert again["weights"] == trained["plain"]["result"]["weights"]
    assert again["then"] == trained["plain"]["result"]["then"]


def test_the_same_fit_once_more_in_one_process_is_told_from_one_that_goes_on():
    """With other data, as progressive resizing has it, it is another fit; the message then names a phase for it."""
    weight = types.SimpleNamespace(requires_grad=True)
    learn = types.SimpleNamespace(model=types.SimpleNamespace(parameters=lambda: [weight], state_dict=dict))
    identity = fit_identity(learn, 0)
    meta = dict.fromkeys(("step", "epoch", "step_in_epoch", "epochs", "fit", "seconds", "data", "state"), 0)
    saved = types.SimpleNamespace(meta=meta | {"complete": True, "layout": [], "fits": [identity]})
    run = types.SimpleNamespace(name="digits", dir=object(), newest=lambda _: saved)
    first, second = RunFits(run), RunFits(run)
    assert [first.next(learn)[0], first.was_trained_here] == [FitKind.CONTINUED, False]
    assert [second.next(learn)[0], second.was_trained_here] == [FitKind.CONTINUED, True]


def test_a_fastai_that_cannot_train_with_its_fastcore_is_refused_with_the_remedy(monkeypatch):
    """It looks for the method that fastai up to 2.8.7 calls and fastcore 2 lacks, not for a version."""

    class Optimizer:
        def set_hypers(self, **given):
            L(given.items()).starmap(self.set_hyper)

    class L(list):
        pass

    for name, parts in {
        "fastai": {},
        "fastai.optimizer": {"Optimizer": Optimizer},
        "fastcore": {},
        "fastcore.foundation": {"L": L},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(parts)
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(UnsupportedError, match=r"fastai>=2\.8\.8"):
        require_fastai(why="a test")
    L.starmap = lambda self, act: [act(*item) for item in self]
    require_fastai(why="a test")
