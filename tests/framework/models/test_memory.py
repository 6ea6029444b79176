"""Claims about memory: a batch size that is found, and trainings that go on where memory runs out.

Each backend raises the error that it really raises, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from colabkit._internal.out_of_memory import is_out_of_memory
from colabkit.checkpoint import open_run
from colabkit.errors import DataError, OutOfMemoryError, UnsupportedError
from colabkit.models import settings
from colabkit.models.batch_size import find, most_for

DOUBLES = Path(__file__).parents[2] / "support" / "doubles"
ASKED = dict.fromkeys(
    ("epochs", "learning_rate", "validation", "patience", "time", "class_weight", "fine_tune", "weights")
)


def told(program, folder, **env):
    """Run a program; return what it prints last, and its other words."""
    done = subprocess.run(
        [sys.executable, DOUBLES / program, str(folder)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_memory_that_runs_out_halves_the_batch_to_the_same_weights(tmp_path, backend):
    """Out of memory in the second epoch: from the last state on the batch is computed in two parts, which ends alike.

    The run keeps the parts, as it keeps a batch size that was found; `run.fit` says what to do instead.
    """
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is missing; pip install {backend}")
    result, words = told("out_of_memory.py", tmp_path, KERAS_BACKEND=backend)
    assert result["furthest"] < 1e-5
    assert result["losses"][0] == pytest.approx(result["losses"][1], rel=1e-5)
    assert result["accuracies"][0] == pytest.approx(result["accuracies"][1])
    assert result["parts"] == [1, 2, 2]
    assert result["resumed"] == {"epoch": 3, "step": 0}
    assert result["auto"] == [8, 16]  # 150 and 450 samples, 16 steps an epoch
    assert result["auto again"] == 8
    assert "out of memory with a batch of 64" in words
    assert f"the state of step {result['saved']} is saved" in result["words"]
    assert "batch_size=32" in result["words"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is missing; pip install torch")
def test_a_torch_module_goes_on_in_parts_and_finds_its_batch_size(tmp_path):
    """A loss that refuses more than 16 samples: 64 in four parts end alike, auto finds what fits, one is the end."""
    result, _ = told("out_of_memory_torch.py", tmp_path)
    assert result["furthest"] < 1e-6
    assert result["parts"] == [1, 4, 4]
    assert result["resumed"] == {"epoch": 3, "step": 0}
    assert result["auto"] == [4, 1, 4]
    assert "not even one sample at a time" in result["words"]


def test_the_largest_size_that_fits_is_found_in_few_steps():
    """Powers of two go up until one is refused, foretold not to fit, slow, or an epoch had too few steps."""
    tried = []

    def attempt(size, most=1 << 20):
        tried.append(size)
        if size > most:
            raise RuntimeError("CUDA out of memory")
        return size * 1e-6

    assert find(attempt, most=most_for(60_000)).size == 2048
    assert tried == [32, 64, 128, 256, 512, 1024, 2048]
    assert find(lambda size: attempt(size, 100), most=2048).size == 64
    assert find(lambda size: attempt(size, 5), most=2048).size == 4
    assert find(attempt, most=2048, fits=lambda size: size <= 256).size == 256
    found = find(lambda size: 1e-3 if size <= 128 else size * 1e-3, most=2048)
    assert (found.size, "1.5 times as long" in found.why) == (128, True)
    times = iter(range(0, 1000, 4))
    assert find(attempt, most=2048, clock=lambda: next(times)).size == 32
    with pytest.raises(OutOfMemoryError, match="not even one sample"):
        find(lambda size: attempt(size, 0), most=2048)
    with pytest.raises(ZeroDivisionError):
        find(lambda size: size / 0, most=2048)


def test_only_errors_of_memory_are_taken_for_them():
    """A full disk, a shape and a missing file are none; causes count."""
    caused = ValueError("a layer failed")
    caused.__cause__ = MemoryError()
    assert all(map(is_out_of_memory, (MemoryError(), caused, OutOfMemoryError("no room"))))
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes."))
    exhausted = type("ResourceExhaustedError", (Exception,), {})
    assert is_out_of_memory(exhausted("OOM when allocating tensor with shape[64,4096]"))
    assert not is_out_of_memory(exhausted("/tmp/x; No space left on device"))  # noqa: S108 - a message
    assert not any(map(is_out_of_memory, (None, RuntimeError("mat1 and mat2 shapes"), OSError(28, "No space left"))))


def test_a_loop_says_what_to_do_where_memory_runs_out(tmp_path, caplog):
    """The error of the framework is on its way still; it carries the words, and the last whole state is saved."""
    run, state = open_run(tmp_path, every="1 steps"), {"sum": 0}

    def train():
        for number in run.loop([1, 2, 3], state=state):
            if number == 3:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            state["sum"] += number

    with pytest.raises(RuntimeError, match="CUDA") as caught:
        train()
    assert "the state of step 2 is saved" in caught.value.__notes__[0]
    assert "half the batch size" in caplog.text
    for number in run.loop([1, 2, 3], state=state):
        state["sum"] += number
    assert state == {"sum": 6}


def test_auto_is_the_only_word_for_a_batch_size(tmp_path):
    """Another word names it, and a sprint has its own size."""
    base = {**ASKED, "callbacks": (), "seed": 0, "tracker": ()}
    assert settings.read(**base, batch_size="auto", recipe="same").size is None
    with pytest.raises(DataError, match="batch_size='most' is not valid") as caught:
        settings.read(**base, batch_size="most", recipe="same")
    assert '"auto"' in caught.value.hint
    with pytest.raises(UnsupportedError, match="its own batch size"):
        settings.read(**base, batch_size="auto", recipe="sprint")
