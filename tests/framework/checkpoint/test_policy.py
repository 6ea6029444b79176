"""Claims about when to save and what to keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit.checkpoint.policy import SaveInterval, deletable, parse_every
from colabkit.errors import AddressError

STEPS = st.sets(st.integers(0, 50))


@pytest.mark.parametrize(
    ("text", "every"),
    [
        (60, SaveInterval(seconds=60)),
        (0.5, SaveInterval(seconds=0.5)),
        ("5 min", SaveInterval(seconds=300)),
        ("2h", SaveInterval(seconds=7200)),
        (" 500 Steps ", SaveInterval(steps=500)),
        ("1 epoch", SaveInterval(epochs=1)),
        (SaveInterval(steps=3), SaveInterval(steps=3)),
    ],
)
def test_intervals_are_read(text, every):
    """Seconds, minutes, hours, steps and epochs mean what they say."""
    assert parse_every(text) == every


@pytest.mark.parametrize("text", ["", "soon", "-5s", "0 steps", "0.5 epochs", "5 parsecs", "nan", "inf", "1e3", None])
def test_nonsense_is_no_interval(text):
    """What is not an interval is refused, with the forms that are."""
    with pytest.raises(AddressError, match="500 steps"):
        parse_every(text)


def test_when_it_is_due():
    """Each kind of interval looks at its own measure only; an epoch's end is saved unless every n-th was asked for."""
    assert SaveInterval(seconds=9).due(seconds=9, steps=0)
    assert not SaveInterval(seconds=9).due(seconds=8, steps=999)
    assert SaveInterval(steps=9).due(seconds=0, steps=9)
    assert not SaveInterval(epochs=1).due(seconds=999, steps=999)
    assert [epoch for epoch in range(1, 7) if SaveInterval(epochs=3).due_at_epoch(epoch)] == [3, 6]
    assert SaveInterval(seconds=9).due_at_epoch(1)


@given(STEPS, STEPS, st.integers(2, 5))
def test_what_may_be_deleted(steps, good, keep):
    """The newest `keep` good ones stay, so does all that is newer, and nothing goes before there are that many."""
    good = good & steps
    old = deletable(steps, good=good, keep=keep)
    assert old <= steps
    kept = sorted(good)[-keep:]
    assert not old & set(kept)
    if len(good) < keep:
        assert not old
    else:
        assert old == {step for step in steps if step < kept[0]}
        assert len(good - old) == keep
