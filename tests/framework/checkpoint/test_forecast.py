"""A training that will not finish in the time there is says so once, when its first epoch has told the pace."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import colabkit as ck
from colabkit.checkpoint.policy.time_limit import Forecast, TimeLimit


@pytest.fixture
def clock():
    """A clock that a test turns."""
    return [0.0]


def forecast(clock, ends, *, limit=None, lasts=True):
    """Make a forecast of a session that ends as told."""
    return Forecast("digits", limit=limit, lasts=lasts, clock=lambda: clock[0], ends=lambda _: ends)


def train(told, clock, *, epochs=10, seconds=600.0):
    """Go through a training."""
    for epoch in range(epochs):
        told.epoch_begins()
        clock[0] += seconds
        told.epoch_ends(epochs - epoch - 1)


def test_it_is_said_once_with_the_way_out(clock, caplog):
    """Nine epochs of ten minutes and one hour: six of them, and the next session goes on."""
    train(forecast(clock, [("the session ends", 3700.0)]), clock)
    (line,) = caplog.messages
    assert "digits: will not finish: 9 more epochs take about 1 h 30 min" in line
    assert "the session ends in about 1 h 1 min, after about 6 of them" in line
    assert "goes on in the next session" in line


def test_what_does_not_last_needs_another_address(clock, caplog):
    """Without a mirror the ways out are fewer epochs, time= and an address that lasts."""
    train(forecast(clock, [("the session ends", 60.0)], lasts=False), clock)
    assert 'ask for fewer epochs, end it in good order by time="session"' in caplog.text
    assert "mirror=" in caplog.text


def test_the_first_end_counts(clock, caplog):
    """Of the session, the quota and time= the one that comes first is named; time= is no warning."""
    caplog.set_level("INFO", logger="colabkit")
    limit = TimeLimit(1500, clock=lambda: clock[0])
    ends = [("the session ends", 3700.0), ("this account's GPU hours are used up", 1800.0)]
    train(forecast(clock, ends, limit=limit), clock)
    assert "time= is over in about 15 min" in caplog.text
    assert caplog.records[0].levelname == "INFO"
    train(forecast(clock, ends), clock)
    assert "this account's GPU hours are used up in about 30 min 0 s, after about 3 of them" in caplog.text


def test_nothing_is_said_where_it_fits_or_nobody_knows(clock, caplog):
    """Enough time, no known end, and an epoch that an earlier process began."""
    train(forecast(clock, [("the session ends", 5500.0)]), clock)
    train(forecast(clock, []), clock)
    told = forecast(clock, [("the session ends", 60.0)])
    told.epoch_begins(whole=False)
    clock[0] += 600
    told.epoch_ends(5)
    assert caplog.messages == []
    told.epoch_begins()
    clock[0] += 600
    told.epoch_ends(4)
    assert len(caplog.messages) == 1


def test_a_loop_of_ones_own_says_so(tmp_path, monkeypatch, caplog):
    """After its first epoch, once; the training goes on all the same."""
    monkeypatch.setattr("colabkit.checkpoint.policy.save_triggers.session_left", lambda: 1e-6)
    run = ck.open_run(tmp_path / "run")
    assert list(run.loop([1, 2], epochs=3, state={"sum": 0})) == [1, 2] * 3
    run.close()
    said = [line for line in caplog.messages if "will not finish" in line]
    assert len(said) == 1
    assert "run: will not finish: 2 more epochs" in said[0]
    assert "mirror=" in said[0]


@pytest.mark.parametrize(
    ("kind", "package", "left"),
    [
        ("lightning", "lightning", "2"),
        ("transformers", "transformers", "2"),
        ("steps", "transformers", "0.5"),  # max_steps ends it in the middle of its second epoch
        ("fastai", "fastai", "2"),
    ],
)
def test_other_libraries_trainers_say_so(tmp_path, kind, package, left):
    """After the first epoch, once; the training goes on all the same."""
    (line,) = [line for line in train_briefly(tmp_path, kind, package) if "will not finish" in line]
    assert f"{kind}: will not finish: {left} more epochs" in line


def test_a_fit_that_was_ended_early_needs_no_time(tmp_path):
    """What EarlyStopping ends after its first epoch has nothing left to train."""
    assert not [line for line in train_briefly(tmp_path, "early", "lightning") if "will not finish" in line]


def train_briefly(folder, kind, package):
    """Train in a process of its own, as one framework is enough for a process; return the lines that it said."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is missing; pip install torch==2.13.0 {package}")
    script = Path(__file__).parents[2] / "support" / "doubles" / "short_sessions.py"
    ended = subprocess.run(
        [sys.executable, script, folder, kind], capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return (ended.stdout + ended.stderr).splitlines()
