"""Claims about when to save and what to keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit.checkpoint.policy import Every, parse_every, superseded
from colabkit.errors import AddressError

STEPS = st.sets(st.integers(0, 50))


@pytest.mark.parametrize(
    ("text", "every"),
    [
        (60, Every(seconds=60)),
        (0.5, Every(seconds=0.5)),
        ("5 min", Every(seconds=300)),
        ("2h", Every(seconds=7200)),
        (" 500 Steps ", Every(steps=500)),
        ("1 epoch", Every(epochs=1)),
        (Every(steps=3), Every(steps=3)),
    ],
)
def test_intervals_are_read(text, every):
    """Seconds, minutes, hours, steps and epochs mean what they say."""
    assert parse_every(text) == every


@pytest.mark.parametrize("text", ["", "soon", "-5s", "0 steps", "0.5 epochs", "5 parsecs", "nan", "inf", "1e3", None])
def test_nonsense_is_no_interval(text):
    """What is no interval is refused, with the forms that are."""
    with pytest.raises(AddressError, match="500 steps"):
        parse_every(text)


def test_when_it_is_due():
    """Each kind of interval looks at its own measure only; an epoch's end is saved unless every n-th was asked for."""
    assert Every(seconds=9).due(seconds=9, steps=0)
    assert not Every(seconds=9).due(seconds=8, steps=999)
    assert Every(steps=9).due(seconds=0, steps=9)
    assert not Every(epochs=1).due(seconds=999, steps=999)
    assert [epoch for epoch in range(1, 7) if Every(epochs=3).due_at_epoch(epoch)] == [3, 6]
    assert Every(seconds=9).due_at_epoch(1)


@given(STEPS, STEPS, st.integers(2, 5))
def test_what_may_be_deleted(steps, good, keep):
    """The newest `keep` good ones stay, so does all that is newer, and nothing goes before there are that many."""
    good = good & steps
    old = superseded(steps, good=good, keep=keep)
    assert old <= steps
    kept = sorted(good)[-keep:]
    assert not old & set(kept)
    if len(good) < keep:
        assert not old
    else:
        assert old == {step for step in steps if step < kept[0]}
        assert len(good - old) == keep
