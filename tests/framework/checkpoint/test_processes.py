"""Claims about torch trainings of several processes: killed, one or all of them, each ends as if nobody had been.

Real torchrun and the own launcher start and restart them; the weights, the losses of each process, its random numbers
and its part of the data are compared.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.support.killed_trainings import DOUBLES

SCRIPT = str(DOUBLES / "torch_ddp.py")
PACKAGES = {"loop": "torch", "lightning": "lightning", "trainer": "transformers"}
# A restart on gloo may read addresses of the processes before from the store that torchrun shares with them:
# https://github.com/pytorch/pytorch/issues/135712
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    "PYTHONFAULTHANDLER": "1",
}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=6"]
KILLS = [word for kill in ("1,4", "0,7", "1,7", "1,end") for word in ("--kill", kill)]
OWN = [sys.executable, "-m", "colabkit", "launch", "--local", "2", "--restarts", "3"]


def needs(kind):
    """Skip where a package is missing."""
    if importlib.util.find_spec(PACKAGES[kind]) is None:
        pytest.skip(f"{PACKAGES[kind]} is missing; pip install torch==2.13.0 {PACKAGES[kind]}")


def train(launcher, kind, run, *words):
    """Train in two processes; what each tells."""
    command = [*launcher, SCRIPT, kind, str(run), "--seed", "1", *words]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-5000:]
    run.with_name(f"{run.name}.err").write_text(done.stderr)
    return [json.loads(run.with_name(f"{run.name}-{rank}.json").read_text()) for rank in range(2)]


def trained_at_once(told, at):
    """Say that what nobody killed was trained in one go, and forget where it was resumed.

    Gloo's own threads may abort a process that has ended (https://github.com/pytorch/pytorch/issues/190489). torchrun
    then starts all of them again, behind the end: there they train nothing, and end the same.
    """
    for each in told:
        begun = each["resumed_from"]
        assert begun is None or begun["epoch"] == 3, at.with_name(f"{at.name}.err").read_text()[-5000:]
    return [each | {"resumed_from": None} for each in told]


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACKAGES)
def test_processes_killed_under_torchrun_end_as_if_nobody_had_been(kind, tmp_path):
    """The second process is killed, later both at once, and one behind its end; torchrun starts all again."""
    needs(kind)
    whole = trained_at_once(train(TORCHRUN, kind, tmp_path / "whole"), tmp_path / "whole")
    killed = train(TORCHRUN, kind, tmp_path / "killed", *KILLS)
    assert all(each.pop("resumed_from") is not None for each in killed)
    assert [each | {"resumed_from": None} for each in killed] == whole
    if kind != "trainer":  # it gives all processes one seed
        assert whole[0]["then"] != whole[1]["then"]


@pytest.mark.slow
def test_the_own_launcher_tells_torch_of_its_processes(tmp_path):
    """`colabkit launch` sets what `init_process_group` reads; accumulated gradients of each process are carried."""
    needs("loop")
    words = ["--accumulate", "3", "--every", "2 steps"]
    whole = trained_at_once(train(OWN, "loop", tmp_path / "whole", *words), tmp_path / "whole")
    killed = train(OWN, "loop", tmp_path / "killed", *words, "--kill", "0,5", "--kill", "1,10")
    assert all(each.pop("resumed_from") is not None for each in killed)
    assert [each | {"resumed_from": None} for each in killed] == whole
